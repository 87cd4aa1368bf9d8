"""Programs run from memory files: which of them could still be changed then.

A file that is sealed WRITE, SHRINK and GROW when the kernel has it in hand can never change again:
no seal can be taken away, and F_SEAL_WRITE is refused while a shared mapping may write or somebody
holds pages (mm/memfd.c:memfd_add_seals). FUTURE_WRITE alone leaves the mappings that are there.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from tracer.analysis.batches import Array, Batch, Source
from tracer.analysis.frames import concat, stacked
from tracer.labels import exec_text
from tracer.words import CONTENT, EXEC_CHECK, Op

if TYPE_CHECKING:
    from tracer.analysis.totals import Tables
    from tracer.recording.reader import Recording

IMMUTABLE = "immutable"
CHANGEABLE = "could be changed"
_READ = ("time_ns", "pid", "comm", "kind", "dev", "ino", "gen", "seals", "arg", "answer")
_FILE = ["boot_id", "dev", "ino", "gen"]
_SAME = ["host", *_FILE, "kind", "name", "comm", "seals", "arg"]
COLUMNS = (*_SAME, "state", "how", "time_ns", "pid", "times")


def _went_through(batch: Batch) -> Array:
    found: Array = (batch["answer"] == 0) & (batch["arg"] & EXEC_CHECK == 0)
    return found


def executed(readings: "Sequence[tuple[Recording, Source]]", tables: "Tables") -> pd.DataFrame:
    """What was executed, those first that could still be changed; a file is a row for each way.

    ``state``: :data:`IMMUTABLE` or :data:`CHANGEABLE`; ``how`` it was named or served; ``times``
    it was, of which ``time_ns`` and ``pid`` are the first's. Reads just these events, and
    nothing where there were none.
    """
    from tracer.analysis.decisions import batches

    frames = []
    if (tables.by_op["op"].astype(str) == "exec").any():
        for recording, source in readings:
            parts = batches(recording, _READ, (Op.EXEC,), source=source, where=_went_through)
            frames.append(concat(parts, _READ))
    rows = stacked(frames) if frames else pd.DataFrame()
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    files = tables.by_object[[*_FILE, "name"]].astype({"boot_id": object, "name": object})
    rows = rows.astype(dict.fromkeys(("host", "boot_id", "kind", "comm"), object))
    rows = rows.merge(files, on=_FILE, how="left").sort_values("time_ns", kind="stable")
    groups = rows.groupby(_SAME, sort=False, dropna=False, observed=True)
    found = groups.agg(time_ns=("time_ns", "first"), pid=("pid", "first"), times=("pid", "size"))
    found = found.reset_index()
    sealed = found["seals"] & int(CONTENT) == int(CONTENT)
    found["state"] = sealed.map({True: IMMUTABLE, False: CHANGEABLE})
    found["how"] = [exec_text(arg) for arg in found["arg"].tolist()]
    order = found.assign(sealed=sealed).sort_values(["sealed", "time_ns"], kind="stable").index
    return found.loc[order, list(COLUMNS)].reset_index(drop=True)
