"""Writes a recording: records in, segments and a tail out, readable whenever the power fails.

What happens to a record: ``append`` copies it into one of two buffers (the ring's memory belongs to
the kernel again after that). A full buffer goes to a thread that writes it as a row group; a cut
segment goes to a second one that waits for the disk and adds the line to the chain. ``tick`` puts
what is still in the buffer into the tail a few times a second, or cuts the segment at once where so
much came that the tail would be work for nothing.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

from tracer.model.record import HEAD, RECORD_SIZE
from tracer.store import folder as disk
from tracer.store import lock
from tracer.store.chain import sha256
from tracer.store.errors import DiskFull, StoreError, from_os
from tracer.store.events import EventColumns
from tracer.store.limits import Limits
from tracer.store.replace import END, FORMAT, MANIFEST, RESERVE, new_folder
from tracer.store.schema import SCHEMA_VERSION
from tracer.store.segment import ChainWriter, Segment, TableFolders
from tracer.store.tail import TAIL_FOLDER, TailWriter
from tracer.store.worker import Worker

Records = npt.NDArray[np.void]
_RAW = f"V{RECORD_SIZE}"
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
        """Makes the folder ``path``, mode 0700, with ``manifest`` (anything JSON can hold).

        StoreError: AlreadyExists (``force`` replaces another recording, nothing else), Busy,
        NoPermission, DiskFull.
        """
        self.path = os.fspath(path)
        self.limits = limits or Limits()
        self.rows_written = 0
        """Records accepted by ``append``."""
        self._failed: StoreError | None = None
        self._closed = False
        self._bytes = 0
        self._stored_rows = 0  # in segments of the chain
        self._stored_bytes = 0
        self._live: dict[int, tuple[Segment, TailWriter]] = {}
        self._root, self._lock = new_folder(self.path, force=force)
        try:
            self._begin(manifest)
        except OSError as error:
            os.close(self._lock)
            self._root.close()
            raise from_os(error, f"making the recording {self.path}") from error

    def _begin(self, manifest: Mapping[str, Any]) -> None:
        head = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "record_size": RECORD_SIZE}
        text = json.dumps({**manifest, **head}, indent=2).encode() + b"\n"
        self._root.write_durably(MANIFEST, text)
        self._bytes += len(text)
        self._chain = ChainWriter(self._root, sha256(text))
        self._tables = TableFolders(self._root)
        self._tables["events"]  # there from the start, for readers that only know folders
        self._tails = self._root.make_sub(TAIL_FOLDER)
        self._reserve()
        self._root.sync()
        rows = self.limits.group_rows
        self._columns = EventColumns(rows)
        self._buffers = [np.empty(rows, _RAW), np.empty(rows, _RAW)]
        self._fill = 0  # records in self._buffers[0]
        self._in_tail = 0  # of these, records that the tail has
        self._encoder = Worker("encode", inline=not self.limits.threads)
        self._finisher = Worker("finish", inline=not self.limits.threads)
        self._number = 0
        self._last_tail_s: float | None = None
        self._last_beat_s = float("-inf")
        self._new_segment()

    def _reserve(self) -> None:
        fd = self._root.create(RESERVE)
        try:
            disk.write_all(fd, bytes(self.limits.reserve_bytes))
            disk.sync(fd)
        finally:
            os.close(fd)

    def _new_segment(self) -> None:
        self._segment = Segment(self._number, self._tables, self._columns)
        self._tail = TailWriter(self._tails, self._number)
        self._live[self._number] = self._segment, self._tail
        self._rows = 0  # of this segment that are with the encoder
        self._begun_s: float | None = None

    @property
    def bytes_written(self) -> int:
        """Bytes handed to the file system so far, tails included."""
        return self._bytes + self._stored_bytes

    def append(self, records: Records) -> None:
        """Takes records (dtype HEAD or of one type, any stride); they are copied before it returns.

        DiskFull or another StoreError: this or an earlier record could not be stored; the recording
        takes no more, and ``close`` says in ``end.json`` why.
        """
        self._check()
        raw = records.view(_RAW)
        start = 0
        while start < len(raw):
            count = min(len(raw) - start, self.limits.group_rows - self._fill)
            count = min(count, self.limits.rows - self._rows - self._fill)
            self._buffers[0][self._fill : self._fill + count] = raw[start : start + count]
            start += count
            self._fill += count
            self.rows_written += count
            if self._rows + self._fill >= self.limits.rows:
                self._guard(self._cut)
            elif self._fill == self.limits.group_rows:
                self._guard(self._buffer_full)

    def tick(self, now_s: float) -> None:
        """To be called a few times a second with a clock that never goes back (seconds).

        Brings the tail up to date and cuts the segment when its time has come. Raises like
        ``append``.
        """
        self._check()
        self._guard(partial(self._tick, now_s))

    def _tick(self, now_s: float) -> None:
        self._encoder.check()
        self._finisher.check()
        if now_s - self._last_beat_s >= _BEAT_S:
            self._last_beat_s = now_s
            disk.touch(self._lock)
        if self._last_tail_s is None:
            self._last_tail_s = now_s
        if self._rows + self._fill == 0:
            return
        if self._begun_s is None:
            self._begun_s = now_s
        if now_s - self._begun_s >= self.limits.seconds:
            self._cut()
        elif now_s - self._last_tail_s >= self.limits.tail_s:
            self._last_tail_s = now_s
            if self._is_direct():
                self._cut()
            else:
                self._update_tail()

    def _is_direct(self) -> bool:
        """Whether so much came that the tail is not worth writing."""
        passed_by = self._rows > 0 and not self._tail.begun
        return passed_by or self._fill - self._in_tail >= self.limits.direct_rows

    def _update_tail(self) -> None:
        records = self._buffers[0][self._in_tail : self._fill].view(HEAD)
        self._bytes += self._tail.append(records)
        self._in_tail = self._fill

    def _buffer_full(self) -> None:
        if self._tail.begun:
            # The tail has the beginning of this segment, so it needs the rest as well.
            if self._is_direct():
                self._cut()
                return
            self._update_tail()
        self._hand_over()

    def _hand_over(self, *, last: bool = False) -> None:
        records = self._buffers[0][: self._fill].view(HEAD)
        self._encoder.submit(partial(self._encode, self._segment, records, last))
        self._buffers.reverse()  # the other one is free: the job before this one is done
        self._rows += self._fill
        self._fill = self._in_tail = 0

    def _cut(self) -> None:
        """Ends the segment; the tail of the next one may begin before this one is in the chain."""
        if self._tail.begun and not self._is_direct():
            self._update_tail()
            self._tail.complete()
        self._tail.close()
        self._hand_over(last=True)
        self._number += 1
        self._new_segment()

    def _encode(self, segment: Segment, records: Records, last: bool) -> None:
        if len(records):
            segment.add(records)
        if last:
            segment.finish()
            self._finisher.submit(partial(self._commit, segment))

    def _commit(self, segment: Segment) -> None:
        segment.commit(self._chain)
        self._stored_rows += segment.rows
        self._stored_bytes += segment.written
        _, tail = self._live.pop(segment.number)
        if tail.begun:
            self._tails.unlink(tail.name)

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

    def _fail(self, error: StoreError) -> NoReturn:
        self._failed = error
        self._encoder.stop()
        self._finisher.stop()
        for segment, tail in self._live.values():
            tail.close()
            segment.discard()
        raise error

    def close(
        self, reason: str, final_seq: Mapping[int, int] | None = None, **extra: Any
    ) -> None:
        """Ends the recording with ``end.json``; a second call does nothing.

        ``final_seq``: for each CPU how many sequence numbers it gave out in all. ``extra`` goes
        into ``end.json`` as it is. After a failure of ``append`` or ``tick`` this only says what
        went wrong; a failure of its own is raised when ``end.json`` is written.
        """
        if self._closed:
            return
        try:
            failed_before = self._failed is not None
            if not failed_before:
                with contextlib.suppress(StoreError):  # told below, after end.json
                    self._guard(self._finish_all)
            self._root.unlink(RESERVE, missing_ok=True)
            end = self._end(reason, final_seq, extra)
            self._root.write_durably(END, json.dumps(end, indent=2).encode() + b"\n")
        except OSError as error:
            raise from_os(error, f"ending the recording {self.path}") from error
        finally:
            self._release()
        if self._failed is not None and not failed_before:
            raise self._failed

    def _finish_all(self) -> None:
        if self._rows + self._fill:
            self._cut()
        self._encoder.wait()
        self._finisher.wait()

    def _end(
        self, reason: str, final_seq: Mapping[int, int] | None, extra: Mapping[str, Any]
    ) -> dict[str, Any]:
        in_tails = sum(tail.rows for _, tail in self._live.values())
        end = {
            **extra,
            "reason": reason,
            "rows": self.rows_written,
            "unsaved": self.rows_written - self._stored_rows - in_tails,
            "segments": self._chain.count,
            "chain": self._chain.last,
            "final_seq": {str(cpu): int(seq) for cpu, seq in sorted((final_seq or {}).items())},
        }
        if self._failed is not None:
            full = isinstance(self._failed, DiskFull)
            end |= {"reason": "disk full" if full else "failed", "asked_reason": reason}
            end["error"] = str(self._failed)
        return end

    def _release(self) -> None:
        self._closed = True
        self._encoder.stop()
        self._finisher.stop()
        for segment, tail in self._live.values():
            tail.close()
            segment.discard()
        self._chain.close()
        self._tables.close()
        self._tails.close()
        os.close(self._lock)
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close("closed" if kind is None else f"failed: {kind.__name__}")
