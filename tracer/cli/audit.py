"""``sealsnoop audit``: claims about memory files, proved or not by what was recorded."""

import argparse
import os
import signal
import sys
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from tracer.cli.options import RECORDINGS, TIMES, jobs_option, period, time_options
from tracer.cli.verb import Verb, filter_help, filter_option, filter_query, import_without_threads
from tracer.errors import Exit, UserError
from tracer.output.console import console, prepare, quiet_pipe, tell, write
from tracer.shipped import policies

if TYPE_CHECKING:
    from tracer.audit import result as results

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Audit(Verb):
    """Check claims about memory files (who may map, read, write).

    examples:
      sealsnoop audit ordinary-qemu vm.seal       a policy that comes with us
      sudo sealsnoop audit confidential-guest --live --duration 60
      sudo sealsnoop audit sealed-buffer -o a.seal -- ./program
      sealsnoop audit p.toml a.seal --json | jq '.recordings[].claims[].result'
      sealsnoop audit p.toml a.seal --statement a.json --sign key.pem
      sealsnoop verify a.json --key pub.pem --recording a.seal

    exit code:
      0  pass            every claim holds, and nothing that could break it was unseen
      2  fail            a violation was found
      3  indeterminate   no violation found, but one could have been missed
      4  not applicable  nothing in scope
      1  the audit itself failed: wrong policy or option, recording not readable
      126 or 127 when the command cannot run

    A key pair: openssl genpkey -algorithm ed25519 -out key.pem
                openssl pkey -in key.pem -pubout -out pub.pem
    docs/audit.md has the policy's keys, the claims and the form of --json.
    """

    usage = "sealsnoop audit POLICY [RECORDING ... | --live | -- CMD ...] [options]"
    takes_command = True

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "policy",
            metavar="POLICY",
            nargs="?",
            help="a policy: a TOML file, or the name of one that comes with us",
        )
        parser.add_argument("recordings", metavar="RECORDING", nargs="*", help=RECORDINGS)
        parser.add_argument(
            "--live", action="store_true", help="record this host first, until Ctrl-C"
        )
        parser.add_argument(
            "--duration", type=float, metavar="SECONDS", help="record for this time"
        )
        parser.add_argument(
            "--max-size", metavar="SIZE", help="stop recording when it takes this much on disk"
        )
        parser.add_argument("-o", "--output", metavar="S", help="where --live or CMD is recorded")
        parser.add_argument(
            "--top",
            type=int,
            metavar="N",
            help="objects and rows of evidence shown (default 20 and 5)",
        )
        parser.add_argument(
            "--coverage",
            action="store_true",
            help="hooks, clocks and blind spots at length, not in one line",
        )
        jobs_option(parser)
        filter_option(parser, "only files that match, for example 'name:ring* kind:memfd'")
        time_options(parser, "violations")
        parser.add_argument("--json", action="store_true", help="the result as one JSON object")
        parser.add_argument("--html", metavar="FILE", help="also as one file for a browser")
        parser.add_argument("--sarif", metavar="FILE", help="also as SARIF 2.1.0")
        parser.add_argument("--statement", metavar="FILE", help="also as an in-toto statement")
        parser.add_argument("--sign", metavar="KEY", help="sign the statement: Ed25519, PEM")
        parser.add_argument(
            "--schema", choices=("policy", "result"), help="print a JSON Schema and do nothing else"
        )

    def more_help(self) -> str:
        return f"{TIMES}\n{filter_help(judged=False)}"

    def run(self, args: argparse.Namespace) -> int:
        """Prints the audit; the exit code is as in the help."""
        if args.schema:
            return _schema(args.schema)
        _check(args)
        if not args.recordings:
            import_without_threads()
        from tracer.audit import policy as policies

        policy = policies.load(args.policy)
        if args.sign:  # before anything is recorded
            from tracer.audit.statement import private_key

            private_key(args.sign)
        for option in () if args.recordings else ("html", "sarif", "statement"):
            # The recorder gives up privileges that writing there may need.
            if path := getattr(args, option):
                prepare(f"--{option}", path)
        from tracer.recording import several

        paths = several.named(args.recordings) or [_record(args)]
        from contextlib import ExitStack

        from tracer import __version__
        from tracer.audit.evaluate import audit as hold
        from tracer.recording.format import OBJECTS

        with ExitStack() as stack:
            recordings, unread = several.opened(paths, stack)
            if unread and args.statement:
                _usage(f"a statement needs all recordings, and {unread[0].path} cannot be read: "
                       f"{unread[0].problem}")  # fmt: skip
            executor = None
            if args.jobs > 1:
                from tracer.analysis.parts import processes
                from tracer.audit import evaluate

                executor = stack.enter_context(processes(args.jobs, [evaluate.__name__]))
            audit = hold(
                policy,
                recordings,
                f"sealsnoop {__version__}",
                period=period(args),
                query=filter_query(args, OBJECTS.names),
                executor=executor,
                unread=unread,
            )
            written = _write_reports(audit, args)
            if args.statement:
                from tracer.audit.statement import text

                statement = text(audit, policy, recordings, written, args.sign)
                write("--statement", args.statement, [statement])
        with quiet_pipe():
            _show(audit, args)
        return audit.result.exit_code


def _usage(message: str) -> NoReturn:
    raise UserError(f"{message}; see 'sealsnoop audit --help'")


def _schema(which: str) -> int:
    import json

    if which == "policy":
        from tracer.audit.policy import schema
    else:
        from tracer.output.audit import schema
    print(json.dumps(schema(), indent=2))
    return Exit.FINE


def _check(args: argparse.Namespace) -> None:
    if not args.policy:
        _usage("name a POLICY: a TOML file, or one that comes with us: " + ", ".join(policies()))
    recorded = bool(args.live or args.command)
    if args.live and args.command:
        _usage("--live or a command, not both")
    if recorded and args.recordings:
        _usage("a recording that is there, or one that is to be made, not both")
    if not recorded and not args.recordings:
        _usage("name what to audit: a RECORDING, --live, or -- CMD")
    if not recorded and (args.output or args.duration is not None or args.max_size is not None):
        _usage("-o, --duration and --max-size are for --live and -- CMD")
    if recorded and (args.since or args.until):
        _usage("--since and --until are for a RECORDING; --duration ends --live and -- CMD")
    if args.statement and (args.since or args.until or args.filter):
        _usage("a statement is about whole recordings: no --since, --until or --filter")
    if args.sign and not args.statement:
        _usage("--sign signs the file of --statement FILE")
    if args.jobs < 1:
        _usage("--jobs: at least 1")
    if args.top is not None and args.top < 1:
        _usage("--top: at least 1")


def _record(args: argparse.Namespace) -> str:
    """Records what any policy needs, of the whole host; the path of the recording."""
    from tracer.audit.policy import RECORD_OPTIONS
    from tracer.cli.record import Record

    path = args.output or f"audit-{datetime.now():%Y%m%d-%H%M%S}.seal"
    # Everybody else on the host counts too, not only the command's own processes.
    verb = Record(whole_host=True)
    parser = verb.parser()
    words = ["-o", path, *RECORD_OPTIONS]
    if args.duration is not None:
        words += ["--duration", str(args.duration)]
    if args.max_size is not None:
        words += ["--max-size", args.max_size]
    wanted = parser.parse_args(words)
    wanted.command = args.command
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        code = verb.run(wanted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code and args.command and not verb.stopped_early:
        tell(f"the command exited with {code}")
    return str(path)


def _typed(path: str) -> str:
    """How a policy is given again: one that comes with us by its name."""
    known = {str(found): name for name, found in policies().items()}
    return known.get(path, path)


def _write_reports(audit: "results.Audit", args: argparse.Namespace) -> dict[str, bytes]:
    """What was written, by the file's name."""
    made = {}
    if args.html:
        from tracer.output.audit import page

        made["--html", args.html] = "".join(page(audit, _typed(args.policy)))
    if args.sarif:
        from tracer.output.sarif import text

        made["--sarif", args.sarif] = text(audit)
    for (option, path), content in made.items():
        write(option, path, [content])
    return {os.path.basename(path): content.encode() for (_, path), content in made.items()}


def _show(audit: "results.Audit", args: argparse.Namespace) -> None:
    if args.json:
        from tracer.output.audit import text

        print(text(audit))
        return
    from tracer.output.audit import Terminal

    Terminal(
        console(None if sys.stdout.isatty() else 100), args.top, _typed(args.policy), args.coverage
    ).show(audit)
