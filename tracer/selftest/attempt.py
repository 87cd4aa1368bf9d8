"""One call on a scratch file, in the terms of an event, with the kernel's own answer."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tracer.model.words import Kind, Op

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Attempt(NamedTuple):
    """All fields are numbers, as in the columns of the same names; sizes in bytes.

    Ops map, unmap and evict are what user space knows to have happened, and no calls.
    """

    op: int
    kind: int
    ino: int
    seals: int
    seals_after: int
    size: int
    size_after: int
    offset: int
    length: int
    arg: int
    answer: int
    duration_ns: int
    writable: int
    """Shared mappings that could be written, as the kernel counts them; -1 under F_SEAL_WRITE."""
    mode: int
    fmode: int
    uid: int
    hooked: int
    """1: it gets as far as our hooks (a descriptor or an argument can be refused before)."""

    @property
    def words(self) -> tuple[str, str]:
        """Op and kind as users see them."""
        return Op(self.op).name.lower(), Kind(self.kind).name.lower()


class Attempts(list[Attempt]):
    """All attempts of a self-test, in their order."""

    def __init__(self, prefix: bytes = b"") -> None:
        super().__init__()
        self.name = (prefix + b"sealsnoop-self-test")[:249]
        """The name of every scratch file: with a recording's name filter it begins as that says."""
        self.uid = os.getuid()
        self.merging: set[int] = set()
        """Inodes whose mappings the kernel merges: how often it files them anew is its affair."""


def columns(
    attempts: Sequence[Attempt], names: Sequence[str], folio_order_max: int
) -> "dict[str, NDArray[np.generic]]":
    """The attempts as columns ``names`` for the judge.

    ``folio_order_max`` stands in for what user space cannot read. What only a hook sees
    (``flags``, ``check_answer``, ``file_answer``) is 0: not seen.
    """
    import numpy as np

    rows = np.array(attempts, np.int64).reshape(len(attempts), len(Attempt._fields))
    known = {name: rows[:, place] for place, name in enumerate(Attempt._fields)}
    known["owner_uid"] = known["uid"]  # the files are our own
    known["folio_order_max"] = np.full(len(attempts), folio_order_max)
    nothing = np.zeros(len(attempts), np.int64)
    return {name: known.get(name, nothing).astype(_DTYPES[name]) for name in names}


_DTYPES = {
    "op": "u1", "kind": "u1", "uid": "u4", "seals": "u4", "seals_after": "u4", "size": "u8",
    "size_after": "u8", "offset": "i8", "length": "u8", "arg": "u8", "answer": "i8",
    "duration_ns": "u8", "flags": "u4", "writable": "i4", "mode": "u2", "fmode": "u2",
    "check_answer": "i4", "file_answer": "i4", "folio_order_max": "u1", "owner_uid": "u4",
}  # fmt: skip
"""As in a recording (bpf/record.h)."""
