"""Processes of this machine that share work: what ``--jobs`` gives it to."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager

from tracer.errors import UserError


@contextmanager
def processes(jobs: int, imports: Sequence[str] = ()) -> Iterator[Executor]:
    """So many processes, each of which does one thing at a time.

    :param imports: modules that all of them need: imported once.
    :raises UserError: one was killed, from inside.
    """
    # Not by fork: other threads of this process may hold locks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*imports])
    with ProcessPoolExecutor(jobs, context, _undisturbed) as executor:
        try:
            yield executor
        except BrokenExecutor as error:
            raise UserError(
                "a process that did a part of it was killed, as the kernel does when memory runs "
                "out; give fewer --jobs"
            ) from error
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _undisturbed() -> None:
    """Ctrl-C is for the process that they work for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
