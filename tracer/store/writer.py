"""Writes a recording: records in, segments and a tail out, readable whenever the power fails.

What happens to a record: ``append`` copies it into a chunk (the ring's memory belongs to the kernel
again after that), and a full chunk is encoded; when much comes at once it is encoded where it lies.
A cut segment is made durable and joins the chain. ``tick`` brings the tail up to date a few times a
second, or cuts the segment at once where so much came that a tail would be work for nothing.
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
from tracer.store.chain import END, MANIFEST, info
from tracer.store.ending import end_document
from tracer.store.errors import StoreError, from_os
from tracer.store.limits import DOCUMENT_BYTES, Limits
from tracer.store.pipeline import Pipeline
from tracer.store.replace import FORMAT, RESERVE, new_folder
from tracer.store.schema import SCHEMA_VERSION

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
        self.digest = ""
        """Of the chain's last line, and so of the whole recording; known after ``close``."""
        self._bytes = 0  # of manifest.json and end.json
        self._failed: StoreError | None = None
        self._closed = False
        head = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "record_size": RECORD_SIZE}
        text = json.dumps({**manifest, **head}, indent=2).encode() + b"\n"
        if len(text) > DOCUMENT_BYTES:
            raise StoreError(
                f"{self.path}: what is to be said of this recording takes {len(text)} bytes, more "
                f"than a {MANIFEST} can have; record with a shorter command line"
            )
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
            # Not synced: a write takes its room at once, and nobody needs it when power comes back.
            disk.write_all(fd, bytes(self.limits.reserve_bytes))
        finally:
            os.close(fd)
        self._pipeline = Pipeline(self._root, manifest, self.limits)
        # Chunks in turn: those that a tail may still want, and the one that is being filled.
        rows = min(self.limits.chunk_rows, self.limits.direct_rows)
        count = -(-self.limits.direct_rows // rows) + 1
        self._chunks = [np.empty(rows, _RAW) for _ in range(count)]
        self._last_tail_s = float("-inf")
        self._last_beat_s = float("-inf")
        self._new_segment(0)

    def _new_segment(self, number: int) -> None:
        self._segment = self._pipeline.begin(number)
        self._fill = 0  # records in the first chunk
        self._in_tail = 0  # of these, records that the tail has
        self._waiting: list[Records] = []  # full chunks, and parts of them, that the tail has not
        self._direct = False  # more came at once than a tail is worth
        self._begun_s: float | None = None

    @property
    def bytes_on_disk(self) -> int:
        """What the recording takes: a tail goes when its segment, which is smaller, has come."""
        return self._bytes + self._pipeline.bytes_on_disk

    def append(self, records: Records) -> None:
        """Takes records (dtype HEAD or of one type, any stride); they are copied before it returns.

        DiskFull or another StoreError: this or an earlier record could not be stored; the recording
        takes no more, and ``close`` says in ``end.json`` why.
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
            self._guard(partial(self._pipeline.add, self._segment, raw.view(HEAD)))
        else:
            chunk[self._fill : self._fill + count] = raw[:count]
            self._fill += count
        if self._segment.rows >= self.limits.rows:
            self._guard(self._cut)
        elif self._fill == len(chunk):
            self._guard(self._chunk_full)
        return count

    def tick(self, now_s: float) -> None:
        """To be called a few times a second with a clock that never goes back (seconds).

        Brings the tail up to date and cuts the segment when its time has come. Raises like
        ``append``.
        """
        self._check()
        self._guard(partial(self._tick, now_s))

    def _tick(self, now_s: float) -> None:
        self._pipeline.check()
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
            elif self._pipeline.may_have_tail(self._segment):
                self._last_tail_s = now_s
                self._update_tail()

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
            if self._segment.tail.begun:
                self._cut()  # readers saw its beginning: they get the rest soon, from the chain
                return
        self._hand_over()

    def _hand_over(self) -> None:
        self._pipeline.add(self._segment, self._chunks[0][: self._fill].view(HEAD))
        self._chunks.append(self._chunks.pop(0))
        self._fill = self._in_tail = 0

    def _cut(self) -> None:
        """Ends the segment; the tail of the next one may begin before this one is in the chain."""
        tail = self._segment.tail
        if tail.begun and not self._direct:
            self._update_tail()
            tail.complete()
        self._hand_over()
        self._pipeline.finish(self._segment)
        self._new_segment(self._segment.segment.number + 1)

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
        self._pipeline.stop()
        raise error

    def close(self, reason: str, final_seq: Mapping[int, int] | None = None, **extra: Any) -> None:
        """Ends the recording with ``end.json``; a second call does nothing.

        ``final_seq``: for each CPU how many sequence numbers it gave out in all. ``extra`` goes
        into ``end.json`` as it is. After a failure of ``append`` or ``tick`` this only says what
        went wrong; a failure of its own is raised when ``end.json`` is written.
        """
        if self._closed:
            return
        failed_before = self._failed is not None
        try:
            if not failed_before:
                with contextlib.suppress(StoreError):  # raised below, after end.json
                    self._guard(self._finish)
            self._root.unlink(RESERVE, missing_ok=True)
            pipeline = self._pipeline
            tails = pipeline.tails_left()
            end = end_document(
                extra,
                reason=reason,
                error=self._failed,
                final_seq=final_seq or {},
                rows=self.rows_written,
                unsaved=self.rows_written - pipeline.stored_rows - pipeline.rows_in_tails,
            )
            text = json.dumps(end, indent=2).encode() + b"\n"
            # Until the chain vouches for it, nobody believes it.
            self._root.write_durably(END, text)
            self._bytes += len(text)
            pipeline.chain.end({END: info(text), **tails})
            self.digest = pipeline.chain.last
        except OSError as error:
            raise from_os(error, f"ending the recording {self.path}") from error
        finally:
            self._closed = True
            self._pipeline.close()
            os.close(self._lock)
            self._root.close()
        if self._failed is not None and not failed_before:
            raise self._failed

    def _finish(self) -> None:
        if self._segment.rows:
            self._cut()
        self._pipeline.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close("closed" if kind is None else f"failed: {kind.__name__}")
