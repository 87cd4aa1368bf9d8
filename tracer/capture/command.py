"""Runs the command that ``record -- CMD`` traces, under sudo as who called us and not as root.

The child is forked early and waits, so that its pid is in the BPF filter before the command's
first instruction; then it becomes the command by exec, without a shell and in our process group,
so that the terminal's Ctrl-C reaches both.
"""

import errno
import os
import pwd
import shutil
import signal
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

from tracer.errors import UserError


@dataclass(frozen=True, slots=True)
class User:
    """Whom a command runs as; ``groups`` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str | None
    home: str | None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """``base`` with what sudo made root's put right: HOME, USER and LOGNAME."""
        changed = {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}
        return {**base, **{key: value for key, value in changed.items() if value is not None}}

    def become(self) -> None:
        """Changes this process for good. PermissionError where we are not root."""
        os.setgroups(list(self.groups))
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)


def by_id(uid: int, gid: int) -> User:
    """The user with these ids; one without an entry in the user database has no other groups."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, gid, (gid,), None, None)
    groups = os.getgrouplist(entry.pw_name, gid)
    return User(uid, gid, tuple(groups), entry.pw_name, entry.pw_dir)


def invoking_user(environ: Mapping[str, str] | None = None) -> User | None:
    """The user behind sudo, None where we run as ourselves (or sudo's marks make no sense)."""
    environ = os.environ if environ is None else environ
    uid, gid = environ.get("SUDO_UID", ""), environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not uid.isdecimal() or not gid.isdecimal():
        return None
    return by_id(int(uid), int(gid))


NOT_EXECUTABLE = 126
NOT_FOUND = 127
_ABANDONED = 125
_STAGE_USER, _STAGE_EXEC = 1, 2
_PATIENCE = 3  # that many Ctrl-C before we no longer wait for the command
_POLL_S = 0.01


class CommandError(UserError):
    """The command could not be started; exit code 127 (not found) or 126, as shells have it."""


def _failure(program: str, number: int, stage: int = _STAGE_EXEC) -> CommandError:
    why = os.strerror(number)
    if stage == _STAGE_USER:
        return CommandError(f"{program}: cannot become the invoking user: {why}", NOT_EXECUTABLE)
    if number == errno.ENOENT:
        hint = " (its interpreter is missing)" if "/" in program and Path(program).exists() else ""
        return CommandError(f"{program}: command not found{hint}", NOT_FOUND)
    return CommandError(f"{program}: cannot be executed: {why}", NOT_EXECUTABLE)


def _check(program: str, environ: Mapping[str, str]) -> None:
    """Finds the usual mistakes before anything is set up; exec itself has the last word."""
    if "/" not in program:
        if shutil.which(program, path=environ.get("PATH", os.defpath)) is None:
            raise _failure(program, errno.ENOENT)
        return
    path = Path(program)
    if not path.exists():
        raise _failure(program, errno.ENOENT)
    if path.is_dir() or not os.access(path, os.X_OK):
        raise _failure(program, errno.EACCES)


def _become(argv: Sequence[str], user: User | None, go: int, report: int) -> NoReturn:
    """The child's whole life. Only system calls: another thread may have held any lock."""
    stage = _STAGE_USER
    try:
        # exec itself resets our handlers; what was ignored before us must stay ignored, except
        # the two that Python ignores of its own accord.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if os.read(go, 1) != b"g":
            os._exit(_ABANDONED)  # the recorder gave up or died
        environ = dict(os.environ)
        if user is not None:
            environ = user.environment(environ)
            user.become()
        stage = _STAGE_EXEC
        os.execvpe(argv[0], list(argv), environ)
    except Exception as error:
        why = error.errno if isinstance(error, OSError) else None
        os.write(report, struct.pack("=ii", stage, why or errno.EINVAL))
    finally:
        os._exit(_ABANDONED)


class Command:
    """A command that waits, runs, and is reaped. ``pid`` stays the same from fork to exit."""

    def __init__(self, argv: Sequence[str], pid: int, go: int, report: int) -> None:
        self.argv = tuple(argv)
        self.pid = pid
        self.exit_code: int | None = None
        """128 + the signal's number for a command that a signal ended, as shells have it."""
        self._go: int | None = go
        self._report = report

    @classmethod
    def prepare(cls, argv: Sequence[str], user: User | None = None) -> Self:
        """Forks a child that waits for :meth:`release`. Call it before threads are started.

        ``user``: whom to run as, None: the user behind sudo, else as we are. CommandError: no
        such program, or not executable.
        """
        if not argv or not argv[0]:
            raise CommandError("no command given after --", NOT_FOUND)
        user = invoking_user() if user is None else user
        _check(argv[0], os.environ)
        go_reader, go = os.pipe2(os.O_CLOEXEC)
        report, report_writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(go)  # or the child itself would keep the pipe open
            _become(argv, user, go_reader, report_writer)
        os.close(go_reader)
        os.close(report_writer)
        return cls(argv, pid, go, report)

    def release(self) -> None:
        """Lets the command begin; returns when exec has succeeded. CommandError: it has not."""
        if self._go is None:
            raise RuntimeError("released already")
        with suppress(BrokenPipeError):
            os.write(self._go, b"g")
        self._close_go()
        # CLOEXEC: exec closes the child's end, which is the news that all went well.
        report = os.read(self._report, 8)
        os.close(self._report)
        if report:
            stage, number = struct.unpack("=ii", report)
            self.wait()
            raise _failure(self.argv[0], number, stage)

    def _close_go(self) -> None:
        if self._go is not None:
            os.close(self._go)
            self._go = None

    def poll(self) -> int | None:
        """The exit code, None while the command runs (or waits). Never blocks."""
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.exit_code = code if code >= 0 else 128 - code
        return self.exit_code

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Waits until the command has ended or the time is over; the result is :meth:`poll`'s."""
        until = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while self.poll() is None and time.monotonic() < until:
            time.sleep(_POLL_S)
        return self.exit_code

    def terminate(self, grace_s: float = 2.0) -> int:
        """Ends the command: SIGTERM, after ``grace_s`` SIGKILL; its exit code."""
        waited = self._go is not None
        self._close_go()
        if waited:
            os.close(self._report)
        elif self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        if self.wait(grace_s) is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        return self.exit_code or 0

    @contextmanager
    def interrupts_are_its_own(self) -> Iterator[None]:
        """Ctrl-C goes on to the command alone; we stay until it is reaped.

        The third Ctrl-C raises KeyboardInterrupt here too: the command does not listen. Only in
        the main thread.
        """
        count = 0

        def heard(number: int, frame: FrameType | None) -> None:
            nonlocal count
            count += 1
            if count >= _PATIENCE and number == signal.SIGINT:
                raise KeyboardInterrupt

        before = {
            number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGQUIT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
