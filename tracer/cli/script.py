"""``sealsnoop script``: a recording's events as text, JSON lines or CSV on stdout."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tracer.cli.options import TIMES, period, stack_names, stack_options, time_options
from tracer.cli.verb import Verb, filter_help, filter_option, filter_query, word_list
from tracer.errors import Exit, UserError
from tracer.escape import printable
from tracer.labels import counted
from tracer.output.console import tell

if TYPE_CHECKING:
    import pyarrow as pa

    from tracer.analysis.stream import Stream
    from tracer.recording.reader import Recording
    from tracer.stacks.shown import Callers
    from tracer.walltime import WallClock

Form = Callable[["pa.Table"], Iterator[str]]


class Script(Verb):
    """Print a recording's events, judged, as text, JSON lines or CSV.

    Prints one line for each event, in the order of time. Mappings that start or end
    and files that go away, which nobody requested, are left out without --all.

    examples:
      sealsnoop script trace.seal
      sealsnoop script trace.seal | grep ring-buffer
      sealsnoop script trace.seal --since 03:00 --until 03:05
      sealsnoop script trace.seal --filter 'verdict:blocked,breach seals:+WRITE'
      sealsnoop script trace.seal --filter '!ret:ok name:~ram' --follow
      sealsnoop script trace.seal --json | jq 'select(.errno == "EPERM")'
      sealsnoop script trace.seal --csv > trace.csv

    columns of the text form:
      time of day, command/pid, verdict (- where no rule judges), operation, kind:name
      of the memory file, seals at that moment (S seal, s shrink, g grow, w write,
      f future write, X exec or inaccessible), what was requested, fd, the kernel's
      answer, and why. On a terminal columns are cut to its width; elsewhere nothing is.
      "!raced" and the like mark events whose evidence is incomplete; marks without
      "!" are facts: other-mm (a fork's mapping), kernel, compat (32-bit).

    JSON has each column as it is stored and, beside it, what it means: time (UTC),
    request, errno, the verdict, and sets of flags as lists (prot, map_flags,
    add_seals, seal_list ..., as the operation has them).

    seal 0x20 and flag 0x8 of memfd_create have the names that the recorded kernel
    gives them, as its self-test found: EXEC and NOEXEC_SEAL, or INACCESSIBLE and
    INACCESSIBLE. Where that is not known, they stay numbers.

    names and commands are escaped: \\n, \\t, \\xNN for bytes, \\uNNNN for characters
    that cannot be seen. In CSV a text that starts with = + - @ or ' has one ' in
    front, so that no spreadsheet runs it as a formula.
    """

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("recording", metavar="RECORDING", help="a NAME.seal folder")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="one JSON object per line")
        form.add_argument("--csv", action="store_true", help="comma-separated, with a header line")
        parser.add_argument(
            "--follow", action="store_true", help="go on until the recording ends (Ctrl-C stops)"
        )
        parser.add_argument(
            "--ops", metavar="OP,…", help="only these operations, for example mmap,write"
        )
        parser.add_argument(
            "--all", action="store_true", help="mappings that start or end, and evictions, too"
        )
        filter_option(parser)
        time_options(parser, "events")
        parser.add_argument(
            "--stacks",
            action="store_true",
            help="who called, as far as it was recorded: lines below an event, in JSON 'stack'",
        )
        stack_options(parser)
        parser.add_argument("--limit", type=int, metavar="N", help="stop after N events")
        parser.add_argument(
            "--width",
            type=int,
            metavar="N",
            help="cells of a text line, at least 80 (default: a terminal's width, else no limit)",
        )

    def more_help(self) -> str:
        return f"{TIMES}\n{filter_help(judged=True)}"

    def run(self, args: argparse.Namespace) -> int:
        """Prints the events; all is well when the reader of the pipe left."""
        from tracer.analysis.decisions import Window
        from tracer.analysis.stream import COLUMNS, MAPPINGS, Stream
        from tracer.output.text import narration
        from tracer.recording.reader import Recording
        from tracer.stacks.shown import Callers

        query = filter_query(args, COLUMNS)
        if args.ops is not None:
            query = query.plus("op", _ops(args.ops))
        if not args.all and not any(term.key == "op" and not term.negated for term in query.terms):
            query = query.plus("op", MAPPINGS, negated=True)
        columns, limits = _columns(args), period(args)
        code = Exit.FINE
        with ExitStack() as stack:
            recording = stack.enter_context(Recording.open(args.recording))
            told = narration(recording)
            for sentence in told:
                tell(sentence)
            clock = recording.clock()
            window = Window(*limits.limits(recording.path, clock, recording.last_ns, tell))
            stream = Stream(
                recording, query=query, window=window, columns=columns, follow=args.follow
            )
            callers = None
            if args.stacks:
                names = stack.enter_context(stack_names(args))
                callers = Callers(stream.stacks, names)
            try:
                form, header = _form(args, recording, stream, clock)
                if callers is not None:
                    form = _with_callers(form, callers, args.json)
                if header:
                    print(header)
                _print(stream.tables(), form, args)
            except KeyboardInterrupt:
                code = Exit.INTERRUPTED
            more = () if callers is None else callers.notes()
            for sentence in (*narration(recording, told), *more):
                tell(sentence)
            if stream.late:
                tell(f"{counted(stream.late, 'event')} came too late to stand in the order of time")
        return code


def _ops(text: str) -> list[str]:
    from tracer.words import Op, words

    if not text.strip(" ,"):
        raise UserError("--ops: none given")
    return word_list("--ops", text, sorted(words(Op).values()), "operation")


def _columns(args: argparse.Namespace) -> list[str] | None:
    """The columns that have to be read: text needs few, data all (None)."""
    from tracer.output.text import COLUMNS

    if args.limit is not None and args.limit < 0:
        raise UserError("--limit: a count of events, not below 0")
    if args.stacks and args.csv:
        raise UserError("--stacks: not with --csv, which has one line an event; --json has both")
    if args.json or args.csv:
        return None
    return [*COLUMNS, "user_stack"] if args.stacks else COLUMNS


def _width(requested: int | None) -> int | None:
    from tracer.output.text import MIN_WIDTH

    if requested is not None:
        if requested < MIN_WIDTH:
            raise UserError(f"--width: at least {MIN_WIDTH}")
        return requested
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return None


def _form(
    args: argparse.Namespace, recording: "Recording", stream: "Stream", clock: "WallClock"
) -> tuple[Form, str | None]:
    """How a table becomes lines, and the header line if there is one."""
    from tracer.analysis.stream import JUDGED
    from tracer.filter.mask import PLACES, TASKS
    from tracer.output.data import Rows, csv_header
    from tracer.output.text import Lines
    from tracer.recording.format import EVENTS
    from tracer.walltime import date_and_time

    bit5 = recording.manifest.bit5
    rows = Rows(stream.names, stream.clock, bit5)
    if args.json:
        return rows.json, None
    if args.csv:
        return rows.csv, csv_header([*EVENTS.names, *JUDGED, *PLACES, *TASKS])
    days = {date_and_time(one.wall_ns)[:10] for one in clock.anchors}
    dated = len(days) > 1
    lines = Lines(stream.names, stream.clock, bit5, _width(args.width), dated=dated)
    return lines.of, lines.header() if sys.stdout.isatty() else None


def _with_callers(form: Form, callers: "Callers", as_json: bool) -> Form:
    """With what is known of the callers of each event."""

    def made(table: "pa.Table") -> Iterator[str]:
        from tracer.recording.tables import values

        samples = [one or 0 for one in values(table, "user_stack", 0)]
        callers.ask(samples)
        for line, sample in zip(form(table), samples, strict=True):
            if as_json:
                more = json.dumps(callers.data(sample))[1:-1]
                yield f"{line[:-1]}, {more}}}" if more else line
                continue
            yield line
            yield from (f"    {printable(one)}" for one in callers.lines(sample))

    return made


def _print(tables: Iterable["pa.Table"], form: Form, args: argparse.Namespace) -> None:
    from tracer.output.text import limited

    write = sys.stdout.write
    for table in limited(tables, args.limit):
        for line in form(table):
            write(line + "\n")
        if args.follow:
            sys.stdout.flush()
    sys.stdout.flush()
