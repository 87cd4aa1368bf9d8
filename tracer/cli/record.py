"""``sealsnoop record``: every seal decision of the running kernel, into a recording."""

import argparse
import signal
import time
from collections.abc import Collection
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING, Any

from tracer.cli import parsing
from tracer.cli.filter_options import add_options, families, filters
from tracer.cli.loading import import_without_threads
from tracer.errors import UserError
from tracer.kernel import privileges
from tracer.kernel.privileges import COMMAND, LATE_BY_ADMIN, LATE_HOOKS, READS_MAPS, SWEEPS, Cap
from tracer.text.outlet import tell

if TYPE_CHECKING:  # costly or in need of bcc: imported when a recording begins
    from tracer.capture.attach import Kernel
    from tracer.capture.command import Command
    from tracer.capture.filters import Filters
    from tracer.capture.hooks import Hooks
    from tracer.selftest.process import Examiner
    from tracer.store.writer import RecordingWriter

_PROBLEMS_SHOWN = 8
_LEAST_SIZE = 1 << 20
_STOPPED_EARLY = 3
EPILOG = """\
examples:
  sealsnoop record -- ./program --option   a program and its children
  sealsnoop record -o w.seal --name wl_    memfds called wl_..., until Ctrl-C
  sealsnoop record --pid 42 --duration 60  one process for a minute
  sealsnoop record --denied --seals write  refusals on write-sealed files

The exit code is the command's own (128 + N when signal N ended it); 1 when the
recording failed, 2 for a wrong option, 3 when it stopped at --max-size, 126 or
127 when the command cannot run.
Under sudo the command runs as the user who called sudo.
"""


def add_parser(subparsers: Any) -> None:
    parser = parsing.add_verb(
        subparsers, "record", "record every seal decision of the running kernel", EPILOG
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="S",
        help="the recording, a folder (default: NAME-DATE-TIME.seal here)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing recording")
    parser.add_argument(
        "--duration",
        type=float,
        metavar="SECONDS",
        help="stop after so long; a command that still runs is ended",
    )
    parser.add_argument(
        "--max-size",
        metavar="SIZE",
        help="stop, with exit code 3, when the recording takes so much on the disk (500M, 2G)",
    )
    parser.add_argument(
        "--method",
        choices=("auto", "fexit", "kprobe"),
        default="auto",
        help="how to attach (default: fexit; kprobe where the kernel preempts inside fexit)",
    )
    parser.add_argument(
        "--source",
        choices=("bpf", "ftrace"),
        default="bpf",
        help="where events come from: BPF programs, or, where BPF is off, kprobe events in tracefs",
    )
    parser.add_argument(
        "--ring",
        type=int,
        metavar="MB",
        default=32,
        help="size of the ring buffer, a power of two (default: 32)",
    )
    parser.add_argument(
        "--no-baseline",
        action="store_true",
        help="do not read who had memory files open or mapped before",
    )
    parser.add_argument(
        "--no-self-test",
        action="store_true",
        help="do not find out on scratch files how this kernel decides and whether hooks report",
    )
    parser.add_argument(
        "--audit",
        action="store_true",
        help="also what an audit needs: guest memory, KVM, pins, access by other processes",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="errors and losses only")
    add_options(parser)
    parser.usage = "sealsnoop record [-o S] [options] [filters] [-- CMD ...]"
    # An audit records what anybody does while its command runs, not the command alone.
    parser.set_defaults(run=run, whole_host=False, most_bytes=None, stopped_early=False)


_NOT_BY_FTRACE = {
    "audit": "--audit needs --source bpf: ftrace has no hooks for guest memory, pins and KVM",
    "fexit": "--method fexit needs --source bpf: ftrace has kprobes alone",
}


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
        # The kernel tells of a viewer's death once for each of its threads (see ui.live.recorder).
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


def _check(args: argparse.Namespace) -> None:
    if args.ring < 1 or args.ring & (args.ring - 1) or args.ring > 1024:
        raise UserError(f"--ring: {args.ring} is not a power of two from 1 to 1024 (MB)", 2)
    if args.duration is not None and not args.duration > 0:
        raise UserError(f"--duration: {args.duration:g} is not a positive number of seconds", 2)
    if args.max_size is not None:
        args.most_bytes = parsing.size("--max-size", args.max_size)
        if args.most_bytes < _LEAST_SIZE:
            raise UserError(f"--max-size: at least {_LEAST_SIZE >> 20}M", 2)
    if args.source == "ftrace":
        for asked, why in ((args.audit, "audit"), (args.method == "fexit", "fexit")):
            if asked:
                raise UserError(_NOT_BY_FTRACE[why], 2)


def run(args: argparse.Namespace) -> int:
    _check(args)
    import_without_threads()
    from tracer.capture.command import Command
    from tracer.selftest.process import Examiner

    wanted = filters(args, follow_command=bool(args.command) and not args.whole_host)
    hooks = families(args.ops, args.audit)
    # Forked now, before any thread, before bcc's memory and with the signals as they were when
    # we came; it waits for its turn.
    command = Command.prepare(args.command) if args.command else None
    examiner = None
    try:
        if not args.no_self_test:
            examiner = Examiner.prepare(False, wanted.name, args.audit)
        stop = Stopper(args.duration)
        from tracer.capture.attach import Kernel
        from tracer.store.replace import refuse_existing

        if args.output:
            refuse_existing(args.output, force=args.force)

        kernel = Kernel.running(args.source)
        if args.audit:
            kernel = kernel.with_kvm()
        program = _attached(args, kernel, hooks, wanted)
        try:
            if stop.interrupted:
                raise UserError("interrupted before the recording began", 130)
            self_test = None
            if examiner is not None:
                self_test = _self_test(examiner, program, wanted)
            writer = _writer(args, kernel, program, wanted.to_json(), self_test)
            return _record(args, kernel, program, writer, stop, command)
        finally:
            program.close()
    finally:
        if examiner is not None:
            examiner.close()
        if command is not None:
            command.terminate()  # if it has not ended


def _attached(
    args: argparse.Namespace, kernel: "Kernel", hooks: "Collection[str] | None", wanted: "Filters"
) -> "Hooks":
    ring_bytes = args.ring << 20
    if args.source == "ftrace":
        from tracer.capture.ftrace.attach import attach as attach_ftrace

        return attach_ftrace(kernel, hooks, wanted, ring_bytes, tell)
    from tracer.capture.attach import attach

    return attach(kernel, args.method, hooks, wanted, ring_bytes, tell, args.audit)


def _self_test(examiner: "Examiner", program: "Hooks", wanted: "Filters") -> dict[str, Any]:
    """What is amiss is told, and stored; the recording goes on."""
    from tracer.selftest.run import run as self_test

    result = self_test(examiner, program, wanted)
    examiner.close()
    problems = list(result.problems())
    for problem in problems[:_PROBLEMS_SHOWN]:
        tell(f"SELF-TEST: {problem}")
    if len(problems) > _PROBLEMS_SHOWN:
        rest = len(problems) - _PROBLEMS_SHOWN
        tell(f"SELF-TEST: and {rest} more; 'sealsnoop doctor --self-test' tells them all")
    return result.to_json()


def _writer(
    args: argparse.Namespace,
    kernel: "Kernel",
    program: "Hooks",
    filters_json: dict[str, Any],
    self_test: dict[str, Any] | None,
) -> "RecordingWriter":
    from tracer.capture import host
    from tracer.kernel.audit_families import AUDIT_BLIND_SPOTS
    from tracer.kernel.families import BLIND_SPOTS
    from tracer.kernel.sources import FTRACE_BLIND_SPOTS
    from tracer.store.writer import RecordingWriter

    manifest = {
        **host.facts(),
        "btf_sha256": kernel.btf.digest,
        "hooks": program.plan.to_json(),
        "source": args.source,
        "method": args.method if args.source == "bpf" else "kprobe",
        "audit": args.audit,
        "blind_spots": [
            *(AUDIT_BLIND_SPOTS if args.audit else BLIND_SPOTS),
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


def _record(
    args: argparse.Namespace,
    kernel: "Kernel",
    program: "Hooks",
    writer: "RecordingWriter",
    stop: Stopper,
    command: "Command | None",
) -> int:
    from tracer.capture.modules import ModuleWatch
    from tracer.capture.program import Program
    from tracer.capture.session import Session
    from tracer.cli.progress import ProgressLine, size_text
    from tracer.store.errors import StoreError

    for step in program.plan.uncovered:
        if step.reason != "not asked for":
            tell(f"unseen: {step.unseen} ({step.reason})")
    watch = None
    if args.audit and isinstance(program, Program):
        watch = ModuleWatch(program, kernel, args.method, tell)
    lasting, sweeping = _privileges(args, kernel, command)
    _keep(lasting | sweeping, lasting)
    session = Session(program, writer, tell, args.audit, watch, stop.interrupts, args.most_bytes)
    line = ProgressLine(args.quiet)
    try:
        session.begin(with_baseline=not args.no_baseline)
        _keep(lasting)
        if command is not None:
            if not args.whole_host:
                program.follow(command.pid)
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
            lost=session.losses,
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
        on_disk = f"{size_text(done.bytes)} on disk"
        tell(f"{done.events:,} events, {done.lost:,} lost, {on_disk}: {writer.path}")
        tell(f"final digest, for verify --digest: {writer.digest}")
    if session.losses:
        tell("LOST: " + ", ".join(f"{n:,} {cause}" for cause, n in session.losses.items()))
    if session.full:
        tell(f"RECORDING STOPPED: {reason}; what happens from now on is not recorded")
        args.stopped_early = True
        _let_end(command, stop)
        return _STOPPED_EARLY
    if command is None:
        return 0
    return command.terminate() if command.poll() is None else command.exit_code or 0


def _privileges(
    args: argparse.Namespace, kernel: "Kernel", command: "Command | None"
) -> tuple[set[Cap], set[Cap]]:
    """What is needed until the end, and for the look at /proc at the start."""
    lasting = set(COMMAND if command is not None else ())
    sweeping = set(SWEEPS)
    if args.source == "bpf":
        lasting |= set(READS_MAPS)
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
