"""Checks a recording: is everything there that was recorded, and is it what was recorded?"""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from tracer.errors import Exit
from tracer.escape import printable
from tracer.labels import counted
from tracer.record import USER_CPU
from tracer.recording.chain import TAIL_FOLDER, Link, part_number, tail_number, wrong
from tracer.recording.errors import Damaged, from_os
from tracer.recording.format import PART_BYTES, TABLES
from tracer.recording.manifest import End
from tracer.recording.reader import Recording, Snapshot, pieces, tail_numbers, tail_tables
from tracer.recording.replace import FILES
from tracer.recording.tail import Counts, Hole, Sequences, count_by_cpu

_HOLES_SHOWN = 20
_HOLES_JSON = 1000
_INNER = ("cpus", "final")
_STATES = {Exit.FINE: "ok", Exit.FINDING: "damaged", Exit.UNCERTAIN: "incomplete"}


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
    redacted_from: str = ""
    """It is a copy where names are pseudonyms: the digest of the recording that it is of."""
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
        return self.exit_code == Exit.FINE

    @property
    def exit_code(self) -> Exit:
        """What ``sealsnoop verify`` ends with: readable, but cut off, is not certain."""
        if self.damage or self.unexplained:
            return Exit.FINDING
        return Exit.UNCERTAIN if self.incomplete else Exit.FINE

    def to_json(self) -> str:
        """One JSON object; at most 1000 holes are listed, ``missing`` counts all."""
        body = {key: value for key, value in asdict(self).items() if key not in _INNER}
        holes = self.holes[:_HOLES_JSON]
        body["holes"] = [{**hole._asdict(), "count": hole.size} for hole in holes]
        first = {"ok": self.ok, "result": _STATES[self.exit_code], "summary": self.summary}
        return json.dumps({**first, **body}, indent=2)

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        if self.damage:
            more = f", and {len(self.damage) - 1} more" if self.damage[1:] else ""
            why = f"{self.damage[0].rstrip('.')}{more}"
        elif self.unexplained:
            numbers = counted(self.unexplained, "record")
            why = f"{numbers} missing, and nobody declared that they were lost"
        elif self.alive:
            why = "it is still being written"
        elif self.incomplete:
            why = self.incomplete[0].rstrip(".")
        else:
            unwanted = min(self.missing, self.accounted.get("filtered", 0))
            gone = [f"{counted(unwanted, 'record')} left out by --filter"] if unwanted else []
            if lost := self.missing - unwanted:
                gone.append(f"{counted(lost, 'record')} declared as lost")
            why = "; ".join(["whole, and nothing was changed", *gone])
        return f"{_STATES[self.exit_code].upper()}: {self.path}: {why}"

    def lines(self) -> list[str]:
        """The same for people."""
        rows = ", ".join(f"{name} {count:,}" for name, count in self.rows.items()) or "none"
        lines = [self.summary, f"  {counted(self.segments, 'segment')}; rows: {rows}"]
        lines += [f"  stopped: {self.reason}"] if self.reason is not None else []
        lines += [f"  digest: {self.digest}"] if self.ok else []
        if self.redacted_from:
            lines.append(
                f"  a redacted copy, of the recording with the digest {self.redacted_from}"
            )
        lines += [f"  damage: {sentence}" for sentence in self.damage]
        lines += [f"  incomplete: {sentence}" for sentence in self.incomplete]
        if self.missing:
            causes = ", ".join(f"{count} {cause}" for cause, count in self.accounted.items())
            lines.append(
                f"  {counted(self.missing, 'sequence number')} missing in "
                f"{counted(len(self.holes), 'hole')}: "
                f"declared {causes or 'none'}; unexplained {self.unexplained}"
            )
            lines += [
                f"    CPU {hole.cpu}: {hole.first}-{hole.last} ({hole.size})"
                for hole in self.holes[:_HOLES_SHOWN]
            ]
            if len(self.holes) > _HOLES_SHOWN:
                lines.append(
                    f"    and {counted(len(self.holes) - _HOLES_SHOWN, 'more hole')} (--json)"
                )
        return lines


RING_CAUSES = ("ring_full", "seq_hole", "filtered")
"""Why records are missing that had a sequence number. seq_hole counts only what ring_full does
not; what was filtered is no loss, for nobody wanted it."""
_STRANGERS = 20


class _Check:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.report = VerifyReport(recording.path)
        self.sequences = Sequences()
        self.chain_highest: dict[int, int] = {}
        self.lost: dict[tuple[str, str], int] = {}

    def run(self) -> VerifyReport:
        with closing(self.recording.snapshot()) as shot:
            report, chain = self.report, self.recording.chain
            report.segments = len(shot.links)
            report.alive = shot.alive
            report.digest = chain.digest
            report.redacted_from = printable(self.recording.manifest.redacted_from)
            if shot.end is not None:
                report.reason = str(shot.end.reason)
            for link in shot.links:
                self._segment(link)
            self.chain_highest = self.sequences.highest()
            for found in tail_tables(shot):
                for name, table in found.items():
                    self._rows(name, table)
            unfinished = chain.end is None or bool(shot.end and shot.end.error)
            self._strangers(shot, unfinished)
            report.damage = shot.damage + report.damage
            if unfinished:
                report.incomplete = shot.missing + report.incomplete
            else:
                report.damage += shot.missing
            self._holes(shot)
            return report

    def _rows(self, name: str, table: pa.Table, counts: Counts | None = None) -> None:
        self.report.rows[name] = self.report.rows.get(name, 0) + table.num_rows
        cpus = table.column("cpu").to_numpy()
        seqs = table.column("seq").to_numpy()
        self.sequences.add(cpus, seqs)
        if counts is not None:
            count_by_cpu(cpus, seqs, counts)
        if name == "losses":
            for row in table.select(["cause", "hook", "total"]).to_pylist():
                key = (row["cause"], row["hook"])
                self.lost[key] = max(self.lost.get(key, 0), row["total"])

    def _segment(self, link: Link) -> None:
        counts: Counts = {}
        known = len(self.report.damage)
        for path, named in link.files.items():
            name = path.split("/")[0]
            try:
                if name not in TABLES:  # a later version of this schema may add tables
                    data = self.recording.folder.contents(path, PART_BYTES)
                    if fault := wrong(data, path, named):
                        raise Damaged(fault)
                    continue
                # All columns: what does not fit is found here, and not in the middle of a report.
                part = self.recording.open_part(link, path)
                for table in pieces(part, TABLES[name].names):
                    self._rows(name, table, counts)
            except PermissionError:
                raise
            except Damaged as error:
                self.report.damage.append(str(error))
            except FileNotFoundError:
                self.report.damage.append(f"{path} is missing.")
            except OSError as error:
                self.report.damage.append(f"{path} cannot be opened ({error.strerror}).")
        whole = len(self.report.damage) == known
        if whole and not link.unknown and counts != link.cpus:
            self.report.damage.append(
                f"Segment {link.number} holds other sequence numbers than the chain says."
            )

    def _strangers(self, shot: Snapshot, unfinished: bool) -> None:
        """Files that no reader looks at: what the chain vouches for is all that is read."""
        added = 0
        for path, number in self._unnamed(shot):
            left_over = number is None or number >= shot.next_number
            if self.report.alive and left_over:
                continue
            if unfinished and left_over:
                self.report.incomplete.append(f"{path} belongs to a segment that was not finished.")
                continue
            added += 1
            if added <= _STRANGERS:
                self.report.damage.append(f"{path} is not in the chain: it was put there later.")
        if added > _STRANGERS:
            self.report.damage.append(f"{added - _STRANGERS} more files are not in the chain.")

    def _unnamed(self, shot: Snapshot) -> Iterator[tuple[str, int | None]]:
        """Paths that the chain does not name, and of which segment each would be."""
        named = {path for link in shot.links for path in link.files}
        folder, end = self.recording.folder, self.recording.chain.end
        read = {*shot.tails, *(tail_numbers(end) if end else ())}
        for name in folder.names():
            if name in FILES:
                continue
            tails = name == TAIL_FOLDER
            if (
                not tails
                and name not in TABLES
                and not any(p.startswith(f"{name}/") for p in named)
            ):
                yield name, 0
                continue
            with folder.sub(name) as where:
                for file in where.names():
                    number = tail_number(file) if tails else part_number(file)
                    if not tails:
                        stranger = f"{name}/{file}" not in named
                    else:  # a tail whose segment has come may be left, or come back
                        late = number is not None and number >= shot.next_number
                        stranger = number is None or (late and number not in read)
                    if stranger:
                        yield f"{name}/{file}", number

    def _holes(self, shot: Snapshot) -> None:
        report = self.report
        end = shot.end or End()
        for cpu, count in end.final_seq.items():
            if cpu.isascii() and cpu.isdecimal() and len(cpu) <= 5:
                report.final[int(cpu)] = count
            else:
                report.damage.append("end.json: final_seq names a CPU that is none.")
        report.holes = self.sequences.holes(report.final)
        report.cpus = {*self.sequences.highest()}
        if self.sequences.repeated:
            report.damage.append(
                f"{self.sequences.repeated} records have a sequence number that is there already."
            )
        report.missing = sum(hole.size for hole in report.holes)
        user = sum(hole.size for hole in report.holes if hole.cpu == USER_CPU)
        kernel = report.missing - user
        for (cause, _), total in sorted(self.lost.items()):
            if cause in RING_CAUSES and total:
                report.accounted[cause] = report.accounted.get(cause, 0) + total
        kernel -= min(kernel, sum(report.accounted.values()))
        other = {
            "unsaved": end.unsaved,
            "unknown_type": sum(link.unknown for link in shot.links),
        }
        if self.recording.chain.end is None:
            # Behind what the chain vouches for, the recorder was killed or is still at work.
            other["unfinished"] = sum(
                hole.size
                for hole in report.holes
                if hole.first > self.chain_highest.get(hole.cpu, -1)
            )
        report.accounted |= {cause: count for cause, count in other.items() if count}
        report.unexplained = max(0, kernel + user - sum(other.values()))


def check(recording: Recording) -> VerifyReport:
    """Reads everything once, of a recording that is open.

    :raises StoreError: the system does not let us read.
    """
    try:
        return _Check(recording).run()
    except OSError as error:
        raise from_os(error, f"checking {recording.path}") from error


def verify(path: str | os.PathLike[str], digest: str | None = None) -> VerifyReport:
    """Checks a recording: is everything there that was recorded, and unchanged?

    :param path: a ``NAME.seal`` folder, finished or still being written.
    :param digest: the final digest that somebody kept (64 hex digits); another one is damage.
    :return: what was found; what cannot be read of the tables is damage in it.
    :raises NotARecording: there is none; FutureSchema: a newer sealsnoop wrote it;
        NoPermission: this user may not read it; Damaged: its manifest has other types than ours.
    """
    with Recording.open(path) as recording:
        report = check(recording)
    if digest is not None and digest.strip().lower() != report.digest:
        report.damage.append(f"The final digest is {report.digest}, not the one that was given.")
    return report
