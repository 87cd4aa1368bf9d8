"""Checks a recording: is everything there that was recorded, and is it what was recorded?"""

import hashlib
import os
import re
from collections.abc import Iterator

import pyarrow as pa

from tracer.model.record import USER_CPU
from tracer.store.chain import Link
from tracer.store.errors import from_os
from tracer.store.reader import Recording, tail_tables
from tracer.store.report import VerifyReport
from tracer.store.schema import TABLES
from tracer.store.sequence import Counts, Sequences, count_by_cpu
from tracer.store.snapshot import Snapshot, take

_BLOCK = 1 << 20
_RING_CAUSES = ("ring_full", "seq_hole")
"""Losses of records that had a sequence number. seq_hole counts only what ring_full does not."""
_PART = re.compile(r"([0-9]{6,})\.parquet")


class _Check:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.report = VerifyReport(recording.path)
        self.sequences = Sequences()
        self.chain_highest: dict[int, int] = {}
        self.lost: dict[tuple[str, str], int] = {}

    def run(self) -> VerifyReport:
        shot = take(self.recording.folder, self.recording.manifest_bytes, self.recording.recorder)
        try:
            return self._run(shot)
        finally:
            shot.close()

    def _run(self, shot: Snapshot) -> VerifyReport:
        report = self.report
        report.segments = len(shot.links)
        report.alive = shot.alive and shot.end is None
        if shot.end is not None:
            report.reason = str(shot.end.get("reason"))
        unfinished = shot.end is None or bool(shot.end.get("error"))
        for link in shot.links:
            self._segment(link)
        self.chain_highest = self.sequences.highest()
        self._tails(shot)
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
        whole = True
        for path, info in link.files.items():
            wrong = self._file(path, info.sha256, info.size)
            if wrong is not None:
                self.report.damage.append(wrong)
                whole = False
                continue
            name = path.split("/")[0]
            if name not in TABLES:
                continue  # a later version of this schema may add tables
            rows = 0
            for table in self.recording.part(path, _wanted(name)):
                rows += table.num_rows
                self._rows(name, table, counts)
            if rows != info.rows:
                self.report.damage.append(
                    f"{path} has {rows} rows where the chain says {info.rows}."
                )
                whole = False
        if whole and not link.unknown and counts != link.cpus:
            self.report.damage.append(
                f"Segment {link.number} holds other sequence numbers than the chain says."
            )

    def _file(self, path: str, digest: str, size: int) -> str | None:
        """What is wrong with a file, None if nothing is."""
        table, name = path.split("/")
        try:
            with self.recording.folder.sub(table) as where:
                fd = where.open_file(name)
        except OSError as error:
            if isinstance(error, PermissionError):
                raise
            return (
                f"{path} is missing."
                if isinstance(error, FileNotFoundError)
                else (f"{path} cannot be opened ({error.strerror}).")
            )
        state = hashlib.sha256()
        with os.fdopen(fd, "rb", buffering=0) as file:
            there = os.fstat(fd).st_size
            while block := file.read(_BLOCK):
                state.update(block)
        if there != size:
            return f"{path} is {there} bytes long and was {size}."
        if state.hexdigest() != digest:
            return f"{path} was changed (its digest is wrong)."
        return None

    def _tails(self, shot: Snapshot) -> None:
        for found in tail_tables(shot):
            for name, table in found.items():
                self._rows(name, table)

    def _strangers(self, shot: Snapshot, unfinished: bool) -> None:
        named = {path for link in shot.links for path in link.files}
        for path in self._paths():
            if path in named:
                continue
            match = _PART.fullmatch(path.split("/")[1])
            left_over = match is None or int(match[1]) >= shot.next_number
            if self.report.alive and left_over:
                continue
            if unfinished and left_over:
                self.report.incomplete.append(f"{path} belongs to a segment that was not finished.")
            else:
                self.report.damage.append(f"{path} is not in the chain: it was put there later.")

    def _paths(self) -> Iterator[str]:
        for name in TABLES:
            try:
                with self.recording.folder.sub(name) as where:
                    yield from (f"{name}/{file}" for file in where.names())
            except FileNotFoundError:
                continue

    def _holes(self, shot: Snapshot) -> None:
        report = self.report
        end = shot.end or {}
        final = _integers(end.get("final_seq"))
        report.holes = self.sequences.holes(final)
        if self.sequences.repeated:
            report.damage.append(
                f"{self.sequences.repeated} records have a sequence number that is there already."
            )
        kernel = sum(hole.size for hole in report.holes if hole.cpu != USER_CPU)
        user = sum(hole.size for hole in report.holes if hole.cpu == USER_CPU)
        report.missing = kernel + user
        for (cause, _), total in sorted(self.lost.items()):
            if cause in _RING_CAUSES and total:
                report.accounted[cause] = report.accounted.get(cause, 0) + total
        kernel -= min(kernel, sum(report.accounted.values()))
        other = {
            "unsaved": int(end.get("unsaved") or 0),
            "unknown_type": sum(link.unknown for link in shot.links),
        }
        if shot.end is None:
            # Behind what the chain vouches for, the recorder was killed or is still at work.
            other["unfinished"] = sum(
                hole.size
                for hole in report.holes
                if hole.first > self.chain_highest.get(hole.cpu, -1)
            )
        report.accounted |= {cause: count for cause, count in other.items() if count}
        report.unexplained = max(0, kernel + user - sum(other.values()))


def _wanted(name: str) -> list[str]:
    return ["cpu", "seq", "cause", "hook", "total"] if name == "losses" else ["cpu", "seq"]


def _integers(raw: object) -> dict[int, int]:
    try:
        return {int(cpu): int(seq) for cpu, seq in dict(raw or {}).items()}  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return {}


def verify(path: str | os.PathLike[str]) -> VerifyReport:
    """Reads everything once. NotARecording, FutureSchema, NoPermission."""
    with Recording.open(path) as recording:
        try:
            return _Check(recording).run()
        except OSError as error:
            raise from_os(error, f"checking {os.fspath(path)}") from error
