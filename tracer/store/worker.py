"""A thread that does one thing after another, so that a slow disk does not stop the capture."""

import threading
from collections.abc import Callable
from contextlib import suppress

from tracer.kernel import privileges


class Worker:
    """Runs jobs in order, one of them at a time, in a thread or (``inline``) at once.

    The first error ends it: later jobs are not run, and ``wait`` and ``submit`` raise that error.
    """

    def __init__(self, name: str, *, inline: bool) -> None:
        self.error: BaseException | None = None
        self._inline = inline
        self._job: Callable[[], None] | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        if not inline:
            self._harmless = threading.Event()
            self._thread.start()
            # Whoever looks afterwards which threads have privileges must not find this one.
            self._harmless.wait()

    def submit(self, job: Callable[[], None]) -> None:
        """Starts ``job``, after waiting for the one before it."""
        self.wait()
        if self._inline:
            self._run(job)
            self.check()
            return
        with self._changed:
            self._job = job
            self._changed.notify_all()

    def wait(self) -> None:
        """Waits until nothing is under way."""
        with self._changed:
            while self._job is not None:
                self._changed.wait()
        self.check()

    def check(self) -> None:
        """Raises the error of an earlier job, if there was one."""
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Ends the thread after the job that is under way; raises nothing."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if not self._inline:
            self._thread.join()

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # to be raised in the thread that submits
            self.error = error

    def _loop(self) -> None:
        # What is written lies in open folders of our own: no privilege is of use here.
        with suppress(OSError):
            privileges.keep(())
        self._harmless.set()
        while True:
            with self._changed:
                while self._job is None:
                    if self._stopping:
                        return
                    self._changed.wait()
                job = self._job
            self._run(job)
            with self._changed:
                self._job = None
                self._changed.notify_all()
