"""Processes without privileges, for what reads files of those that are traced.

The first one is forked early, while we have no threads and little memory. It gives away all that
it may, and forks a worker whenever one is asked for. A worker that dies, by a file that is cut
while it is mapped or by whatever is in it, is one stack lost: the next comes from there.
"""

import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, Self

from tracer.stacks import sandbox

_PR_SET_PDEATHSIG = 1
_MEMORY = 4 << 30
"""Of addresses: files are mapped whole."""
_DESCRIPTORS = 1 << 14
"""drgn may keep each file of each address space open."""
_PATIENCE_S = 20.0
_LEAVING_S = 2.0
_libc = ctypes.CDLL(None, use_errno=True)

Serve = Callable[[Any, socket.socket], None]


class Zygote:
    """Where workers come from."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self._control = control
        self._control.settimeout(_PATIENCE_S)

    @classmethod
    def start(cls, prepare: Callable[[], Any], serve: Serve) -> Self:
        """Forks it. ``prepare`` is called there while it still may read files (imports);
        ``serve`` in each worker, with what that gave and its socket. Call it before threads are
        started.
        """
        return cls(*helper(lambda control: _live(control, prepare, serve)))

    def worker(self) -> tuple[socket.socket, int]:
        """A connection to a new worker, and its pid. OSError: there is none to be had."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                socket.send_fds(self._control, [b"w"], [theirs.fileno()])
                answer = self._control.recv(16)
            except OSError:
                ours.close()
                raise
        if not answer.isdigit():
            ours.close()
            raise ConnectionError("no process without privileges could be made")
        return ours, int(answer)

    def kill(self, pid: int) -> None:
        """Ends a worker, which is not ours to kill: it is another user's."""
        with suppress(OSError):
            self._control.send(b"k%d" % pid)

    def close(self) -> None:
        """Ends it; workers end as their connections do."""
        self._control.close()
        leave(self.pid, _LEAVING_S)


def _live(control: socket.socket, prepare: Callable[[], Any], serve: Serve) -> None:
    """Its whole life."""
    state = prepare()
    sandbox.drop()
    end_with_parent()  # who changes its user loses that
    gc.freeze()
    workers: set[int] = set()
    while True:
        data, fds, _, _ = socket.recv_fds(control, 16, 1)
        with suppress(ChildProcessError):
            while (gone := os.waitpid(-1, os.WNOHANG)[0]) > 0:
                workers.discard(gone)
        if not data:
            break
        if not fds:
            if (pid := int(data[1:])) in workers:
                workers.discard(pid)
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            continue
        child = os.fork()
        if child == 0:
            control.close()
            sock = socket.socket(fileno=fds[0])
            _to_the_end("worker", partial(_work, sock, state, serve))
        os.close(fds[0])
        workers.add(child)
        control.send(b"%d" % child)


def helper(live: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
    """Forks a process that lives for us alone: its pid, and our end of a socket to it.

    ``live`` is its whole life, with its end. Call it before threads are started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()

    def settled() -> None:
        ours.close()
        _settle(theirs.fileno(), parent)
        live(theirs)

    pid = os.fork()
    if pid == 0:
        _to_the_end("helper", settled)
    theirs.close()
    return pid, ours


def leave(pid: int, patience_s: float) -> None:
    """Reaps a helper whose socket is closed: it ends when it finds out, and may stand still."""
    until_s = time.monotonic() + patience_s
    with suppress(ChildProcessError):
        while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < until_s:
            time.sleep(0.01)


def _to_the_end(who: str, live: Callable[[], None]) -> NoReturn:
    """A process's whole life; it mostly ends because its parent does, which is no error."""
    try:
        live()
    except BaseException as error:
        if os.environ.get("SEALSNOOP_DEBUG"):
            print(f"{who}:", repr(error), file=sys.stderr)
    finally:
        os._exit(0)


def end_with_parent() -> None:
    """Whoever changes its user, or what it may, has to say so again."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _settle(keep: int, parent: int) -> None:
    """Signals of the terminal are not for us; we end with whoever made us."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    if os.getppid() != parent:
        os._exit(0)
    nowhere = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1):
        os.dup2(nowhere, fd)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd != keep:
            with suppress(OSError):
                os.close(fd)


def _work(sock: socket.socket, state: Any, serve: Serve) -> None:
    """A worker's whole life."""
    there = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    end_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sandbox.confine(_MEMORY, {resource.RLIMIT_NOFILE: min(there, _DESCRIPTORS)})
    serve(state, sock)
