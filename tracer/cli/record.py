"""``sealsnoop record``: writes every seal decision of the running kernel to a recording.

Options are checked before anything is traced; filters are applied in the kernel.
"""

import argparse
import os
import pwd
import re
import shutil
import signal
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tracer.capture.bpf_source import Filters, Stacks
from tracer.cli.options import STACKS, filters_of_kernel, recording_options
from tracer.cli.verb import Verb, byte_count, filter_option, import_without_threads, word_list
from tracer.errors import Exit, UserError, nearest
from tracer.filter.pushdown import NAME_BYTES
from tracer.kernel import privileges
from tracer.kernel.audit_families import ALL_FAMILIES
from tracer.kernel.families import FAMILIES
from tracer.kernel.privileges import COMMAND, LATE_BY_ADMIN, LATE_HOOKS, READS_MAPS, SWEEPS, Cap
from tracer.labels import size
from tracer.output.console import status, tell
from tracer.steps import StartStep, Steps
from tracer.words import BY_NAME, Op

if TYPE_CHECKING:
    from tracer.capture.actors import ActorFilter
    from tracer.capture.attach import Hooks, Kernel
    from tracer.capture.command import Command
    from tracer.capture.looker import Looker
    from tracer.capture.named_files import NamedFile
    from tracer.capture.program import Program
    from tracer.capture.session import Progress
    from tracer.capture.stacks.kernel import KernelSymbols
    from tracer.capture.stacks.reader import StackReader
    from tracer.capture.stacks.zygote import Zygote
    from tracer.recording.writer import RecordingWriter
    from tracer.selftest.run import Examiner

_CGROUPS = "/sys/fs/cgroup"
_NO_UID = 0xFFFFFFFF
"""No user has (uid_t)-1."""
_PROBLEMS_SHOWN = 8
_LEAST_SIZE = 1 << 20


class Record(Verb):
    """Record every seal decision of the running kernel.

    With a command: what it and its children do, and what others do to a memory file
    from the first time on that one of these had to do with it. With --file: what
    anybody does to that file, and nothing else.

    examples:
      sealsnoop record -- ./program --option   a program and its children
      sealsnoop record --file /proc/42/fd/7    one file, whoever touches it
      sealsnoop record -o w.seal --name wl_    memfds called wl_..., until Ctrl-C
      sealsnoop record --pid 42 --duration 60  one process for a minute
      sealsnoop record --denied --seals write  refusals on write-sealed files
      sealsnoop record --filter 'op:mmap uid:1000'

    exit code: the command's own (128 + N when signal N ended it), 126 or 127 when it
    cannot run; without a command 0, or 3 when events were lost. In any case 1 when the
    recording failed or for a wrong option, and 3 when it stopped at --max-size.

    Under sudo the command runs as the user who called sudo.
    """

    usage = "sealsnoop record [-o S] [options] [filters] [-- CMD ...]"
    takes_command = True

    def __init__(self, whole_host: bool = False) -> None:
        self.whole_host = whole_host
        """Whether to record the whole host while a command runs, not the command alone."""
        self.stopped_early = False
        """Whether it stopped at ``--max-size``."""

    def options(self, parser: argparse.ArgumentParser) -> None:
        recording_options(parser)
        filter_option(
            parser,
            "only what matches: by the kernel op:mmap,write, uid:1000, pid:42, name:ring*, "
            "seals:+WRITE, ret:error; by the recorder, which the whole host then costs, unit:, "
            "container:, pod:, vm:, exe:, and who is not known; creation and sealing of files, the "
            "children of a pid too",
        )
        parser.add_argument(
            "--audit",
            action="store_true",
            help="also what an audit needs: guest memory, KVM, pins, access by other processes",
        )
        parser.add_argument(
            "--steps",
            metavar="FILE",
            help="write each step of the start to this file, as a line of JSON: what, done, of",
        )

    def run(self, args: argparse.Namespace) -> int:
        """Records; the exit code is as in the help."""
        most_bytes = _check(args)
        filters_of_kernel(args)
        with Steps(args.steps, args.quiet) as steps:
            steps(StartStep("looking at this kernel"))
            return self._run(args, most_bytes, steps)

    def _run(self, args: argparse.Namespace, most_bytes: int | None, steps: Steps) -> int:
        import_without_threads()
        from tracer.capture.command import Command
        from tracer.selftest.run import Examiner

        follows = bool(args.command) and not self.whole_host and not args.file
        wanted = filters(args, follow_command=follows)
        hooks = families(args.ops, args.audit)
        # Forked now, before any thread, before bcc's memory and with the signals as they were when
        # we came; it waits for its turn.
        command = Command.prepare(args.command) if args.command else None
        examiner = zygote = looker = None
        try:
            if _stacks(args):
                zygote = _zygote()
            symbols = _kernel_symbols(args)
            looker = _looker(args)
            if not args.no_self_test:
                examiner = Examiner.prepare(False, wanted.name, args.audit)
            stop = Stopper(args.duration)
            from tracer.capture.attach import Kernel
            from tracer.capture.named_files import held
            from tracer.recording.replace import refuse_existing

            if args.output:
                refuse_existing(args.output, force=args.force)

            kernel = Kernel.running(args.source)
            if args.audit:
                kernel = kernel.with_kvm()
            with held(args.file) as files:
                wanted = replace(
                    wanted,
                    files=tuple(one.key for one in files),
                    unsealable=wanted.unsealable or not all(one.sealable for one in files),
                )
                program = _attached(args, kernel, hooks, wanted, files, steps)
            try:
                if stop.interrupted:
                    raise UserError("interrupted before the recording started", Exit.INTERRUPTED)
                self_test = None
                if examiner is not None:
                    examiner.on_step = steps
                    self_test = _self_test(examiner, program, wanted)
                writer = _writer(args, kernel, program, wanted.to_json(), self_test)
                return self._record(
                    args, kernel, program, wanted, writer, stop, command, most_bytes, steps,
                    zygote, symbols, looker,
                )  # fmt: skip
            finally:
                program.close()
        finally:
            if examiner is not None:
                examiner.close()
            if zygote is not None:
                zygote.close()
            if looker is not None:
                looker.close()
            if command is not None:
                command.terminate()  # if it has not ended

    def _record(
        self,
        args: argparse.Namespace,
        kernel: "Kernel",
        program: "Hooks",
        wanted: Filters,
        writer: "RecordingWriter",
        stop: "Stopper",
        command: "Command | None",
        most_bytes: int | None,
        steps: Steps,
        zygote: "Zygote | None",
        kernel_symbols: "KernelSymbols | None",
        looker: "Looker | None",
    ) -> int:
        from tracer.capture.attach import ModuleWatch
        from tracer.capture.program import Program
        from tracer.capture.session import Session
        from tracer.recording.errors import StoreError

        for step in program.plan.uncovered:
            if step.reason != "not asked for":
                tell(f"unseen: {step.unseen} ({step.reason})")
        watch = None
        if args.audit and isinstance(program, Program):
            watch = ModuleWatch(program, kernel, args.method, tell)
        stacks = None
        if zygote is not None and isinstance(program, Program) and program.stacks:
            if kernel_symbols is not None and not kernel.layout["HAVE_TASK_PT_REGS"]:
                tell("no stacks of the kernel: this one has no pointer to the task for BPF (5.15)")
            stacks = _stack_reader(program, zygote, kernel_symbols)
        lasting, sweeping = _privileges(args, kernel, command)
        _keep(lasting | sweeping, lasting)
        session = Session(
            program,
            writer,
            tell,
            args.audit,
            watch,
            stop.interrupts,
            most_bytes,
            stacks,
            cmdlines=not wanted.no_cmdline,
            looker=looker,
            wanted=_actors(wanted),
        )
        line = ProgressLine(args.quiet)
        try:
            if not args.no_baseline:
                steps(StartStep("reading who has memory files open"))
            session.begin(with_baseline=not args.no_baseline)
            steps.close()
            _keep(lasting)
            if command is not None:
                if wanted.follow_command:
                    program.follow(command.pid)
                if stacks is not None:
                    stacks.spaces.follow(command.pid)
                command.release()
            stop.command = command
            stop.begin()
            reason = session.run(stop, line.show)
            final_seq = session.finish(with_baseline=not args.no_baseline)
            if session.full:
                reason = f"--max-size {args.max_size} was reached"
            writer.close(
                reason,
                final_seq,
                lost=session.losses | session.incomplete,
                in_flight=session.in_flight,
                baseline=session.sweeps,
                **({"stopped_early": True} if session.full else {}),
            )
        except UserError as error:
            stored = not isinstance(error, StoreError)
            why = "command could not be started" if stored else "storage failed"
            writer.close(why, error=str(error))
            line.clear()
            program.detach()
            if not stored:
                tell("RECORDING STOPPED; what was written stays readable")
                _let_end(command, stop)
            raise
        line.clear()
        done = session.progress
        if not args.quiet:
            on_disk = f"{size(done.bytes)} on disk"
            tell(f"{done.events:,} events, {done.lost:,} lost, {on_disk}: {writer.path}")
            tell(f"final digest, for verify --digest: {writer.digest}")
        if session.losses:
            tell("LOST: " + ", ".join(f"{n:,} {cause}" for cause, n in session.losses.items()))
        if session.incomplete:
            found = ", ".join(f"{n:,} {cause}" for cause, n in session.incomplete.items())
            tell(f"incomplete, though no event is lost by it: {found}")
        if session.full:
            tell(f"RECORDING STOPPED: {reason}; what happens from now on is not recorded")
            self.stopped_early = True
            _let_end(command, stop)
            return Exit.UNCERTAIN
        if command is None:
            return Exit.UNCERTAIN if session.losses else Exit.FINE
        return command.terminate() if command.poll() is None else command.exit_code or 0


def _check(args: argparse.Namespace) -> int | None:
    """The bytes of ``--max-size``. UserError: a wrong value, or options that exclude each other."""
    if args.ring < 1 or args.ring & (args.ring - 1) or args.ring > 1024:
        raise UserError(f"--ring: {args.ring} is not a power of two from 1 to 1024 (MB)")
    if args.duration is not None and not args.duration > 0:
        raise UserError(f"--duration: {args.duration:g} is not a positive number of seconds")
    if args.source == "ftrace" and args.audit:
        raise UserError(
            "--audit needs --source bpf: ftrace has no hooks for guest memory, pins and KVM"
        )
    if args.source == "ftrace" and args.method == "fexit":
        raise UserError("--method fexit needs --source bpf: ftrace has only kprobes")
    if _stacks(args) and args.source == "ftrace":
        raise UserError("--stacks needs --source bpf: ftrace cannot copy a stack")
    if args.max_size is None:
        return None
    most_bytes = byte_count("--max-size", args.max_size)
    if most_bytes < _LEAST_SIZE:
        raise UserError(f"--max-size: at least {_LEAST_SIZE >> 20}M")
    return most_bytes


def _stacks(args: argparse.Namespace) -> Stacks:
    """Of which decisions user stacks are taken. UserError: that is said in no way."""
    found = word_list("--stacks", args.stacks or "off", STACKS)
    of = [Stacks[word.upper()] for word in dict.fromkeys(found) if word != "kernel"]
    if len(of) > 1 or (len(found) > 1 and Stacks.OFF in of):
        raise UserError(f"--stacks: {args.stacks}: one of {', '.join(STACKS[:4])}, and kernel")
    if "kernel" in found:
        return (of[0] if of else Stacks.DENIED) | Stacks.KERNEL
    return of[0]


def _kernel_symbols(args: argparse.Namespace) -> "KernelSymbols | None":
    """Opened while we have the privilege. UserError: nobody shows them."""
    if not _stacks(args) & Stacks.KERNEL:
        return None
    from tracer.capture.stacks.kernel import KernelSymbols

    return KernelSymbols()


def _zygote() -> "Zygote":
    """Forked now, as the command is; it has drgn, and we never do."""
    from tracer.capture.stacks import unwind
    from tracer.capture.stacks.reader import prepared
    from tracer.capture.stacks.zygote import Zygote

    return Zygote.start(prepared, unwind.serve)


def _looker(args: argparse.Namespace) -> "Looker | None":
    """Forked now, before hooks could tell of it."""
    from tracer.capture.looker import Looker

    try:
        return Looker.start(whole=args.source == "ftrace", cmdlines=not args.no_cmdline)
    except OSError as error:
        tell(f"nobody looks at who acts: {error.strerror}; build ids of programs stay unknown")
        return None


def _actors(wanted: Filters) -> "ActorFilter | None":
    """What of ``--filter`` is not for the kernel."""
    if not wanted.actors:
        return None
    from tracer.capture.actors import ActorFilter
    from tracer.filter.query import parse

    tell(f"{wanted.actors}: compared by the recorder, the kernel hands over what everybody does")
    return ActorFilter(parse(wanted.actors), cmdlines=not wanted.no_cmdline)


def _stack_reader(
    program: "Program", zygote: "Zygote", kernel: "KernelSymbols | None"
) -> "StackReader":
    from tracer.capture.stacks.reader import StackReader

    told = any(step.live for step in program.plan.steps if step.family == "code")
    if not told:
        tell("where code lies is read from /proc, when a stack is looked at")
    if kernel is not None:
        kernel.look()
    return StackReader.of(program.stack_rings(), zygote, told, kernel)


def _uid(user: str) -> int:
    if user.isdecimal():
        if int(user) >= _NO_UID:
            raise UserError(f"--uid: {user} is more than a user number can be")
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):  # ValueError: a NUL in it
        near = nearest(user, [one.pw_name for one in pwd.getpwall()])
        hint = f"did you mean {near}?" if near else "give its number"
        raise UserError(f"--uid: this host has no user {user!r}; {hint}") from None


def _pid(pid: int) -> int:
    """Raises UserError for what is no process: a thread's own number would match nothing."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        raise UserError(f"--pid: there is no process {pid}") from None
    found = re.search(r"^Tgid:\t(\d+)$", status, re.MULTILINE)
    if found and int(found[1]) != pid:
        raise UserError(f"--pid: {pid} is a thread; did you mean its process {found[1]}?")
    return pid


def _cgroup(path: str) -> int:
    """A cgroup's id is the inode number of its folder (kernel/cgroup/cgroup.c)."""
    folder = Path(path) if path.startswith("/sys/") else Path(_CGROUPS, path.lstrip("/"))
    try:
        (folder / "cgroup.controllers").stat()  # cgroup v1 has none
        return folder.stat().st_ino
    except (OSError, ValueError):  # ValueError: a NUL in it
        why = f"{folder} is not a cgroup v2 folder; see /proc/PID/cgroup"
        raise UserError(f"--cgroup: {why}") from None


def _seals(words: str) -> int:
    known = {name.lower(): seal for name, seal in BY_NAME.items()}
    found = 0
    for name in word_list("--seals", words.lower().replace("f_seal_", ""), known, "seal"):
        found |= known[name]
    return found


def families(words: str, audit: bool = False) -> frozenset[str] | None:
    """The hook families for ``--ops``; None for all. Raises UserError naming the bad word.

    ``audit``: of the families that only an audit needs, too.
    """
    if not words:
        return None
    there = ALL_FAMILIES if audit else FAMILIES
    known = [op.name.lower() for op in Op if any(op in family.ops for family in there)]
    wanted = {Op[word.upper()] for word in word_list("--ops", words, known, "operation")}
    # Without evictions an inode that is used again would keep its forerunner's name.
    wanted.add(Op.EVICT)
    return frozenset(family.name for family in there if wanted.intersection(family.ops))


def filters(args: argparse.Namespace, follow_command: bool) -> Filters:
    """The filters that the options ask for. Raises UserError for a bad value."""
    name = os.fsencode(args.name)
    if len(name) > NAME_BYTES:
        raise UserError(f"--name: {len(name)} bytes, but a name has at most {NAME_BYTES}")
    return Filters(
        pids=tuple(_pid(pid) for pid in args.pid),
        uids=tuple(_uid(user) for user in args.uid),
        cgroups=tuple(_cgroup(path) for path in args.cgroup),
        name=name,
        seals=_seals(args.seals),
        denied=args.denied,
        unsealable=args.unsealable,
        follow_command=follow_command,
        no_cmdline=args.no_cmdline,
        actors=getattr(args, "actors", ""),
    )


class ProgressLine:
    """Shows how a recording goes."""

    def __init__(self, quiet: bool) -> None:
        self._on = sys.stderr.isatty() and not quiet
        self._last = (time.monotonic(), 0)
        self._rate = 0.0

    def show(self, progress: "Progress") -> None:
        if not self._on:
            return
        now_s = time.monotonic()
        before_s, before = self._last
        if now_s - before_s >= 0.5:
            self._rate = (progress.events - before) / (now_s - before_s)
            self._last = (now_s, progress.events)
        lost = f"lost {progress.lost:,}"
        text = (
            f"recording {progress.seconds:.0f} s  {progress.events:,} events  "
            f"{self._rate:,.0f}/s  {lost}  {size(progress.bytes)}  (Ctrl-C ends it)"
        )
        status(text[: shutil.get_terminal_size().columns - 1], red=lost if progress.lost else "")

    def clear(self) -> None:
        if self._on:
            status()


class Stopper:
    """Why to stop: a signal, the time, or the command's end. Signals count from the start."""

    def __init__(self, duration_s: float | None) -> None:
        self._duration_s = duration_s
        self._signals: list[int] = []
        self._until_s: float | None = None
        self.command: Command | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup: a recording goes on when its terminal is gone.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # The kernel tells of a viewer's death once for each of its threads (tracer.live.recorder).
        if number != signal.SIGHUP or number not in self._signals:
            self._signals.append(number)

    def interrupts(self) -> int:
        """How many signals came."""
        return len(self._signals)

    @property
    def interrupted(self) -> bool:
        return bool(self._signals)

    def begin(self) -> None:
        if self._duration_s is not None:
            self._until_s = time.monotonic() + self._duration_s

    def __call__(self) -> str | None:
        code = self.command.poll() if self.command else None
        if code is not None:
            return f"command exited with {code}"
        if self._until_s is not None and time.monotonic() >= self._until_s:
            return "duration"
        # Ctrl-C reaches the command as well: what it does then still belongs to the recording.
        patient = self.command is not None and signal.SIGTERM not in self._signals
        if len(self._signals) > (1 if patient else 0):
            return f"interrupted by {signal.Signals(self._signals[-1]).name}"
        return None


def _attached(
    args: argparse.Namespace,
    kernel: "Kernel",
    hooks: "Collection[str] | None",
    wanted: "Filters",
    files: "list[NamedFile]",
    steps: Steps,
) -> "Hooks":
    ring_bytes = args.ring << 20
    if args.source == "ftrace":
        from tracer.capture.ftrace.program import attach as attach_ftrace

        program: Hooks = attach_ftrace(kernel, hooks, wanted, ring_bytes, tell, steps)
    else:
        from tracer.capture.attach import attach

        program = attach(
            kernel, args.method, hooks, wanted, ring_bytes, tell, args.audit, steps, _stacks(args)
        )
    try:
        program.follow_files(files)
    except BaseException:
        program.close()
        raise
    return program


def _self_test(examiner: "Examiner", program: "Hooks", wanted: "Filters") -> dict[str, Any]:
    """Reports and stores what is wrong; the recording goes on."""
    from tracer.selftest.run import run as self_test

    result = self_test(examiner, program, wanted)
    examiner.close()
    problems = list(result.problems())
    for problem in problems[:_PROBLEMS_SHOWN]:
        tell(f"SELF-TEST: {problem}")
    if len(problems) > _PROBLEMS_SHOWN:
        rest = len(problems) - _PROBLEMS_SHOWN
        tell(f"SELF-TEST: and {rest} more; 'sealsnoop doctor --self-test' lists them all")
    return result.to_json()


def _writer(
    args: argparse.Namespace,
    kernel: "Kernel",
    program: "Hooks",
    filters_json: dict[str, Any],
    self_test: dict[str, Any] | None,
) -> "RecordingWriter":
    from tracer.capture import host
    from tracer.kernel.blind_spots import (
        AUDIT_BLIND_SPOTS,
        BLIND_SPOTS,
        FTRACE_BLIND_SPOTS,
        of_kernel,
    )
    from tracer.recording.writer import RecordingWriter

    manifest = {
        **host.facts(),
        "btf_sha256": kernel.btf.digest,
        "hooks": program.plan.to_json(),
        "source": args.source,
        "method": args.method if args.source == "bpf" else "kprobe",
        "audit": args.audit,
        "stacks": program.stacks.words,
        "blind_spots": [
            *(AUDIT_BLIND_SPOTS if args.audit else BLIND_SPOTS),
            *(of_kernel([kernel.btf, *kernel.modules.values()]) if args.audit else ()),
            *(FTRACE_BLIND_SPOTS if args.source == "ftrace" else ()),
        ],
        "filters": filters_json,
        "ring_bytes": args.ring << 20,
        "command": args.command,
        "self_test": self_test,
    }
    return RecordingWriter(args.output or _default_name(args.command), manifest, force=args.force)


def _default_name(command: list[str]) -> str:
    stem = command[0].rsplit("/", 1)[-1] if command else "host"
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in stem)
    return f"{safe.lstrip('.') or 'command'}-{datetime.now():%Y%m%d-%H%M%S}.seal"


def _privileges(
    args: argparse.Namespace, kernel: "Kernel", command: "Command | None"
) -> tuple[set[Cap], set[Cap]]:
    """What is needed until the end, and for the look at /proc at the start."""
    lasting = set(COMMAND if command is not None else ())
    sweeping = set(SWEEPS)
    if args.source == "bpf":
        lasting |= set(READS_MAPS)
        if _stacks(args):
            lasting |= set(SWEEPS)  # whose stack it is may be seen at any time
        if args.audit:
            sweeping |= set(LATE_HOOKS)
            sweeping |= set(LATE_BY_ADMIN if privileges.late_takes_admin(kernel.kprobes) else ())
            lasting |= sweeping
    return lasting, sweeping


def _keep(wanted: set[Cap], bound: set[Cap] | None = None) -> None:
    try:
        privileges.keep(wanted, bound)
    except OSError as error:
        tell(f"privileges stay as they are: {error.strerror}")
    else:
        for thread in privileges.more_than(wanted):
            tell(f"the thread {thread} keeps its privileges")


def _let_end(command: "Command | None", stop: Stopper) -> None:
    """The user's program is not to blame for a full disk: it goes on, without us."""
    if command is None or command.poll() is not None:
        return
    tell("the command goes on without being recorded")
    while stop() is None:
        time.sleep(0.05)
