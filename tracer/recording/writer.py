"""Writes a recording: records in, segments and a tail out, readable whenever the power fails.

What happens to a record: ``append`` copies it into a chunk (the ring's memory belongs to the kernel
again after that), and a full chunk is encoded; when much comes at once it is encoded where it lies.
A cut segment is made durable in a thread and joins the chain, so that a slow disk does not stop the
capture: only when the next segment is cut before that has arrived does the writer wait. ``tick``
brings the tail up to date a few times a second, or cuts the segment at once where so much came that
a tail would be work for nothing.
"""

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

from tracer.kernel import privileges
from tracer.record import EVENT, HEAD, RECORD_SIZE, RecordType
from tracer.recording import folder as disk
from tracer.recording.chain import END, MANIFEST, TAIL_FOLDER, ChainWriter, Link, PartInfo, info
from tracer.recording.errors import StoreError, from_os
from tracer.recording.folder import Folder
from tracer.recording.format import DOCUMENT_BYTES, SCHEMA_VERSION, Limits
from tracer.recording.manifest import FORMAT, Manifest, end_document, json_object
from tracer.recording.part import Part
from tracer.recording.replace import RESERVE, new_folder
from tracer.recording.tables import EventColumns, all_events, build, objects_tables, split
from tracer.recording.tail import TailWriter, count_by_cpu


def _harmless() -> None:
    # What is written lies in open folders of our own: no privilege is of use in that thread.
    with suppress(OSError):
        privileges.keep(())


class Worker:
    """Runs jobs in order, one of them at a time, in a thread or (``inline``) at once.

    The first error ends it: later jobs are not run, and every other method raises that error.
    """

    def __init__(self, name: str, *, inline: bool) -> None:
        self._last: Future[None] = Future()
        self._last.set_result(None)
        self._pool = None if inline else ThreadPoolExecutor(1, name, _harmless)
        if self._pool is not None:
            # A later look at which threads have privileges must not find this one.
            self._pool.submit(int).result()

    def submit(self, job: Callable[[], None]) -> None:
        """Starts ``job``, after waiting for the one before it."""
        self.wait()
        if self._pool is not None:
            self._last = self._pool.submit(job)
            return
        self._last = Future()
        try:
            job()
            self._last.set_result(None)
        except BaseException as error:
            self._last.set_exception(error)
            raise

    def wait(self) -> None:
        """Waits until nothing is under way."""
        self._last.result()

    def check(self) -> None:
        """Raises the error of an earlier job, if there was one."""
        if self._last.done():
            self._last.result()

    def stop(self) -> None:
        """Ends the thread after the job that is under way; raises nothing."""
        if self._pool is not None:
            self._pool.shutdown()


Records = npt.NDArray[np.void]
_RAW = f"V{RECORD_SIZE}"
_OBJECTS_HELD = 16384  # records; names find their objects within one call of objects_tables


class _Tables(dict[str, Folder]):
    """The folders of the tables, made when the first row comes."""

    def __init__(self, root: Folder) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, name: str) -> Folder:
        self[name] = self._root.make_sub(name)
        self._root.sync()
        return self[name]


class Segment:
    """A segment that is not in the chain yet: records are written as they come, and become visible
    in :meth:`commit`. Until then what matters of it stands in its tail."""

    def __init__(
        self, number: int, folders: Mapping[str, Folder], tails: Folder, columns: EventColumns
    ) -> None:
        self.number = number
        self.tail = TailWriter(tails, number)
        self.rows = 0
        """Records that belong to it so far, whether or not they are encoded."""
        self._folders = folders
        self._columns = columns
        self._parts: dict[str, Part] = {}
        self._objects: list[Records] = []
        self._cpus: dict[int, tuple[int, int, int]] = {}
        self._unknown = 0
        self._link: Link | None = None

    def add(self, records: Records) -> None:
        """Encodes records (HEAD, any types, any stride); they may be overwritten after the call."""
        if all_events(records):
            self._add_events(records.view(_RAW).view(EVENT))
            return
        # Events are counted as columns, which takes a third of the time.
        rest = records[records["type"] != RecordType.EVENT]
        count_by_cpu(rest["cpu"], rest["seq"], self._cpus)
        found, objects, unknown = split(records)
        self._unknown += unknown
        for name, rows in found.items():
            if name == "events":
                self._add_events(rows)
            else:
                self._part(name).add(build(name, rows))
        if len(objects):
            self._objects.append(objects.view(_RAW))
            if sum(map(len, self._objects)) > _OBJECTS_HELD:
                self._add_objects()

    def _add_events(self, rows: Records) -> None:
        while len(rows):
            rows = rows[self._columns.add(rows) :]
            if self._columns.rows == self._columns.capacity:
                self._write_events()

    def _write_events(self) -> None:
        if self._columns.rows:
            count_by_cpu(*self._columns.sequence(), self._cpus)
            self._part("events").add(self._columns.table())
            self._columns.clear()

    def _add_objects(self) -> None:
        if not self._objects:
            return
        records = np.concatenate(self._objects).view(HEAD)
        self._objects.clear()
        for name, table in zip(("objects", "names"), objects_tables(records), strict=True):
            if table.num_rows:
                self._part(name).add(table)

    def _part(self, name: str) -> Part:
        if name not in self._parts:
            self._parts[name] = Part(self._folders[name], name, self.number)
        return self._parts[name]

    def finish(self) -> None:
        """Nothing more comes: writes what was held back and the ends of the files."""
        self.tail.close()
        self._write_events()
        self._add_objects()
        files = {part.path: part.finish() for part in self._parts.values()}
        self._link = Link(self.number, files, dict(sorted(self._cpus.items())), self._unknown, "")

    def commit(self, chain: ChainWriter) -> int:
        """Makes the segment durable and then visible. The order is what kill -9 must not break.

        :return: bytes of its files.
        """
        if self._link is None:
            raise RuntimeError("commit before finish")
        for name, part in self._parts.items():
            part.sink.publish()
            self._folders[name].sync()
        chain.append(self._link)
        return sum(part.size for part in self._link.files.values())

    @property
    def bytes_on_disk(self) -> int:
        """Of its tail and of what is written of its parts."""
        return self.tail.size + sum(part.sink.size for part in list(self._parts.values()))

    def discard(self) -> None:
        """Takes files away that did not become part of the chain; the tail stays."""
        self.tail.close()
        for part in self._parts.values():
            part.sink.discard()


_BEAT_S = 1.0


class RecordingWriter:
    """A recording that is being written. One thread only may call its methods."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        manifest: Mapping[str, Any],
        *,
        force: bool = False,
        limits: Limits | None = None,
    ) -> None:
        """Makes the recording's folder, mode 0700.

        :param path: where; nothing may be there, unless ``force``.
        :param manifest: what was recorded: keys of :class:`Manifest`, and any others.
        :param force: replaces another recording, and nothing else.
        :param limits: when things are written; None: the usual ones.
        :raises StoreError: AlreadyExists, Busy, NoPermission, DiskFull; Damaged where no reader
            would take this manifest.
        """
        self.path = os.fspath(path)
        self.limits = limits or Limits()
        self.rows_written = 0
        """Records accepted by ``append``."""
        self.digest = ""
        """Of the chain's last line, and so of the whole recording; known after ``close``."""
        self.stored_rows = 0
        """Of these, records in the segments of the chain."""
        self._stored_bytes = 0  # of these segments
        self._open: dict[int, Segment] = {}  # those that are not in the chain yet
        self._bytes = 0  # of manifest.json and end.json
        self._failed: StoreError | None = None
        self._closed = False
        head = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "record_size": RECORD_SIZE}
        text = json.dumps({**manifest, **head}, indent=2).encode() + b"\n"
        if len(text) > DOCUMENT_BYTES:
            raise StoreError(
                f"{self.path}: what the manifest would say takes {len(text)} bytes, more "
                f"than a {MANIFEST} can have; record with a shorter command line"
            )
        Manifest.of(json_object(text, MANIFEST))
        self._root, self._lock = new_folder(self.path, force=force)
        try:
            self._begin(text)
        except OSError as error:
            os.close(self._lock)
            self._root.close()
            raise from_os(error, f"making the recording {self.path}") from error

    def _begin(self, manifest: bytes) -> None:
        self._root.write_durably(MANIFEST, manifest)
        self._bytes += len(manifest)
        fd = self._root.create(RESERVE)
        try:
            # Not synced: a write takes its room at once, and power that comes back needs none.
            disk.write_all(fd, bytes(self.limits.reserve_bytes))
        finally:
            os.close(fd)
        self._chain = ChainWriter(self._root, manifest)
        self._tables = _Tables(self._root)
        # There from the start, for readers that only know folders; and synced with it is the chain.
        self._tables["events"]
        self._tails = self._root.make_sub(TAIL_FOLDER)
        self._columns = EventColumns(self.limits.group_rows)
        self._finisher = Worker("finish", inline=not self.limits.threads)
        # Chunks in turn: those that a tail may still want, and the one that is being filled.
        rows = min(self.limits.chunk_rows, self.limits.direct_rows)
        count = -(-self.limits.direct_rows // rows) + 1
        self._chunks = [np.empty(rows, _RAW) for _ in range(count)]
        self._last_tail_s = float("-inf")
        self._last_beat_s = float("-inf")
        self._new_segment(0)

    def _new_segment(self, number: int) -> None:
        self._segment = Segment(number, self._tables, self._tails, self._columns)
        self._open[number] = self._segment
        self._fill = 0  # records in the first chunk
        self._in_tail = 0  # of these, records that the tail has
        self._waiting: list[Records] = []  # full chunks, and parts of them, that the tail has not
        self._direct = False  # more came at once than a tail is worth
        self._begun_s: float | None = None

    @property
    def bytes_on_disk(self) -> int:
        """What the recording takes: a tail goes when its segment, which is smaller, has come."""
        unfinished = sum(one.bytes_on_disk for one in list(self._open.values()))
        return self._bytes + self._chain.size + self._stored_bytes + unfinished

    def append(self, records: Records) -> None:
        """Takes records; they are copied before it returns.

        :param records: dtype HEAD or that of one type (tracer.record), one dimension, any stride.
        :raises StoreError: this or an earlier record could not be stored (DiskFull and the like);
            the recording takes no more, and ``close`` says in ``end.json`` why.
        """
        self._check()
        raw = records.view(_RAW)
        while len(raw):
            raw = raw[self._take(raw[: self.limits.rows - self._segment.rows]) :]

    def _take(self, raw: Records) -> int:
        """Takes some of ``raw``, and says how many."""
        chunk = self._chunks[0]
        straight = self._direct and not self._fill and len(raw) >= len(chunk)
        count = len(raw) if straight else min(len(raw), len(chunk) - self._fill)
        self._segment.rows += count
        self.rows_written += count
        if straight:
            self._guard(partial(self._segment.add, raw.view(HEAD)))
        else:
            chunk[self._fill : self._fill + count] = raw[:count]
            self._fill += count
        if self._segment.rows >= self.limits.rows:
            self._guard(self._cut)
        elif self._fill == len(chunk):
            self._guard(self._chunk_full)
        return count

    def tick(self, now_s: float) -> None:
        """Brings the tail up to date, and cuts the segment when its time has come.

        To be called a few times a second.

        :param now_s: seconds of a clock that never goes back.
        :raises StoreError: as of :meth:`append`.
        """
        self._check()
        self._guard(partial(self._tick, now_s))

    def _tick(self, now_s: float) -> None:
        self._finisher.check()
        if now_s - self._last_beat_s >= _BEAT_S:
            self._last_beat_s = now_s
            disk.touch(self._lock)
        if self._segment.rows == 0:
            return
        if self._begun_s is None:
            self._begun_s = now_s
        if now_s - self._begun_s >= self.limits.seconds:
            self._cut()
        elif now_s - self._last_tail_s >= self.limits.tail_s:
            if self._direct:
                self._last_tail_s = now_s
                self._cut()
            elif self._may_have_tail():
                self._last_tail_s = now_s
                self._update_tail()

    def _may_have_tail(self) -> bool:
        """Whether nothing before the segment would be missing if everything ended now.

        A tail behind a segment that is nowhere yet would leave a hole, and not an end.
        """
        others = (one for one in list(self._open.values()) if one is not self._segment)
        return all(one.tail.whole for one in others)

    def _update_tail(self) -> None:
        for records in [*self._waiting, self._rest()]:
            self._segment.tail.append(records.view(HEAD))
        self._waiting.clear()
        self._in_tail = self._fill

    def _rest(self) -> Records:
        return self._chunks[0][self._in_tail : self._fill]

    def _chunk_full(self) -> None:
        if not self._direct:
            self._waiting.append(self._rest())
            self._direct = sum(map(len, self._waiting)) >= self.limits.direct_rows
        if self._direct:
            self._waiting.clear()
            if self._segment.tail.started:
                self._cut()  # readers saw its beginning: they get the rest soon, from the chain
                return
        self._hand_over()

    def _hand_over(self) -> None:
        if self._fill:
            self._segment.add(self._chunks[0][: self._fill].view(HEAD))
        self._chunks.append(self._chunks.pop(0))
        self._fill = self._in_tail = 0

    def _cut(self) -> None:
        """Ends the segment; the tail of the next one may start before this one is in the chain."""
        tail = self._segment.tail
        if tail.started and not self._direct:
            self._update_tail()
            tail.complete()
        self._hand_over()
        self._segment.finish()
        self._finisher.submit(partial(self._commit, self._segment))
        self._new_segment(self._segment.number + 1)

    def _commit(self, done: Segment) -> None:
        written = done.commit(self._chain)
        self.stored_rows += done.rows
        self._stored_bytes += written
        del self._open[done.number]
        if done.tail.started:
            self._tails.unlink(done.tail.name)

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._closed:
            raise StoreError(f"{self.path}: the recording is closed")

    def _guard(self, step: Callable[[], None]) -> None:
        """Runs ``step``; what goes wrong in it or in the threads is for the user to know."""
        try:
            step()
        except OSError as error:
            self._fail(from_os(error, f"writing {self.path}"))
        except StoreError as error:
            self._fail(error)

    def _fail(self, error: StoreError) -> NoReturn:
        self._failed = error
        self._stop()
        raise error

    def _stop(self) -> None:
        """Ends the thread and takes unfinished files away; tails stay. Raises nothing."""
        self._finisher.stop()
        for segment in self._open.values():
            segment.discard()

    def close(self, reason: str, final_seq: Mapping[int, int] | None = None, **extra: Any) -> None:
        """Ends the recording with ``end.json``; a second call does nothing.

        :param reason: why the recorder stopped.
        :param final_seq: CPU → how many sequence numbers it gave out in all.
        :param extra: goes into ``end.json`` as it is.
        :raises StoreError: what was held back, or ``end.json`` itself, could not be stored. A
            failure of ``append`` or ``tick`` is not raised again: ``end.json`` has it.
        """
        if self._closed:
            return
        failed_before = self._failed is not None
        try:
            if not failed_before:
                with suppress(StoreError):  # raised below, after end.json
                    self._guard(self._finish)
            self._root.unlink(RESERVE, missing_ok=True)
            tails = self._tails_left()
            in_tails = sum(segment.tail.rows for segment in self._open.values())
            end = end_document(
                extra,
                reason=reason,
                error=self._failed,
                final_seq=final_seq or {},
                rows=self.rows_written,
                unsaved=self.rows_written - self.stored_rows - in_tails,
            )
            text = json.dumps(end, indent=2).encode() + b"\n"
            # Not believed until the chain vouches for it.
            self._root.write_durably(END, text)
            self._bytes += len(text)
            self._chain.end({END: info(text), **tails})
            self.digest = self._chain.last
        except OSError as error:
            raise from_os(error, f"ending the recording {self.path}") from error
        finally:
            self._closed = True
            self._stop()
            self._chain.close()
            for folder in (*self._tables.values(), self._tails, self._root):
                folder.close()
            os.close(self._lock)
        if self._failed is not None and not failed_before:
            raise self._failed

    def _finish(self) -> None:
        if self._segment.rows:
            self._cut()
        self._finisher.wait()

    def _tails_left(self) -> dict[str, PartInfo]:
        """The tails of segments that did not come to be, on the device; to be called when stopped.

        A tail that the device does not take is given up: its records count as not stored.
        """
        found = {}
        for tail in [segment.tail for segment in self._open.values() if segment.tail.started]:
            try:
                found[f"{TAIL_FOLDER}/{tail.name}"] = tail.left()
            except OSError:
                tail.rows = 0
                with suppress(OSError):
                    self._tails.unlink(tail.name, missing_ok=True)
        if found:
            self._tails.sync()
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close("closed" if kind is None else f"failed: {kind.__name__}")
