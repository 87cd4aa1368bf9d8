"""Judging and summing up as pure functions, DataFrame to DataFrame: for notebooks and tests.

    from tracer.analysis import api, tables
    decisions = api.load("x.seal").decisions
    tables.by_object(decisions[decisions["comm"] == "qemu-system-x86"])

The tables are those of :class:`tracer.analysis.snapshot.Tables`, which says what their columns are.
For a long recording :mod:`tracer.analysis.fold` gives the same without having all rows in memory.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis.batch import IS_FACT
from tracer.analysis.columns import errnos
from tracer.analysis.frames import batch_of
from tracer.analysis.judge import judge
from tracer.analysis.keys import Keys
from tracer.analysis.latest import BEFORE
from tracer.analysis.mappings import Mappings
from tracer.analysis.sealing import Sealing
from tracer.analysis.snapshot import Tables
from tracer.analysis.source import Source
from tracer.analysis.state import State
from tracer.analysis.totals import Totals
from tracer.rules.verdicts import Outcome, Verdict
from tracer.words import Op, words

KEY = ["dev", "ino", "gen"]
_OUTCOME = ["verdict", "expected", "reason", "rule", "hole", "severity"]


def decisions(
    events: pd.DataFrame, objects: pd.DataFrame | None, variants: Mapping[str, str]
) -> pd.DataFrame:
    """The decisions among ``events``, judged.

    ``events`` and ``objects`` have the columns of a recording's tables; ``variants`` is what the
    kernel's self-test found (tracer.analysis.load.variants). Added are ``name`` (NA: the object
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
    keys, totals, sealing = Keys(), Totals(), Sealing()
    decisions = decisions[decisions["verdict"].notna()]
    for source, rows, announced in _by_host(decisions, objects):
        if announced is not None:
            keys.heard(source, keys.objects.announce(keys.host(source), announced))
        batch = batch_of(rows, source)
        group, rank = keys.group_ids(batch), keys.rank(batch)
        objects_of = keys.objects_of[group]
        np.minimum.at(keys.of_group["used_ns"], group, batch["time_ns"])
        keys.heard(source, keys.objects.observe(objects_of, batch, rank) if len(rows) else BEFORE)
        sealing.add(batch, group, rank)
        keys.objects.name(objects_of, batch["time_ns"], rows)
        codes, outcomes = _outcomes(rows)
        totals.add(keys, batch, group, rank, keys.outcome_ids(outcomes)[codes])
    return Tables(State.of(keys, totals, Mappings(), sealing, {}, {}))


def _by_host(
    decisions: pd.DataFrame, objects: pd.DataFrame | None
) -> Iterator[tuple[Source, pd.DataFrame, pd.DataFrame | None]]:
    if "boot_id" not in decisions:
        yield Source(), decisions, objects
        return
    boots = decisions["boot_id"].astype(object)
    several = objects is not None and "boot_id" in objects
    announced = objects["boot_id"].astype(object) if objects is not None and several else None
    found = dict.fromkeys([*boots, *(() if announced is None else announced)])
    for boot in found:
        rows = decisions[boots == boot]
        host = str(rows["host"].iloc[0]) if "host" in rows and len(rows) else ""
        mine = objects if objects is None or announced is None else objects[announced == boot]
        yield Source(boot_id=str(boot), host=host), rows, mine


def _outcomes(rows: pd.DataFrame) -> tuple[npt.NDArray[np.int64], list[Outcome]]:
    """A code for each row, and what the codes mean."""
    if not len(rows):
        return np.empty(0, np.int64), []
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
    """:attr:`tracer.analysis.snapshot.Tables.by_object`, but of mappings nothing is known."""
    return tables(decisions, objects).by_object.drop(columns=["mappings", "writable"])


def by_fd(decisions: pd.DataFrame) -> pd.DataFrame:
    """:attr:`tracer.analysis.snapshot.Tables.by_fd`: pid, fd and object."""
    return tables(decisions).by_fd


def by_process(decisions: pd.DataFrame) -> pd.DataFrame:
    """:attr:`tracer.analysis.snapshot.Tables.by_process`."""
    return tables(decisions).by_process


def by_op(decisions: pd.DataFrame) -> pd.DataFrame:
    """:attr:`tracer.analysis.snapshot.Tables.by_op`: op x verdict."""
    return tables(decisions).by_op


def by_rule(decisions: pd.DataFrame) -> pd.DataFrame:
    """:attr:`tracer.analysis.snapshot.Tables.by_rule`."""
    return tables(decisions).by_rule


def over_time(decisions: pd.DataFrame, step_ns: int | None = None) -> pd.DataFrame:
    """:meth:`tracer.analysis.snapshot.Tables.over_time`."""
    return tables(decisions).over_time(step_ns)
