"""Requirements and their obstacles as data, and what was found out about one of them.

The texts stand here once: doctor prints them, and `tracer.docs.requirements` makes
``docs/requirements.md`` from them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracer.kernel.requirements.host import Host

ELSEWHERE = "{ELSEWHERE}"
"""In a remedy: how to trace another kernel, which is one of these two (`Host.words`)."""
IN_A_CHECKOUT = "trace another kernel: `make live` boots a stock Debian kernel in QEMU"
ANYWHERE = "trace another kernel: a virtual machine's will do, and recordings are read anywhere"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a tracer needs of the host.

    ``ok`` is None when it could not be found out. ``detail`` is what was seen; ``cause`` (one
    line) and ``remedy`` (what to do next, one line) are empty when ``ok`` is True.
    """

    name: str
    ok: bool | None
    detail: str
    cause: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, str | bool | None]:
        """The fields as a dict of JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a requirement is not met, and what to do: one line each, ``{WORD}`` to be filled in."""

    cause: str
    remedy: str
    unknown: bool = False
    """It could not be found out, which is no refusal."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that doctor looks at."""

    name: str
    purpose: str
    """What it is for, in a sentence."""
    look: "Callable[[Host], Finding]"
    obstacles: tuple[Obstacle, ...]


def met(name: str, detail: str) -> Finding:
    """The requirement is met."""
    return Finding(name, True, detail)


def unmet(host: "Host", name: str, detail: str, obstacle: Obstacle, **words: str) -> Finding:
    """It is not, or nobody can tell."""
    ok = None if obstacle.unknown else False
    words = {**host.words, **words}
    cause, remedy = obstacle.cause.format(**words), obstacle.remedy.format(**words)
    return Finding(name, ok, detail, cause, remedy)
