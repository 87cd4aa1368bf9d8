"""Objects by key: what was seen of each, and whether it was announced."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.model.record import HEAD, NAME, NO_SYSCALL, OBJECT, RecordType
from tracer.model.words import Kind

Rows = NDArray[np.void]

_PIECE: int = NAME["text"].itemsize
_LONGEST_NAME = 255
_MEMFD = b"memfd:"


@dataclass(slots=True)
class Object:
    name: bytes
    uid: int
    gid: int
    mapping_flags: int
    is_memfd: bool
    unwanted: bool
    """The name filter turns it away."""
    announced: bool = False


class Objects:
    """All that was seen and still lives. ``prefix``: what wanted names begin with."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._known: dict[int, Object] = {}

    def learn(self, seen: Rows) -> None:
        """``seen``: `tracer.capture.ftrace.rows.SEEN`."""
        for row in seen:
            key = int(row["key"])
            if key in self._known:
                continue
            name = bytes(row["name"]).split(b"\0", 1)[0][:_LONGEST_NAME]
            is_memfd = bool(row["is_memfd"])
            said = name.removeprefix(_MEMFD) if is_memfd else name
            self._known[key] = Object(
                name,
                int(row["uid"]),
                int(row["gid"]),
                int(row["mapping_flags"]),
                is_memfd,
                not said.startswith(self._prefix),
            )

    def forget_all(self) -> None:
        self._known.clear()

    def forget(self, keys: NDArray[np.uint64]) -> None:
        for key in keys.tolist():
            self._known.pop(key, None)

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], ...]:
        """Of each key: whether it is a memfd, was announced, is unwanted."""
        different, which = np.unique(keys, return_inverse=True)
        facts = np.zeros((len(different), 3), bool)
        for place, key in enumerate(different.tolist()):
            one = self._known.get(key)
            if one is not None:
                facts[place] = one.is_memfd, one.announced, one.unwanted
        return tuple(facts[which].T) if len(keys) else (np.zeros(0, bool),) * 3

    def announce(self, key: int, event: np.void, row: np.void) -> Rows | None:
        """OBJECT and NAME records in front of an object's first event, None: there are some.

        ``event``: that EVENT record; ``row``: the row that it was made from.
        """
        one = self._known.get(key)
        if one is None or one.announced:
            return None
        one.announced = True
        head = np.zeros(1, OBJECT)
        for name in ("time_ns", "ino", "dev", "gen", "cpu", "op", "hook", "kind", "seals",
                     "pid", "tid", "uid", "comm", "cgroup", "size", "mode"):  # fmt: skip
            head[name] = event[name]
        head["type"], head["nr"] = RecordType.OBJECT, NO_SYSCALL
        head["mode"], head["size"] = row["mode"], row["size"]
        head["owner_uid"], head["owner_gid"] = one.uid, one.gid
        head["mapping_flags"] = one.mapping_flags
        head["name_len"] = len(one.name)
        pieces = [one.name[at : at + _PIECE] for at in range(0, len(one.name), _PIECE)]
        names = np.zeros(len(pieces), NAME)
        for name in ("time_ns", "ino", "dev", "gen", "cpu", "hook", "kind"):
            names[name] = event[name]
        names["type"], names["nr"] = RecordType.NAME, NO_SYSCALL
        for place, piece in enumerate(pieces):
            names["part"][place], names["length"][place] = place, len(piece)
            names["text"][place] = np.void(piece.ljust(_PIECE, b"\0"))
        return np.frombuffer(bytearray(head.tobytes() + names.tobytes()), HEAD)


def kinds(rows: Rows, is_memfd: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The kind of each row's object."""
    memfd = (rows["kind"] == Kind.TMPFS) & is_memfd
    found: NDArray[np.uint8] = np.where(memfd, Kind.MEMFD, rows["kind"]).astype(np.uint8)
    return found
