"""Names of frames: function, source file and line, inlined functions too.

They are looked up when a recording is read, in the files that ran or their debug files, by a
process that may do nothing else (:mod:`tracer.stacks.lookup`). If it dies of a file, frames in
that file have no names, and that is said.
"""

import contextlib
import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Self

from tracer.escape import escape_bytes
from tracer.labels import counted
from tracer.stacks.files import Files, Found
from tracer.stacks.lookup import ADDRESSES, receive, send
from tracer.stacks.recorded import Frame, Module

LOOKUP = (sys.executable, "-P", "-m", "tracer.stacks.lookup")
_START_S, _ANSWER_S = 20.0, 20.0
_DEATHS = 4
"""So many files may end the process, or keep it busy, before no other is started: who made them
would have us wait for each."""
_KEPT = 1 << 25
"""Characters of names that are kept."""
_LOADED_ALREADY = 0, 1
_LOADED = 64
"""Modules in the process: then a new one is started, with none."""
_TEXT, _INLINED = 1 << 10, 64

NO_DRGN = (
    "stacks show files and offsets alone: names of functions and lines take drgn "
    "(pip install 'sealsnoop[stacks]')"
)
GIVEN_UP = f"no more names are looked up: {_DEATHS} files ended or held up what looks into them"


class Place(NamedTuple):
    """A function, and where in its source; texts are escaped, empty or 0 where not known."""

    function: str
    file: str = ""
    line: int = 0

    @property
    def source(self) -> str:
        """``ring.c:88``: the file's own name; empty where it is not known."""
        name = self.file.rpartition("/")[2]
        return f"{name}:{self.line}" if name and self.line else name


class _Died(Exception):
    """The process that looks up is gone, or does not answer."""


class _Lookup:
    """The process."""

    def __init__(self) -> None:
        ours, its = socket.socketpair()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "DEBUGINFOD_URLS": ""}
        with its:
            self._process = subprocess.Popen(
                [*LOOKUP, str(its.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[its.fileno()], env=environment, start_new_session=True,
            )  # fmt: skip
        self._sock = ours
        self.loaded: set[int] = set()
        try:
            self._answer(_START_S)
        except _Died:
            self.close()
            raise

    def ask(
        self, number: int, span: tuple[int, int], fds: list[int], addresses: list[int]
    ) -> dict[str, Any]:
        """Its answer, of which nothing is sure. _Died."""
        low, high = span
        asked = {"module": number, "low": low, "high": high, "addresses": addresses}
        try:
            send(self._sock, asked, fds)
        except OSError as error:
            raise _Died(self._why()) from error
        self.loaded.add(number)
        return self._answer(_ANSWER_S)

    def _answer(self, seconds: float) -> dict[str, Any]:
        until_s = time.monotonic() + seconds
        self._sock.settimeout(seconds)
        try:
            if not select.select([self._sock], [], [], max(0.0, until_s - time.monotonic()))[0]:
                raise _Died(f"does not answer for {seconds:.0f} s")
            answer = receive(self._sock)
        except (OSError, ValueError, RecursionError) as error:
            raise _Died(self._why()) from error
        if not isinstance(answer, dict):
            raise _Died(self._why())
        return answer

    def _why(self) -> str:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "answers nonsense"
        if code >= 0:
            return f"ended with {code}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"

    def close(self) -> None:
        """Ends it."""
        self._sock.close()
        self._process.kill()
        self._process.wait()


Key = tuple[bytes, str, int, int, int]


def _key(module: Module) -> Key:
    """What a module is, in whatever recording."""
    return module.raw, module.build_id, module.dev, module.ino, module.size


class Names:
    """Looks names up, for the frames of any number of recordings."""

    def __init__(self, files: Files | None = None) -> None:
        self._files = files or Files()
        self._known: dict[tuple[Key, int], tuple[Place, ...]] = {}
        self._size = 0
        self._numbers: dict[Key, int] = {}
        self._without: dict[Key, str] = {}
        """Modules that have no names, and why; empty: nothing of theirs is here."""
        self._lookup: _Lookup | None = None
        self._deaths = 0
        self.possible = importlib.util.find_spec("drgn") is not None
        """drgn is there."""

    def of(self, frame: Frame) -> tuple[Place, ...]:
        """Where a frame is, the innermost inlined function first; empty: not known."""
        self.ask((frame,))
        return self.known(frame)

    def known(self, frame: Frame) -> tuple[Place, ...]:
        """The same, of what was asked before."""
        if frame.name:
            return (Place(frame.name.partition(" [")[0] if frame.what == "kernel" else frame.name),)
        if frame.module is None or frame.what != "code":
            return ()
        return self._known.get((_key(frame.module), frame.address), ())

    def ask(self, frames: Iterable[Frame]) -> None:
        """Looks up all of them, file by file."""
        wanted: dict[Key, tuple[Module, dict[int, None]]] = {}
        for frame in frames:
            module = frame.module
            if module is None or frame.what != "code" or not 0 < frame.address < 1 << 63:
                continue
            key = _key(module)
            if key not in self._without and (key, frame.address) not in self._known:
                wanted.setdefault(key, (module, {}))[1][frame.address] = None
        if not self.possible:
            reason = GIVEN_UP if self._deaths >= _DEATHS else NO_DRGN
            self._without.update(dict.fromkeys(wanted, reason))
            return
        for key, (module, addresses) in wanted.items():
            self._ask_module(key, module, addresses)

    def _ask_module(self, key: Key, module: Module, addresses: Iterable[int]) -> None:
        rest = iter(addresses)
        while some := list(islice(rest, ADDRESSES)):
            try:
                places = self._places(key, module, some)
            except _Died as died:
                self._end()
                self._deaths += 1
                self._without[key] = f"what looked names up in {module.name} {died}"
                if self._deaths >= _DEATHS:
                    self.possible = False
                return
            if places is None:
                return
            if self._size > _KEPT:
                self._known.clear()
                self._size = 0
            for address, found in zip(some, places, strict=True):
                self._known[key, address] = found
                self._size += 64 + sum(len(one.function) + len(one.file) for one in found)

    def _places(
        self, key: Key, module: Module, addresses: list[int]
    ) -> list[tuple[Place, ...]] | None:
        number = self._numbers.setdefault(key, len(self._numbers) + 1)
        if self._lookup is not None and len(self._lookup.loaded) >= _LOADED:
            self._end()
        if self._lookup is not None and number in self._lookup.loaded:
            answer = self._lookup.ask(number, _LOADED_ALREADY, [], addresses)
            return self._checked(key, module, answer, len(addresses))
        own, debug = self._files.module(module), self._files.debug(module.build_id)
        if own is None and debug is None:
            debug = self._files.fetched(module.build_id)
        held = [one for one in (own, debug) if one is not None]
        if not held:
            self._without[key] = ""
            return None
        try:
            if self._lookup is None:
                self._lookup = _Lookup()
            fds, span = [one.fd for one in held], held[0].elf.span
            answer = self._lookup.ask(number, span, fds, addresses)
            if debug is None and answer.get("lines") is False:
                debug = self._files.fetched(module.build_id)
                if debug is not None:
                    held.append(debug)
                    answer = self._lookup.ask(number, span, [debug.fd], addresses)
            shared = self._shared(held[-1], answer.get("wants"))
            if shared is not None:
                held.append(shared)
                answer = self._lookup.ask(number, span, [shared.fd], addresses)
            return self._checked(key, module, answer, len(addresses))
        finally:
            for one in held:
                one.close()

    def _shared(self, of: Found, wants: Any) -> Found | None:
        """The file that several debug files share (dwz), if that is wanted and there."""
        if not (isinstance(wants, list) and len(wants) == 2):
            return None
        path, build_id = wants
        if not isinstance(path, str) or not isinstance(build_id, str):
            return None
        return self._files.shared(of, path, build_id)

    def _checked(
        self, key: Key, module: Module, answer: dict[str, Any], count: int
    ) -> list[tuple[Place, ...]]:
        """An answer as places, whatever is in it."""
        if "error" in answer:
            self._without[key] = f"no names of functions in {module.name}: {_text(answer['error'])}"
        found = answer.get("places")
        if not isinstance(found, list) or len(found) != count:
            return [()] * count
        return [tuple(_place(one) for one in _list(places)[:_INLINED]) for places in found]

    def notes(self) -> Iterator[str]:
        """What has no names and why, in sentences."""
        reasons = dict.fromkeys(self._without.values())
        yield from filter(None, reasons)
        lacking = [key for key, reason in self._without.items() if not reason]
        if lacking:
            names = [escape_bytes(key[0].rpartition(b"/")[2]) or "?" for key in lacking[:3]]
            more = f" and {counted(len(lacking) - 3, 'other')}" if len(lacking) > 3 else ""
            yield (
                f"no names of functions in {', '.join(names)}{more}: neither the file that ran nor "
                "a debug file with its build id is here (--debug-dir)"
            )

    def _end(self) -> None:
        if self._lookup is not None:
            self._lookup.close()
            self._lookup = None

    def close(self) -> None:
        """Ends the process."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _place(value: Any) -> Place:
    parts = value if isinstance(value, list) and len(value) == 3 else ["", "", 0]
    function, file, line = parts  # of any types
    line = line if isinstance(line, int) and 0 <= line < 1 << 31 else 0
    return Place(_text(function), _text(file), int(line))


def _text(value: Any) -> str:
    text = value[:_TEXT] if isinstance(value, str) else ""
    return escape_bytes(text.encode(errors="replace"))
