"""``end.json``: written only when the recorder itself stopped, and why it did."""

from collections.abc import Mapping
from typing import Any

from tracer.store.errors import DiskFull, StoreError


def end_document(
    extra: Mapping[str, Any],
    *,
    reason: str,
    error: StoreError | None,
    final_seq: Mapping[int, int],
    rows: int,
    unsaved: int,
) -> dict[str, Any]:
    """The content of ``end.json``; ``error`` takes the place of the reason that was asked for."""
    end: dict[str, Any] = {
        **extra,
        "reason": reason,
        "rows": rows,  # accepted from the recorder
        "unsaved": unsaved,  # of these, neither in a segment nor in a tail
        "final_seq": {str(cpu): int(count) for cpu, count in sorted(final_seq.items())},
    }
    if error is not None:
        end |= {
            "reason": "disk full" if isinstance(error, DiskFull) else "failed",
            "asked_reason": reason,
            "error": str(error),
        }
    return end
