"""What a verb of the command line is, and what verbs share: values, ``--filter``, imports."""

import argparse
import functools
import gc
import inspect
import operator
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from tracer.errors import UserError, hint, nearest

if TYPE_CHECKING:
    from tracer.filter.query import Query

_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)
_UNKNOWN = re.compile(r"unrecognized arguments: --([^\s=]+)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(?:i?B)?", re.ASCII)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_NEGATIVE = re.compile(r"-\.?\d")


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as a UserError, with the nearest word that is known."""

    def error(self, message: str) -> NoReturn:
        """UserError, instead of argparse's own exit code 2, which is that of a finding."""
        near = None
        if choice := _CHOICE.search(message):
            near = nearest(choice[1], re.findall(r"[\w-]+", choice[2]))
        elif unknown := _UNKNOWN.match(message):
            known = [one.lstrip("-") for action in self._actions for one in action.option_strings]
            near = nearest(unknown[1], known)
            near = near and f"--{near}"
        advice = f"did you mean {near}?" if near else ""
        if message == "argument --filter: expected one argument":
            advice = "not is written !WORD, in single quotes"
        advice = advice or f"see '{self.prog} --help'"
        raise UserError(f"{message}; {advice}")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but ``--since -10s`` gives ``--since`` a value, as ``=`` would."""
        words: list[str] = []
        for word in args or ():
            if words and words[-1].startswith("--") and _NEGATIVE.match(word):
                words[-1] += f"={word}"
            else:
                words.append(word)
        return super().parse_known_args(words, namespace)


class Verb:
    """One verb. The docstring of a subclass is its help.

    Its first paragraph says in one sentence what the verb does, the next ones describe that; from
    the line ``examples:`` on, the text stands below the options.
    """

    usage: ClassVar[str | None] = None
    """None: argparse lists the options."""
    takes_command: ClassVar[bool] = False
    """Whether ``-- CMD ...`` may follow; the words are ``args.command`` then."""

    def options(self, parser: argparse.ArgumentParser) -> None:
        """Adds what may follow the verb."""

    def values(self) -> Mapping[str, Collection[str]]:
        """Option → values to offer for it, for completion; not those that argparse knows."""
        return {}

    def more_help(self) -> str:
        """Help that is made from other parts of the code; it stands at the very end."""
        return ""

    def run(self, args: argparse.Namespace) -> int:
        """Does it.

        :param args: its options, and ``command``: the words after ``--``, empty without.
        :return: the exit code, as its help has it.
        :raises UserError: what the user can put right.
        """
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The verb itself."""
        return type(self).__name__.lower()

    @property
    def summary(self) -> str:
        """What it does, for a list of verbs."""
        first = inspect.cleandoc(self.__doc__ or self.name).partition("\n\n")[0]
        first = " ".join(first.split()).removesuffix(".")
        return f"{first[0].lower()}{first[1:]}"

    def settings(self) -> dict[str, Any]:
        """The arguments for its :class:`Parser`."""
        help_text = inspect.cleandoc(self.__doc__ or self.name)
        description, mark, rest = help_text.partition("\n\nexamples:\n")
        epilog = "\n\n".join(part for part in (f"{mark}{rest}".strip(), self.more_help()) if part)
        return {
            "usage": self.usage,
            "description": description,
            "epilog": epilog,
            "formatter_class": argparse.RawDescriptionHelpFormatter,
        }

    def parser(self, parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
        """Its parser.

        :param parser: gets its options; None: one of its own is made.
        """
        if parser is None:
            parser = Parser(prog=f"sealsnoop {self.name}", **self.settings())
        self.options(parser)
        return parser


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of ``parser``, in the order of its help; argparse has no public list."""
    return parser._actions


def byte_count(option: str, text: str) -> int:
    """The bytes of ``500M`` or ``1.5G``.

    :param option: is named in the message.
    :param text: K, M, G and T are powers of 1024.
    :raises UserError: no size.
    """
    found = _SIZE.fullmatch(text.strip())
    count = int(float(found[1]) * (1 << _UNITS[found[2].upper()])) if found else 0
    if not found or not 0 < count < 1 << 62:
        raise UserError(f"{option}: {text!r} is not a size; write 500M or 2G")
    return count


def word_list(option: str, text: str, known: Collection[str], kind: str = "") -> list[str]:
    """The words between the commas of ``text``, in lower case.

    :param option: is named in the message.
    :param kind: what the words are, for the message: ``operation``.
    :raises UserError: there is none, or one that is not ``known``.
    """
    words = [word for word in (part.strip().lower() for part in text.split(",")) if word]
    if text and not words:
        raise UserError(f"{option}: {text!r} names nothing")
    for word in words:
        if word not in known:
            meant = hint(nearest(word, known), known, len(known))
            missing = f"{kind} {word!r}" if kind else repr(word)
            raise UserError(f"{option}: there is no {missing}; {meant}")
    return words


_FILTERS = """\
filters (--filter 'WORD WORD …', in single quotes because of > * and !):
  All words must hold. KEY:A,B is "A or B". !KEY:A takes exactly the other rows.
  A word without a key: name or command contains it. Put what has blanks, commas
  or * in it in double quotes: name:"a b"; a quote in quotes is doubled.
  texts:    name, comm: exact, * and ? stand for anything, ~x contains x
  numbers:  size:4096 size:>1M pid:100..200 duration:>2ms (K M G T, ns us ms s)
  seals:    +SET has all, -SET has none, =SET just these; none, any, unknown
            (a SET is WRITE|GROW, or the letters that script shows: wg)
  ret:      ok, error, unknown (not seen), EPERM, 0, >0
  keys:"""


def filter_help(judged: bool) -> str:
    """The filter language for the end of a verb's ``--help``.

    :param judged: whether the verb has verdicts; else their keys are left out.
    """
    import textwrap

    from tracer.filter.query import KEYS, Form

    lines, margin = [_FILTERS], " " * 29
    for key in KEYS:
        if judged or not key.judged:
            aliases = f" (also {', '.join(key.aliases)})" if key.aliases else ""
            lines.append(f"    {key.example:24} {key.help}{aliases}")
            if key.form in (Form.WORD, Form.FLAGS) and len(key.words) <= 20:
                known = ", ".join(key.words)
                lines += textwrap.wrap(known, 79, initial_indent=margin, subsequent_indent=margin)
    return "\n".join(lines) + "\n"


def filter_option(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    what: str = "only what matches, for example 'op:mmap ret:EPERM seals:+WRITE' (see below)",
) -> None:
    """Adds ``--filter``; may be given more than once, then all must hold. ``what``: its help."""
    parser.add_argument("--filter", metavar="EXPR", action="append", default=[], help=what)


def filter_query(args: argparse.Namespace, available: Collection[str] | None = None) -> "Query":
    """The query of ``--filter``.

    :param available: the columns that there will be; None: nobody reads any.
    :raises QueryError: not understood, or it needs another column.
    """
    from tracer.filter.query import parse

    query = functools.reduce(operator.and_, map(parse, args.filter), parse(""))
    if available is not None:
        query.require(available)
    return query


@contextmanager
def quick_imports() -> Iterator[None]:
    """Imports without garbage collection: they leave no garbage, and it takes a tenth of the time.

    What was made stays out of the collector's sight.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""So that neither numpy nor pyarrow starts a thread when it is imported."""


def import_without_threads() -> None:
    """Imports numpy and pyarrow so that this process still has one thread.

    Privileges belong to a thread: a thread that exists before they are given away keeps them.
    """
    before = {name: os.environ.get(name) for name in _NO_THREADS}
    os.environ.update(_NO_THREADS)
    try:
        import numpy  # noqa: F401
        import pyarrow  # noqa: F401
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
