"""Reads recordings once and makes the report, or the comparison of two."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis import holders, load
from tracer.analysis.fold import Fold
from tracer.analysis.judged import Judged
from tracer.analysis.snapshot import Tables
from tracer.analysis.source import Source
from tracer.report import coverage as coverages
from tracer.report import diff as diffs
from tracer.report import request as requests
from tracer.report.model import TABLES, WORST_FIRST, Coverage, Question, Report
from tracer.report.reading import Reader, Request, Step, Tell
from tracer.store.reader import Recording

_OBJECT = ["boot_id", "dev", "ino", "gen"]
_NOTHING = pd.DataFrame()
_BEFORE = np.iinfo(np.int64).min


def _open(paths: Sequence[str], request: Request, tell: Tell, stack: ExitStack) -> list[Reader]:
    recordings = [stack.enter_context(Recording.open(path)) for path in paths]
    hosts = coverages.labels([recording.manifest for recording in recordings])
    return [
        Reader(recording, replace(Source.of(recording), host=host), request, tell)
        for recording, host in zip(recordings, hosts, strict=True)
    ]


def _fold(fold: Fold, reader: Reader, step: Step, columns: Sequence[str] = ()) -> None:
    recording, source = reader.recording, reader.source
    alive = recording.alive
    fold.objects(load.objects(recording), source, complete=not alive)
    fold.mappings(load.mappings(recording), source)
    for batch in reader.batches(columns, step):
        fold.add(batch)
    if alive:  # what was announced meanwhile
        fold.objects(load.objects(recording), source, complete=True)


def build(
    paths: Sequence[str],
    request: Request,
    step: Step,
    tell: Tell,
    wanted: Sequence[str] = TABLES,
) -> Report:
    """The report of the recordings ``paths``. StoreError, UserError.

    ``wanted``: the tables to make, for some are long; with all of them comes ``Report.seals``.
    """
    with ExitStack() as stack:
        readers = _open(paths, request, tell, stack)
        by_source = {reader.source: reader for reader in readers}

        def keep(judged: Judged) -> npt.NDArray[np.bool_]:
            return by_source[judged.source].keep(judged)

        fold = Fold(keep=keep if any(reader.narrows for reader in readers) else None)
        for reader in readers:
            _fold(fold, reader, step)
        tables = fold.finish()
        sums = dict(zip(tables.recordings["path"], tables.recordings["decisions"], strict=True))
        # Reads once more, if there is any, and may find more problems.
        busy = holders.busy([reader.recording for reader in readers], tables)
        found = [reader.coverage(int(sums.get(reader.source.path, 0))) for reader in readers]
        report = _report(request, found, tables, wanted)
        windows: dict[str, int] = {}
        for reader in readers:
            begin = _BEFORE if reader.since_ns is None else reader.since_ns
            windows[reader.source.boot_id] = min(begin, windows.get(reader.source.boot_id, begin))
        keys = _asked_about(request, tables)
        late, busy, seals = (
            _narrowed(frame, keys, windows)
            for frame in (tables.late_seals, busy, tables.seals if wanted == TABLES else _NOTHING)
        )
    return replace(report, late=late, busy=busy, seals=seals)


def _asked_about(request: Request, tables: Tables) -> pd.DataFrame | None:
    """The keys of the files that the question is about; None: all."""
    if request.question == Question():
        return None
    objects = tables.by_object
    return objects.loc[objects["decisions"] > 0, _OBJECT].astype({"boot_id": object})


def _narrowed(
    frame: pd.DataFrame, keys: pd.DataFrame | None, windows: Mapping[str, int]
) -> pd.DataFrame:
    """The rows about these files, since the begin of the window of their boot."""
    if keys is None or frame.empty:
        return frame
    boots = frame["boot_id"].astype(object)
    since = boots.map(windows)
    about = frame.assign(boot_id=boots).merge(keys, on=_OBJECT, how="left", indicator=True)
    kept = (about["_merge"] == "both").to_numpy() & (frame["time_ns"] >= since).to_numpy()
    return frame[kept]


def _report(
    request: Request, found: Sequence[Coverage], tables: Tables, wanted: Sequence[str]
) -> Report:
    by_name: dict[str, pd.DataFrame] = {name: getattr(tables, f"by_{name}") for name in wanted}
    if "object" in by_name and request.question != Question():
        # Files that nothing was asked of are no answer to a question.
        objects = by_name["object"]
        by_name["object"] = objects[objects["decisions"] > 0]
    return Report(
        question=request.question,
        coverage=tuple(found),
        verdicts=_ordered(tables.verdicts),
        listed=tables.listed,
        tables=by_name,
        over_time=tables.over_time(),
        late=_NOTHING,
        busy=_NOTHING,
        unlisted=tables.unlisted,
        left_out=tables.left_out,
        unannounced=tables.unannounced,
    )


def _ordered(verdicts: dict[str, int]) -> dict[str, int]:
    return {word: int(verdicts.get(word, 0)) for word in WORST_FIRST}


def compare(paths: Sequence[str], request: Request, step: Step, tell: Tell) -> diffs.Diff:
    """The comparison of the two recordings ``paths``. StoreError, UserError."""
    with ExitStack() as stack:
        sides = [_side(reader, step) for reader in _open(paths, request, tell, stack)]
    (a, counted_a, tables_a), (b, counted_b, tables_b) = sides
    decisions, same = diffs.compare(counted_a.frame(), counted_b.frame(), diffs.common_bit5(a, b))
    return diffs.Diff(
        question=request.question,
        a=a,
        b=b,
        verdicts=(_ordered(tables_a.verdicts), _ordered(tables_b.verdicts)),
        same=same,
        variants=diffs.variants(a, b),
        decisions=decisions,
        objects=diffs.objects(tables_a.by_object, tables_b.by_object),
    )


def _side(reader: Reader, step: Step) -> tuple[Coverage, diffs.Tally, Tables]:
    tally = diffs.Tally()
    names = (*requests.COLUMNS, "seals", "answer")

    def keep(judged: Judged) -> npt.NDArray[np.bool_]:
        kept = reader.keep(judged)
        tally.add({name: judged[name][kept] for name in names}, judged["verdict"][kept])
        return kept

    fold = Fold(keep=keep)
    _fold(fold, reader, step, names)
    tables = fold.finish()
    return reader.coverage(tables.decisions), tally, tables
