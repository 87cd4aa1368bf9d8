"""``sealsnoop script``: a recording's events as text, JSON lines or CSV on stdout."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from tracer.cli.verb import Verb, filter_help, filter_option, filter_query, word_list
from tracer.errors import Exit, UserError
from tracer.output.console import tell

if TYPE_CHECKING:
    import pyarrow as pa

    from tracer.filter.query import Query
    from tracer.output.text import Feed

Form = Callable[["pa.Table"], Iterator[str]]


class Script(Verb):
    """Print a recording's events as text, JSON lines or CSV.

    Prints the events on stdout, one per line.

    examples:
      sealsnoop script trace.seal
      sealsnoop script trace.seal --ops mmap,add_seals --width 160
      sealsnoop script trace.seal --filter 'op:mmap ret:EPERM seals:+WRITE'
      sealsnoop script trace.seal --filter '!ret:ok name:~ram' --follow
      sealsnoop script trace.seal --json | jq 'select(.errno == "EPERM")'
      sealsnoop script trace.seal --csv > trace.csv

    columns of the text form:
      seconds since the start, command/pid, operation, kind:name of the memory file,
      seals at that moment (S seal, s shrink, g grow, w write, f future write,
      X exec or inaccessible), what was requested, fd, and the kernel's answer.
      "!raced" and the like mark events whose evidence is incomplete; marks without
      "!" are facts: other-mm (a fork's mapping), kernel, compat (32-bit).

    seal 0x20 and flag 0x8 of memfd_create have the names that the recorded kernel
    gives them, as its self-test found: EXEC and NOEXEC_SEAL, or INACCESSIBLE and
    INACCESSIBLE. Where that is not known, they stay numbers, as in JSON and CSV.

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
        filter_option(parser)
        parser.add_argument("--limit", type=int, metavar="N", help="stop after N events")
        parser.add_argument(
            "--width",
            type=int,
            metavar="N",
            help="cells of a text line, at least 60 (default 100, less on a narrow terminal)",
        )

    def more_help(self) -> str:
        return filter_help(judged=False)

    def run(self, args: argparse.Namespace) -> int:
        """Prints the events; all is well when the reader of the pipe left."""
        from tracer.filter import mask as events
        from tracer.output.text import Feed, narration
        from tracer.recording.reader import Recording

        query = filter_query(args, events.COLUMNS)
        if args.ops is not None:
            query = query.plus("op", _ops(args.ops))
        columns = _columns(args, query)
        code = Exit.FINE
        with Recording.open(args.recording) as recording:
            told = narration(recording)
            for sentence in told:
                tell(sentence)
            try:
                feed = Feed(recording, follow=args.follow, columns=columns)
                form, header = _form(args, feed)
                if header:
                    print(header)
                tables = events.matching(feed.tables(), query, feed.names)
                _print(tables, form, args)
            except KeyboardInterrupt:
                code = Exit.INTERRUPTED
            for sentence in narration(recording, told):
                tell(sentence)
        return code


def _ops(text: str) -> list[str]:
    from tracer.words import Op, words

    if not text.strip(" ,"):
        raise UserError("--ops: none given")
    return word_list("--ops", text, sorted(words(Op).values()), "operation")


def _columns(args: argparse.Namespace, query: "Query") -> list[str] | None:
    """The columns that have to be read: text needs few and the filter's, data all (None)."""
    from tracer.filter.mask import columns
    from tracer.output.text import COLUMNS

    if args.limit is not None and args.limit < 0:
        raise UserError("--limit: a count of events, not below 0")
    if args.json or args.csv:
        return None
    return list(dict.fromkeys([*COLUMNS, *columns(query)]))


def _width(requested: int | None) -> int:
    from tracer.output.text import DEFAULT_WIDTH, MIN_WIDTH

    if requested is not None:
        if requested < MIN_WIDTH:
            raise UserError(f"--width: at least {MIN_WIDTH}")
        return requested
    try:
        return min(DEFAULT_WIDTH, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        return DEFAULT_WIDTH


def _form(args: argparse.Namespace, feed: "Feed") -> tuple[Form, str | None]:
    """How a table becomes lines, and the header line if there is one."""
    from tracer.output import data
    from tracer.output.text import Lines
    from tracer.recording.format import TABLES

    if args.json:
        return (lambda table: data.json_lines(table, feed.names)), None
    if args.csv:
        header = data.csv_header(TABLES["events"].names)
        return (lambda table: data.csv_lines(table, feed.names)), header
    lines = Lines(feed.names, feed.start_ns, feed.bit5, _width(args.width))
    return lines.of, lines.header() if sys.stdout.isatty() else None


def _print(tables: Iterable["pa.Table"], form: Form, args: argparse.Namespace) -> None:
    from tracer.output.text import limited

    write = sys.stdout.write
    for table in limited(tables, args.limit):
        for line in form(table):
            write(line + "\n")
        if args.follow:
            sys.stdout.flush()
    sys.stdout.flush()
