"""What the screen needs of a feed."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from ui.request import Request
from ui.snapshot import Alert, Snapshot

INTERVAL_S = 0.22
"""Between two snapshots."""
OnAlert = Callable[[Sequence[Alert]], None]
"""Is given new alerts, oldest first, in the reader's thread."""


@runtime_checkable
class Feed(Protocol):
    """Publishes snapshots; all methods return at once."""

    @property
    def snapshot(self) -> Snapshot:
        """The newest one."""
        ...

    def start(self) -> None:
        """Begins to read."""
        ...

    def stop(self) -> None:
        """Reads no more; gives everything back."""
        ...

    def ask(self, request: Request) -> None:
        """From now on snapshots have what ``request`` asks for; the next one comes soon."""
        ...


@runtime_checkable
class Player(Feed, Protocol):
    """A feed that can be played like a film."""

    def toggle(self) -> None:
        """Plays, or holds."""
        ...

    def step(self) -> None:
        """Goes one event on and holds."""
        ...

    def to_violation(self) -> None:
        """Goes to the next breach or unexplained denial and holds."""
        ...

    def faster(self, steps: int) -> None:
        """To the next speed, or with -1 to the one before."""
        ...

    def seek(self, where: str) -> str:
        """Goes to ``12.5`` (seconds), ``1:30`` or ``40%``; says where. UserError."""
        ...
