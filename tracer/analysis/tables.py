"""Judged decisions and their tables as pure functions, DataFrame to DataFrame::

    from tracer.analysis import api, tables
    decisions = api.load("x.seal").decisions
    tables.by_object(decisions[decisions["comm"] == "qemu-system-x86"])

What each table has is told in :mod:`tracer.analysis.totals`.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis.batches import IS_FACT, Source
from tracer.analysis.frames import (
    batch_of,
    errnos,
    judged_columns,
    with_outcomes,
)
from tracer.analysis.judge import Judge
from tracer.analysis.objects import announced, name_codes
from tracer.analysis.sums import Rows, Sums, Words
from tracer.analysis.totals import Tables
from tracer.rules.verdicts import Outcome, Verdict
from tracer.words import Op, words

KEY = ["dev", "ino", "gen"]
_OUTCOME = ["verdict", "expected", "reason", "rule", "hole", "severity"]


def judge(
    events: pd.DataFrame, objects: pd.DataFrame | None, variants: Mapping[str, str]
) -> pd.DataFrame:
    """``events`` with the columns expected, reason, rule, verdict, hole and severity.

    ``events`` and ``objects`` are a recording's tables with its column names; ``objects`` may be
    None, or lack some that the events name. Rows that are no decision (map, unmap, evict) have
    null in all of them and severity 0. ``verdict`` is an ordered categorical, worst last. Columns
    that are missing or null count as not known, and make what depends on them indeterminate.
    """
    judge = Judge(variants)
    return with_outcomes(events, judge.codes(judged_columns(events, objects)), judge.outcomes)


def decisions(
    events: pd.DataFrame, objects: pd.DataFrame | None, variants: Mapping[str, str]
) -> pd.DataFrame:
    """The decisions among ``events``, judged.

    ``events`` and ``objects`` have the columns of a recording's tables; ``variants`` is what the
    kernel's self-test found (tracer.analysis.batches.variants). Added are ``name`` (NA: the object
    was never announced), ``errno`` (the symbol of an error), ``expected``, ``reason``, ``rule``,
    ``verdict``, ``hole`` and ``severity``. The index is kept.
    """
    known = words(Op)
    facts = {known.get(number, "") for number in np.flatnonzero(IS_FACT).tolist()}
    found = events[~events["op"].isin(facts)]
    found = judge(found, objects, variants)
    found = found[found["verdict"].notna()]
    if "name" not in found:
        found = found.assign(name=_names(found, objects))
    return found.assign(errno=errnos(found["answer"].to_numpy()))


def _names(events: pd.DataFrame, objects: pd.DataFrame | None) -> "pd.Series[str]":
    if objects is None:
        return pd.Series(None, events.index, "str")
    known = objects[objects["name"].notna()].sort_values("time_ns", kind="stable")
    known = known.drop_duplicates(KEY, keep="last")[[*KEY, "name"]]
    return events[KEY].merge(known, on=KEY, how="left")["name"].set_axis(events.index)


def tables(decisions: pd.DataFrame, objects: pd.DataFrame | None = None) -> Tables:
    """All tables of judged rows.

    ``decisions``: as :func:`decisions` gives them, or some of those rows; with a column ``boot_id``
    (and ``host``) where they are of several hosts. ``objects``: announcements, for owners and for
    objects without decisions; with ``boot_id`` too, then.
    """
    sums = Sums(Words())
    decisions = decisions[decisions["verdict"].notna()]
    for source, part, told in _by_host(decisions, objects):
        _, boot = sums.words.place(source)
        if told is not None:
            announced(sums, told, boot, 0)
        if not len(part):
            continue
        rows = sums.rows(batch_of(part, source))
        sums.observe(rows)
        _name(sums, rows, part)
        codes, outcomes = _outcomes(part)
        sums.count(rows, sums.words.outcome_ids(outcomes)[codes])
    return Tables(sums)


def _name(sums: Sums, rows: Rows, part: pd.DataFrame) -> None:
    """Names of objects that decisions tell (null: not known)."""
    if "name" not in part:
        return
    texts = part["name"].astype(object)
    codes = name_codes(texts.where(texts.notna(), None).to_numpy(object), sums.words.names)
    known = (codes >= 0).nonzero()[0]
    when, rank = rows.batch["time_ns"][known], rows.rank[known]
    columns = {"name": codes[known], "named_ns": when, "named_rank": rank}
    sums["objects"].put(rows.objects[known], columns)


def _by_host(
    decisions: pd.DataFrame, objects: pd.DataFrame | None
) -> Iterator[tuple[Source, pd.DataFrame, pd.DataFrame | None]]:
    if "boot_id" not in decisions:
        yield Source(), decisions, objects
        return
    boots = decisions["boot_id"].astype(object)
    several = objects is not None and "boot_id" in objects
    told = objects["boot_id"].astype(object) if objects is not None and several else None
    found = dict.fromkeys([*boots, *(() if told is None else told)])
    for boot in found:
        rows = decisions[boots == boot]
        host = str(rows["host"].iloc[0]) if "host" in rows and len(rows) else ""
        mine = objects if objects is None or told is None else objects[told == boot]
        yield Source(boot_id=str(boot), host=host), rows, mine


def _outcomes(rows: pd.DataFrame) -> tuple[npt.NDArray[np.int64], list[Outcome]]:
    """A code for each row, and what the codes mean."""
    groups = rows.groupby(_OUTCOME, dropna=False, observed=True, sort=False)
    codes: npt.NDArray[np.int64] = groups.ngroup().to_numpy().astype(np.int64)
    first = np.unique(codes, return_index=True)[1]
    known = rows[_OUTCOME].iloc[first].astype(object)
    return codes, [
        Outcome(
            Verdict[str(verdict).upper()], expected, reason, rule, None if pd.isna(hole) else hole,
            int(severity),
        )
        for verdict, expected, reason, rule, hole, severity in known.itertuples(index=False)
    ]  # fmt: skip


def by_object(decisions: pd.DataFrame, objects: pd.DataFrame | None = None) -> pd.DataFrame:
    """:attr:`Tables.by_object`, but of mappings nothing is known."""
    return tables(decisions, objects).by_object.drop(columns=["mappings", "writable"])


def by_fd(decisions: pd.DataFrame) -> pd.DataFrame:
    """:attr:`Tables.by_fd`: pid, fd and object."""
    return tables(decisions).by_fd


def by_process(decisions: pd.DataFrame) -> pd.DataFrame:
    """:attr:`Tables.by_process`."""
    return tables(decisions).by_process


def by_op(decisions: pd.DataFrame) -> pd.DataFrame:
    """:attr:`Tables.by_op`: op x verdict."""
    return tables(decisions).by_op


def by_rule(decisions: pd.DataFrame) -> pd.DataFrame:
    """:attr:`Tables.by_rule`."""
    return tables(decisions).by_rule


def over_time(decisions: pd.DataFrame, step_ns: int | None = None) -> pd.DataFrame:
    """:meth:`Tables.over_time`."""
    return tables(decisions).over_time(step_ns)
