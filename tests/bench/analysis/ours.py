"""What ``sealsnoop report --json`` does, without its text; and the fold of a live view."""

import time
from pathlib import Path

import numpy as np

LIVE_ROWS = 100_000
LIVE_BATCHES = 30


def tables(path: Path) -> dict[str, int]:
    """Judges every decision and makes all tables; rows of each."""
    from tracer.analysis.decisions import summarize
    from tracer.recording.reader import Recording

    with Recording.open(path) as recording:
        found = summarize([recording])
        made = {
            name: len(getattr(found, name))
            for name in ("by_object", "by_fd", "by_process", "by_op", "by_rule", "listed", "seals",
                         "late_seals", "busy")
        }  # fmt: skip
        return made | {"over_time": len(found.over_time()), "decisions": found.decisions}


def live(path: Path) -> dict[str, float]:
    """Folds batches of 100,000 events that lie in memory; seconds for the folding alone."""
    from tracer.analysis import decisions
    from tracer.analysis.batches import Source, joined
    from tracer.recording.reader import Recording

    with Recording.open(path) as recording:
        source = Source.of(recording)
        wanted, parts = LIVE_ROWS * LIVE_BATCHES, []
        for batch in decisions.batches(recording, decisions.NEEDED, source=source):
            parts.append(batch)
            wanted -= len(batch)
            if wanted <= 0:
                break
        whole = joined(parts)
        batches = [
            whole.take(np.arange(start, start + LIVE_ROWS))
            for start in range(0, len(whole) - LIVE_ROWS + 1, LIVE_ROWS)
        ]
        fold = decisions.Decisions()
        fold.objects(recording.frame("objects"), source)
    times, looks, cpu_seconds = [], [], 0.0
    for place, batch in enumerate(batches):
        before, cpu_before = time.perf_counter(), time.process_time()
        fold.add(batch)
        times.append(time.perf_counter() - before)
        cpu_seconds += time.process_time() - cpu_before
        if place % 10 == 9:
            before = time.perf_counter()
            found = fold.tables()
            looks.append(time.perf_counter() - before)
    found = fold.tables()
    before = time.perf_counter()
    len(found.by_object)
    shown = time.perf_counter() - before
    return {
        "events": len(batches) * LIVE_ROWS,
        "seconds": sum(times),
        "cpu_seconds": cpu_seconds,
        "median_ms": sorted(times)[len(times) // 2] * 1e3,
        "tables_ms": max(looks) * 1e3,
        "by_object_ms": shown * 1e3,
    }
