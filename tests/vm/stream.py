"""One output stream of a guest, from the pipe that QEMU writes to our own standard output.

The guest frames what the command prints with a token that nobody can guess: all before the
begin mark is noise of the boot, all after the end mark is noise of the shutdown, and the number
behind the end mark is the command's exit code. So the harness knows that the guest came up, that
every byte has arrived, and how the command ended, from one ordered channel.
"""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(frozen=True)
class Marks:
    """The begin and end marks of one boot."""

    begin: bytes
    end: bytes

    @classmethod
    def new(cls) -> Marks:
        token = secrets.token_hex(16).encode()
        return cls(b"<sealsnoop-begin-" + token + b">", b"<sealsnoop-end-" + token + b">")


def held_back(data: bytes, mark: bytes) -> int:
    """How many bytes at the end of `data` may be the beginning of `mark`."""
    for length in range(min(len(data), len(mark) - 1), 0, -1):
        if data.endswith(mark[:length]):
            return length
    return 0


@dataclass
class Unframer:
    """Takes a stream apart at its marks, whatever the sizes of the pieces it arrives in."""

    marks: Marks
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    exit_code: int | None = None
    noise: bytes = b""
    _rest: bytes = b""

    def feed(self, chunk: bytes) -> bytes:
        """The part of the command's output that is certain after this piece."""
        if self.ended.is_set():
            return b""
        data = self._rest + chunk
        if not self.begun.is_set():
            noise, found, after = data.partition(self.marks.begin)
            if not found:
                self._rest = data[-65536:]
                self.noise = self._rest
                return b""
            self.noise = noise
            self.begun.set()
            data = after
        output, found, tail = data.partition(self.marks.end)
        if found:
            number, newline, _ = tail.partition(b"\n")
            if newline:
                self.exit_code = int(number)
                self.ended.set()
            self._rest = b"" if newline else found + tail
            return output
        keep = held_back(data, self.marks.end)
        self._rest = data[len(data) - keep :]
        return data[: len(data) - keep]


class Pump(threading.Thread):
    """Copies one stream of the guest to one of ours while the boot goes on."""

    def __init__(self, source: int, sink: BinaryIO, marks: Marks) -> None:
        super().__init__(daemon=True)
        self.unframer = Unframer(marks)
        self.sink_gone = threading.Event()
        self._source = source
        self._sink = sink

    def run(self) -> None:
        while chunk := os.read(self._source, 1 << 16):
            output = self.unframer.feed(chunk)
            if not output or self.sink_gone.is_set():
                continue
            try:
                self._sink.write(output)
                self._sink.flush()
            except OSError:  # our reader went away; keep the guest from blocking all the same
                self.sink_gone.set()
