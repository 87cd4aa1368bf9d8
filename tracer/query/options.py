"""``--filter`` of the command line: the option, its help text, and the query it stands for."""

import argparse
from collections.abc import Collection

from tracer.query.keys import KEYS, Form
from tracer.query.query import Query, parse

_HELP = """\
filters (--filter 'WORD WORD …', in single quotes because of > * and !):
  All words must hold. KEY:A,B is "A or B". !KEY:A takes exactly the other rows.
  A word without a key: name or command contains it. Put what has blanks, commas
  or * in it in double quotes: name:"a b"; a quote in quotes is doubled.
"""
_FORMS = (
    ("texts", "name, comm: exact, * and ? stand for anything, ~x contains x"),
    ("numbers", "size:4096 size:>1M pid:100..200 duration:>2ms (K M G T, ns us ms s)"),
    ("seals", "+SET has all, -SET has none, =SET just these; none, any, unknown"),
    ("", "(a SET is WRITE|GROW, or the letters that script shows: wg)"),
    ("ret", "ok, error, unknown (not seen), EPERM, 0, >0"),
)


def filter_help(judged: bool) -> str:
    """The filter language for the end of a verb's ``--help``.

    ``judged``: whether the verb has verdicts; else their keys are left out.
    """
    lines = [_HELP.rstrip("\n")]
    lines += [f"  {name + ':' if name else '':9} {text}" for name, text in _FORMS]
    lines.append("  keys:")
    for key in KEYS:
        if key.judged and not judged:
            continue
        aliases = f" (also {', '.join(key.aliases)})" if key.aliases else ""
        lines.append(f"    {key.example:24} {key.help}{aliases}")
        if key.form in (Form.WORD, Form.FLAGS) and len(key.words) <= 20:
            lines += _wrapped(", ".join(key.words))
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 79, initial_indent=" " * 29, subsequent_indent=" " * 29)


def add_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds ``--filter``; may be given more than once, then all must hold."""
    parser.add_argument(
        "--filter",
        metavar="EXPR",
        action="append",
        default=[],
        help="only what matches, for example 'op:mmap ret:EPERM seals:+WRITE' (see below)",
    )


def asked(args: argparse.Namespace, available: Collection[str]) -> Query:
    """The query of ``--filter``. QueryError: not understood, or a column is not available."""
    query = Query()
    for text in args.filter:
        query = query & parse(text)
    query.require(available)
    return query
