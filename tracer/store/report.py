"""What a check of a recording found, for people and as JSON."""

import json
from dataclasses import asdict, dataclass, field

from tracer.store.sequence import Hole

_HOLES_SHOWN = 20
_HOLES_JSON = 1000
_INNER = ("cpus", "final")


@dataclass
class VerifyReport:
    """The findings; :attr:`ok` says it in one word."""

    path: str
    segments: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Rows of each table, tail included."""
    reason: str | None = None
    """Why the recorder stopped; None: there is no end marker."""
    digest: str = ""
    """Of the chain's last line: of all that it vouches for."""
    alive: bool = False
    """It was being written while it was checked."""
    damage: list[str] = field(default_factory=list)
    """What cannot have come from an accident of the recorder: changed, removed, added."""
    incomplete: list[str] = field(default_factory=list)
    """What is missing since the recorder stopped in the middle."""
    holes: list[Hole] = field(default_factory=list)
    missing: int = 0
    """Sequence numbers in all holes."""
    accounted: dict[str, int] = field(default_factory=dict)
    """By cause: losses that the recorder itself declared."""
    unexplained: int = 0
    """Missing sequence numbers that no declared loss covers."""

    cpus: set[int] = field(default_factory=set)
    """CPUs that have a record."""
    final: dict[int, int] = field(default_factory=dict)
    """How many numbers each CPU gave out, as far as end.json says so."""

    @property
    def ok(self) -> bool:
        """Ended by its recorder, nothing changed, every hole declared."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """0: ok. 2: damaged or unexplained holes. 3: readable, but cut off."""
        if self.damage or self.unexplained:
            return 2
        return 3 if self.incomplete else 0

    def to_json(self) -> str:
        """One JSON object; at most 1000 holes are listed, ``missing`` counts all."""
        body = {key: value for key, value in asdict(self).items() if key not in _INNER}
        holes = self.holes[:_HOLES_JSON]
        body["holes"] = [{**hole._asdict(), "count": hole.size} for hole in holes]
        return json.dumps({"ok": self.ok, **body}, indent=2)

    def lines(self) -> list[str]:
        """The same for people."""
        state = {0: "ok", 2: "DAMAGED", 3: "incomplete"}[self.exit_code]
        rows = ", ".join(f"{count} {name}" for name, count in self.rows.items()) or "no rows"
        lines = [f"{self.path}: {state}", f"  {self.segments} segments; {rows}"]
        lines += [f"  stopped: {self.reason}"] if self.reason is not None else []
        lines += [f"  digest: {self.digest}"] if self.ok else []
        lines += [f"  damage: {sentence}" for sentence in self.damage]
        lines += [f"  incomplete: {sentence}" for sentence in self.incomplete]
        if self.missing:
            causes = ", ".join(f"{count} {cause}" for cause, count in self.accounted.items())
            lines.append(
                f"  {self.missing} sequence numbers missing in {len(self.holes)} holes: "
                f"declared {causes or 'none'}; unexplained {self.unexplained}"
            )
            lines += [
                f"    CPU {hole.cpu}: {hole.first}-{hole.last} ({hole.size})"
                for hole in self.holes[:_HOLES_SHOWN]
            ]
            if len(self.holes) > _HOLES_SHOWN:
                lines.append(f"    and {len(self.holes) - _HOLES_SHOWN} holes more (--json)")
        return lines
