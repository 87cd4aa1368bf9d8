"""What the screen asks of the reader thread."""

from dataclasses import dataclass, field

from tracer.query import Query

Key = tuple[int, int, int]
"""dev, ino, gen of an object."""

TABLES = ("objects", "fds", "processes", "events", "hooks", "audit")
"""The tabs, in their order; the last one is there only with a policy."""


@dataclass(frozen=True)
class Window:
    """Which events are wanted: those around one row, or the first, or (both None) the newest."""

    around: int | None = None
    first: bool = False


@dataclass(frozen=True)
class Find:
    """A search for the next event with one of ``verdicts``, from row ``start`` on."""

    number: int
    """Counts searches, so that the answer can be told from an older one."""
    verdicts: tuple[int, ...]
    start: int
    forward: bool = True


@dataclass(frozen=True)
class Request:
    """Everything that decides what rows a snapshot has. The newest replaces all before it."""

    table: str = "objects"
    query: Query = field(default_factory=Query)
    sort: str | None = None
    """Column to sort by; None: worst first, events as they came."""
    reverse: bool = False
    frozen: bool = False
    """Rows stay as they are; counts go on."""
    window: Window = Window()
    object: Key | None = None
    """The object whose details are wanted."""
    object_window: Window = Window()
    find: Find | None = None
