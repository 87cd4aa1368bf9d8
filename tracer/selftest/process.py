"""The process that makes the attempts: not the recorder, whose own calls no hook reports.

It is forked early, loads what judging needs while the recorder compiles its BPF program, and waits
for its turn; then it tells first what it did and then what that means, a line of JSON each.
"""

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Self

from tracer.selftest.attempt import Attempt
from tracer.selftest.ways import Tried

PATIENCE_S = {False: 60.0, True: 300.0}
"""Short and thorough: an emulated machine is slow; a native one needs a second for everything."""
_LOOK_S = 0.002


class SelfTestFailed(Exception):
    """The self-test did not come to its end; the text says why."""


def _life(go: int, out: int, thorough: bool, prefix: bytes, audit: bool) -> NoReturn:
    """The child's whole life."""
    lines = os.fdopen(out, "w")

    def tell(told: dict[str, Any]) -> None:
        json.dump(told, lines)
        print(file=lines, flush=True)

    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the recorder
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        from tracer.selftest.attempt import Attempts
        from tracer.selftest.cases import attempt_all
        from tracer.selftest.explain import explain  # pandas: half a second, spent while waiting
        from tracer.selftest.ways import try_all

        if os.read(go, 1) == b"g":
            attempts = Attempts(prefix)
            attempt_all(attempts, thorough)
            ways = try_all(attempts.name) if audit else []
            tell({"attempts": attempts, "merging": sorted(attempts.merging), "ways": ways})
            order = os.read(go, 1)
            tell(explain(attempts, *order).to_json())
    except BaseException as error:  # whatever it is, the recorder has to hear of it
        with contextlib.suppress(OSError):
            tell({"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)


class Examiner:
    """The waiting process. ``attempts`` starts it, ``finding`` hears the rest, `close` ends it."""

    def __init__(self, pid: int, go: int, told: int, thorough: bool) -> None:
        self.pid = pid
        self.thorough = thorough
        self._go: int | None = go
        self._told = told
        self._said = b""
        self._ended = False
        self.ways: list[Tried] = []
        """With ``audit``, after `attempts`: what was tried of the ways in that audits hook."""

    @classmethod
    def prepare(cls, thorough: bool, prefix: bytes = b"", audit: bool = False) -> Self:
        """Forks it. Call it before threads are started. ``prefix``: of its files' names.

        ``audit``: it tries the ways in that only audits hook, too.
        """
        go_reader, go = os.pipe2(os.O_CLOEXEC)
        told, told_writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.close(told)
            _life(go_reader, told_writer, thorough, prefix, audit)
        os.close(go_reader)
        os.close(told_writer)
        return cls(pid, go, told, thorough)

    def attempts(
        self, meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[list[Attempt], set[int]]:
        """Lets it begin; all attempts, and the inodes whose mappings were merged.

        ``meanwhile`` is called again and again until it is done. Raises SelfTestFailed.
        """
        self._write(b"g")
        told = self._line(meanwhile)
        self.ways = [Tried(*one) for one in told["ways"]]
        return [Attempt(*row) for row in told["attempts"]], set(told["merging"])

    def finding(self, folio_order: int | None) -> dict[str, Any]:
        """What the attempts mean (`tracer.selftest.explain.Finding`). Raises SelfTestFailed.

        ``folio_order``: as a hook saw it, if one did.
        """
        self._write(bytes([255 if folio_order is None else folio_order]))
        return self._line(lambda: None)

    def _write(self, word: bytes) -> None:
        if self._go is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._go, word)

    def _line(self, meanwhile: Callable[[], object]) -> dict[str, Any]:
        patience_s = PATIENCE_S[self.thorough]
        until_s = time.monotonic() + patience_s
        while b"\n" not in self._said:
            meanwhile()
            if time.monotonic() > until_s:
                raise SelfTestFailed(f"it did not end in {patience_s:g} s")
            if not select.select([self._told], [], [], _LOOK_S)[0]:
                continue
            piece = os.read(self._told, 1 << 16)
            if not piece:
                break
            self._said += piece
        line, _, self._said = self._said.partition(b"\n")
        try:
            told = json.loads(line)
        except ValueError:
            raise SelfTestFailed("its process died") from None
        if "error" in told:
            raise SelfTestFailed(told["error"])
        assert isinstance(told, dict)
        return told

    def close(self) -> None:
        """Ends and reaps it."""
        if self._go is None:
            return
        os.close(self._go)
        os.close(self._told)
        self._go = None
        # Done, or waiting for its turn: both end by themselves. One that hangs does not.
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@contextlib.contextmanager
def prepared(thorough: bool, prefix: bytes, audit: bool = False) -> Iterator[Examiner]:
    """A `Examiner` that is gone in the end."""
    process = Examiner.prepare(thorough, prefix, audit)
    try:
        yield process
    finally:
        process.close()
