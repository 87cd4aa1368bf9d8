"""``sealsnoop trace``: decisions as lines while they are made, as strace prints system calls."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tracer.cli.options import (
    FAIL_ON,
    TIMES,
    period,
    policy,
    recording_options,
    stack_names,
    stack_options,
    time_options,
    violation_command,
    violation_options,
    window,
    words_of_filter,
    words_to_record,
)
from tracer.cli.verb import Verb, filter_help, filter_option, filter_query, word_list
from tracer.errors import Exit, UserError
from tracer.escape import printable
from tracer.output.console import tell
from tracer.rules.verdicts import Verdict
from tracer.steps import START, StartStep, StatusLine

if TYPE_CHECKING:
    from tracer.analysis.decisions import Window
    from tracer.audit.policy import Policy
    from tracer.filter.query import Query
    from tracer.live.recorder import Recorder


class Trace(Verb):
    """Print decisions as they are made, a line each: strace for seals.

    Without a RECORDING it records meanwhile: the command, its children and what others
    do to their files, or the whole host until Ctrl-C. Printed is what was not simply
    allowed: refusals with the seal behind them and who set it, breaches, what nobody
    can explain, and errors.

    The decisions alone are on stdout; what the command prints is on stderr.

    examples:
      sudo sealsnoop trace -- ./program        what its seals refuse
      sudo sealsnoop trace --all -- ./program  every decision
      sudo sealsnoop trace --name ring         memfds called ring..., until Ctrl-C
      sudo sealsnoop trace --file /proc/42/fd/7   one file, whoever touches it
      sudo sealsnoop trace --name ring --on-violation 'logger -t seals --'
      sealsnoop trace s.seal                   a recording, also a growing one
      sealsnoop trace s.seal --json | jq .why
      sealsnoop trace s.seal --since 03:00 --until 03:05

    columns of a line:
      20:16:33.451 p/147 mmap SHARED rw- 0+4096 memfd:ring -> EPERM  F_SEAL_WRITE, set
      3ms before by q/140
      time of day, command/pid, operation and what was requested, kind:name of the file,
      the kernel's answer, and why. "!raced" and the like mark incomplete evidence.

    exit code: the command's own (128 + N when signal N ended it), 126 or 127 when it
    cannot run; without a command 0, or 3 when events were lost or --max-size was
    reached. 1 when nothing could be recorded or read, or for a wrong option. With
    --audit that of the audit (see 'sealsnoop audit --help'), with --fail-on 2 when
    something of it was there and 4 when there was no decision; the command's is said
    on stderr then.
    """

    usage = (
        "sealsnoop trace [--all] [--json] [-o S] [options] [filters] [-- CMD ...]\n"
        "       sealsnoop trace RECORDING [--all] [--json] [--filter EXPR]\n"
        "                       [--since TIME] [--until TIME]"
    )
    takes_command = True
    recorder: ClassVar[Sequence[str]] = ()
    """The words that start a recorder; empty: sealsnoop's own."""

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "recording", metavar="RECORDING", nargs="?", help="follow this one; record nothing"
        )
        parser.add_argument("--all", action="store_true", help="what was allowed, too")
        parser.add_argument("--json", action="store_true", help="one JSON object per line")
        filter_option(parser)
        time_options(parser, "decisions of a RECORDING")
        violation_options(parser, "at the end")
        parser.add_argument(
            "--fail-on",
            metavar="WORD,…",
            default="",
            help="exit code 2 if there was any of: a verdict, loss; whatever was printed of it",
        )
        parser.add_argument(
            "--no-stacks", action="store_true", help="without who called, below each decision"
        )
        stack_options(parser)
        recording_options(
            parser,
            "keep the recording, a folder (default: it is gone at the end)",
            "denied with a command, else off",
        )

    def values(self) -> Mapping[str, Collection[str]]:
        return {"--fail-on": FAIL_ON}

    def more_help(self) -> str:
        return f"{TIMES}\n{filter_help(judged=True)}"

    def run(self, args: argparse.Namespace) -> int:
        """Prints the decisions; the exit code is as in the help."""
        shown = args.output is not None or not args.no_stacks
        if args.stacks is None and args.command and args.source == "bpf" and shown:
            args.stacks = "denied"
        words = words_to_record(args)
        fail_on = frozenset(word_list("--fail-on", args.fail_on, FAIL_ON))
        on_violation = violation_command(args.on_violation)
        with StatusLine(quiet=args.recording is not None) as line:
            line.show(START)
            return self._run(args, words, on_violation, fail_on, line)

    def _run(
        self,
        args: argparse.Namespace,
        words: list[str],
        on_violation: list[str] | None,
        fail_on: frozenset[str],
        line: StatusLine,
    ) -> int:
        from tracer.live.trace import COLUMNS

        query, policy_ = filter_query(args, COLUMNS), policy(args)
        traced = _Traced(args, query, on_violation, policy_, fail_on)
        if args.recording is not None:
            return traced.follow(args.recording)
        if period(args):
            raise UserError("--since and --until: only of a RECORDING; --duration ends a trace")
        if policy_ is not None:
            from tracer.audit.policy import RECORD_OPTIONS

            words += [word for word in RECORD_OPTIONS if word not in words]
        elif args.output is None and on_violation is None and not fail_on:
            # Nobody else reads it, and nothing counts but what is printed.
            words += words_of_filter(args, query)
        return traced.record(words, line, self.recorder)


class _Traced:
    """One run of the verb."""

    def __init__(
        self,
        args: argparse.Namespace,
        query: "Query",
        on_violation: list[str] | None,
        policy: "Policy | None",
        fail_on: frozenset[str],
    ) -> None:
        self._args, self._query, self._policy = args, query, policy
        self._on_violation, self._fail_on = on_violation, fail_on
        self._interrupts = 0
        self._there: dict[str, int] = {}
        """How many decisions of each verdict there were, and how many losses."""
        self._window: Window | None = None

    def follow(self, path: str) -> int:
        """A recording, until it ends or Ctrl-C."""
        self._window = window(self._args, path)
        with self._interruptible():
            self._print(path, lambda: not self._interrupts)
        return self._judged(path, Exit.INTERRUPTED if self._interrupts else Exit.FINE)

    def record(self, words: list[str], line: StatusLine, program: Sequence[str]) -> int:
        """Records and prints until the recorder has ended."""
        from tracer.live import recorder as signals
        from tracer.live.recorder import RECORD, Place, Recorder, RecorderFailed

        signals.arm()
        args = self._args
        place = Place(recording=args.output is None)
        path = place.recording if args.output is None else Path(args.output)
        in_order = False
        try:
            with self._interruptible():
                quiet = ["--quiet", *words] if "--quiet" not in words else words
                recorder = Recorder(
                    quiet, path, args.command, place.folder, program or RECORD, visible=True
                )
                try:
                    _prepare()  # which takes a second, while the recorder starts

                    def waiting(step: StartStep, seconds: float) -> None:
                        self._goes_on(recorder)
                        line.show(step, seconds)

                    recorder.wait_ready(waiting)
                    line.close()
                    self._print(os.fspath(path), lambda: self._goes_on(recorder))
                    recorder.let_end()
                    in_order = True
                except RecorderFailed as error:
                    if recorder.code is None or recorder.code < 0:
                        raise
                    return error.exit_code  # it has said why
                finally:
                    line.close()
                    with signals.ignored():  # a command is waited for only if nobody ended us
                        code = recorder.stop(tell, patient=in_order)
            code = self._judged(os.fspath(path), code)
            if args.output is not None:
                tell(f"the recording is {path}")
            return code
        finally:
            with signals.ignored():
                place.remove()

    def _goes_on(self, recorder: "Recorder") -> bool:
        """Passes each Ctrl-C on. The recording is read to its end, which the recorder writes."""
        while self._interrupts:
            self._interrupts -= 1
            recorder.interrupt()
        return True

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        def interrupted(number: int, frame: object) -> None:
            self._interrupts += 1

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _print(self, path: str, going_on: Any) -> None:
        from tracer.live.alerts import OnViolation
        from tracer.live.trace import Trace as Follower

        hook = None if self._on_violation is None else OnViolation(self._on_violation, path)
        if hook is not None:
            hook.failed = tell
            hook.start()
        names = None if self._args.no_stacks else stack_names(self._args)
        try:
            follower: Follower = Follower(
                path,
                sys.stdout.write,
                tell if self._args.json else _note,
                query=self._query,
                all_=self._args.all,
                as_json=self._args.json,
                on_alert=hook,
                window=self._window,
                names=names,
            )
            with contextlib.closing(follower):
                follower.run(sys.stdout.flush, going_on)
                self._there = follower.there()
        finally:
            if names is not None:
                names.close()
            if hook is not None:
                hook.close()

    def _judged(self, path: str, code: int) -> int:
        """The audit's exit code or that of ``--fail-on``, if there is one; else ``code``."""
        found = self._audited(path) if self._policy is not None else None
        if self._fail_on:
            there = [word for word in FAIL_ON if word in self._fail_on and self._there.get(word)]
            if there:
                tell(f"--fail-on: there is {', '.join(there)}")
            judged = sum(self._there.get(verdict.word, 0) for verdict in Verdict)
            doubts = [] if there else self._doubts(path)
            if doubts:
                tell(f"--fail-on: not certain: {'; '.join(doubts)}")
            fine = Exit.UNCERTAIN if doubts else Exit.FINE if judged else Exit.NOTHING
            ours = Exit.FINDING if there else fine
            if found in (None, Exit.FINE, Exit.NOTHING) or ours is Exit.FINDING:
                found = ours
        if found is None:
            return code
        if self._args.command:
            tell(f"the command's exit code was {code}")
        return found

    def _doubts(self, path: str) -> list[str]:
        """Why something of ``--fail-on`` may have been missed."""
        from tracer.labels import counted
        from tracer.output.coverage import coverage
        from tracer.recording.errors import StoreError
        from tracer.recording.reader import Recording

        try:
            with Recording.open(path) as recording:
                doubts = [*coverage(recording, "", "", None).doubts()]
        except StoreError as error:
            return [str(error)]
        if undecided := self._there.get(Verdict.INDETERMINATE.word):
            doubts.append(f"{counted(undecided, 'decision')} could not be judged")
        return doubts

    def _audited(self, path: str) -> int:
        """The audit's exit code. Its result is said, then that of each claim."""
        assert self._policy is not None
        from tracer import __version__
        from tracer.audit import summary
        from tracer.audit.evaluate import audit
        from tracer.audit.result import title
        from tracer.recording.reader import Recording

        with Recording.open(path) as recording:
            found = audit(self._policy, [recording], f"sealsnoop {__version__}")
        tell(f"audit: {summary.text(found)}")
        for one in found.recordings:
            for claim in one.claims:
                tell(f"audit: {claim.result.value}: {title(claim)}")
        return found.result.exit_code


def _note(text: str) -> None:
    """What is no decision, between the lines."""
    sys.stdout.write(f"-- {printable(text)}\n")


def _prepare() -> None:
    """Imports all that printing takes."""
    import tracer.live.book
    import tracer.live.compose
    import tracer.live.trace
    import tracer.stacks.shown  # noqa: F401
