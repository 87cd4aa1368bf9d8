"""``sealsnoop report``: recordings judged and summed up, the result in the first line."""

import argparse
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tracer.cli import options
from tracer.cli.options import (
    RECORDINGS,
    TIMES,
    jobs_option,
    period,
    stack_names,
    stack_options,
    time_options,
)
from tracer.cli.verb import (
    Verb,
    filter_help,
    filter_option,
    filter_query,
    quick_imports,
    word_list,
)
from tracer.errors import Exit, UserError
from tracer.output.console import console, quiet_pipe, tell, write

if TYPE_CHECKING:
    from rich.console import Console

    from tracer.output import report as reports
    from tracer.output.coverage import Coverage
    from tracer.output.diff import Diff
    from tracer.output.report import Request

BY = ("object", "fd", "process", "op", "rule")
SHOWN = ("object", "fd")
"""Tables of the text form without ``--by``."""
FAIL_ON = (*options.FAIL_ON, "difference")
_TOP_TEXT, _TOP_HTML = 10, 500
_PIPE_WIDTH = 100


class Report(Verb):
    """Judge and sum up recordings: breaches first, per file, per fd, per process.

    examples:
      sealsnoop report s.seal
      sealsnoop report s.seal --by fd --filter 'verdict:breach,blocked name:~ram'
      sealsnoop report a.seal b.seal --html both.html
      sealsnoop report s.seal --json | jq .verdicts
      sealsnoop report s.seal --fail-on breach,unexplained,loss     in a test
      sealsnoop report --diff old-kernel.seal new-kernel.seal

    exit code:
      0  read well, and nothing is missing
      1  cannot be read, or wrong use
      2  something of --fail-on is there; with --diff: the kernels differ
      3  not certain: events were lost, the recorder was killed, decisions that could
         not be judged
      4  nothing to judge: no decision was recorded, or none matches

    The first line says the result: breaches, new ones apart from those by known holes
    of the recorded kernel. Then what to do; then one by one what was not simply allowed,
    the worst first, and who held the mapping that made F_ADD_SEALS fail EBUSY. What was
    watched comes last (--coverage: at length).
    A verdict compares the kernel's answer with the rules of the seals:
      breach         a seal should have denied it, and it went through
      unexplained    denied as a seal denies, though no rule says so
      indeterminate  the evidence is incomplete, or the kernel's variant is not known
      blocked        a seal, or what guards sealing, should deny it, and did
      error          failed for another reason (ENOMEM, EBADF ...)
      allowed        should go through, and did

    """

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("recordings", metavar="RECORDING", nargs="+", help=RECORDINGS)
        parser.add_argument("--by", choices=BY, help="only this table (default: object and fd)")
        filter_option(parser)
        time_options(parser)
        parser.add_argument(
            "--top",
            type=int,
            metavar="N",
            help=f"rows of each table (default {_TOP_TEXT}, in HTML {_TOP_HTML}, "
            "in JSON and CSV all)",
        )
        parser.add_argument(
            "--coverage",
            action="store_true",
            help="what was watched and what was not at length, not in one line",
        )
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="all of it as one JSON object")
        form.add_argument("--csv", action="store_true", help="the table of --by (default object)")
        form.add_argument("--html", metavar="FILE", help="one file for a browser; - is stdout")
        form.add_argument(
            "--folded",
            metavar="FILE",
            help="who called, as folded stacks: a line for each way, outermost caller first, and "
            "how many decisions came so; - is stdout",
        )
        form.add_argument(
            "--flame", metavar="FILE", help="the same drawn, for a browser; - is stdout"
        )
        stack_options(parser)
        jobs_option(parser)
        parser.add_argument(
            "--diff", action="store_true", help="what is different in the second of two recordings"
        )
        parser.add_argument(
            "--fail-on",
            metavar="WORD,…",
            default="",
            help="exit code 2 if there is any of: a verdict, loss, difference (with --diff)",
        )

    def values(self) -> Mapping[str, Collection[str]]:
        return {"--fail-on": FAIL_ON}

    def more_help(self) -> str:
        return f"{TIMES}\n{filter_help(judged=True)}"

    def run(self, args: argparse.Namespace) -> int:
        """Prints the report; the exit code is as in the help."""
        with quick_imports():
            from tracer.recording import several

            args.recordings = several.named(args.recordings)
            fail_on = _check(args)
            request = _request(args)
            from tracer.output.console import Reading

            if args.diff:
                from tracer.output import diff as diffs
            else:
                from tracer.output import report as reports

        with Reading() as reading:
            if args.diff:
                diff = diffs.build(args.recordings, request, reading.step, tell)
                there = _there([*diff.verdicts], [diff.a, diff.b])
                summary = diff.summary
                there |= {"difference"} if summary.result == "different" else set()
            else:
                wanted = _tables(args)
                with stack_names(args) as names:
                    report = reports.build(
                        args.recordings, request, reading.step, tell, wanted, names, args.jobs
                    )
                    for sentence in names.notes():
                        tell(sentence)
                for missing in report.unread if args.csv or args.folded or args.flame else ():
                    tell(f"not read: {missing.path}: {missing.problem}")
                summary = report.summary
                there = _there([report.verdicts], report.coverage)
        with quiet_pipe():
            if args.diff:
                _show_diff(diff, args)
            else:
                _show(report, args)
        found = sorted(fail_on & there, key=FAIL_ON.index)
        if found:
            tell(f"--fail-on: there is {', '.join(found)}")
            return Exit.FINDING
        return summary.exit_code


def _check(args: argparse.Namespace) -> frozenset[str]:
    """The words of --fail-on. UserError for options that do not go together."""
    if args.top is not None and args.top < 1:
        raise UserError("--top: at least 1")
    if args.jobs < 1:
        raise UserError("--jobs: at least 1")
    if args.jobs > 1 and args.diff:
        raise UserError("--jobs: not with --diff, which compares two recordings one by one")
    if args.diff and len(args.recordings) != 2:
        raise UserError(f"--diff compares two recordings, {len(args.recordings)} given")
    if args.diff and args.by:
        raise UserError("--by: not with --diff, which always compares by request and by file")
    drawn = next((one for one in ("folded", "flame") if getattr(args, one) is not None), None)
    if drawn and (args.by or args.diff):
        raise UserError(f"--{drawn}: not with {'--by' if args.by else '--diff'}")
    if args.html is not None and args.by:
        raise UserError("--by: not with --html, which has all tables")
    real = [os.path.realpath(path) for path in args.recordings]
    for place, path in enumerate(real):
        if path in real[:place]:
            raise UserError(f"{args.recordings[place]} is given twice")
    words = frozenset(word_list("--fail-on", args.fail_on, FAIL_ON))
    if "difference" in words and not args.diff:
        raise UserError("--fail-on difference: only with --diff")
    return words


def _request(args: argparse.Namespace) -> "Request":
    from tracer.output.report import COLUMNS, Request

    return Request(
        query=filter_query(args, COLUMNS),
        period=period(args),
    )


def _console() -> "Console":
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPE_WIDTH
    return console(width)


def _print(lines: Iterable[str], end: str = "") -> None:
    for line in lines:
        sys.stdout.write(line + end)
    sys.stdout.flush()


def _page(pieces: Iterable[str], path: str, option: str = "--html") -> None:
    if path == "-":
        _print(pieces)
    else:
        write(option, path, pieces)


def _tables(args: argparse.Namespace) -> Sequence[str]:
    """The tables that the requested form has."""
    if args.by:
        return (args.by,)
    if args.csv:
        return ("object",)
    return BY if args.json or args.html is not None else SHOWN


def _there(verdicts: Sequence[Mapping[str, int]], coverage: "Sequence[Coverage]") -> set[str]:
    """The words of --fail-on that hold."""
    there = {word for side in verdicts for word, count in side.items() if count}
    return there | {"loss"} if any(any(one.alarms()) for one in coverage) else there


def _show(report: "reports.Report", args: argparse.Namespace) -> None:
    if args.json:
        from tracer.output.data import json_pieces

        _print(json_pieces(report, args.top))
    elif args.csv:
        from tracer.output.data import csv_table

        _print(csv_table(report.tables[_tables(args)[0]], args.top), "\n")
    elif args.html is not None:
        from tracer.output.html import page

        _page(page(report, args.top or _TOP_HTML), args.html)
    elif args.folded is not None:
        from tracer.output.flames import folded

        _page(folded(report.ways), args.folded, "--folded")
    elif args.flame is not None:
        from tracer.output.flames import page as flames

        _page(flames(report), args.flame, "--flame")
    else:
        from tracer.output.terminal import Terminal

        Terminal(_console(), args.top or _TOP_TEXT, args.coverage).show(report, _tables(args))


def _show_diff(diff: "Diff", args: argparse.Namespace) -> None:
    from tracer.output import diff as diffview

    if args.json:
        _print(diffview.diff_json(diff, args.top))
    elif args.csv:
        _print(diffview.diff_csv(diff, args.top), "\n")
    elif args.html is not None:
        _page(diffview.diff_page(diff, args.top or _TOP_HTML), args.html)
    else:
        diffview.DiffTerminal(_console(), args.top or _TOP_TEXT, args.coverage).show_diff(diff)
