"""The parsed filter (its columns, rows and text), and ``--filter`` of the command line."""

import argparse
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracer.errors import hint, nearest
from tracer.filter import keys
from tracer.filter.grammar import RESERVED, Part, QueryError, Term, Word, words
from tracer.filter.keys import KEYS, Form
from tracer.words import UNKNOWN, Bit5

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_COMPARED = re.compile(r"(!?)([A-Za-z_]+)(>=|<=|!=|==|>|<|=|~)(.*)", re.S)
"""``size>1M``, as other programs have it."""


@dataclass(frozen=True)
class Query:
    """Words that are all required; without any it matches every row and is false."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        """Canonical text: ``parse(str(query)) == query``."""
        return " ".join(map(str, self.terms))

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __and__(self, other: "Query") -> "Query":
        """What matches both; a word that both have is there once."""
        return Query(tuple(dict.fromkeys((*self.terms, *other.terms))))

    def columns(self) -> frozenset[str]:
        """The columns that :meth:`mask` reads."""
        return frozenset(column for term in self.terms for column in term.columns())

    def keys(self) -> tuple[str | None, ...]:
        """The key of each word, None for a bare one."""
        return tuple(term.key for term in self.terms)

    def mask(self, columns: Any) -> "npt.NDArray[np.bool_]":
        """Which rows match: one truth value a row.

        ``columns``: a pandas DataFrame, an Arrow table, or a mapping from names to numpy arrays,
        Series, Arrow columns or :class:`tracer.filter.mask.Coded`. Texts may be
        dictionary-encoded or categorical, and op, kind, hook and verdict also the numbers of their
        enums. QueryError: a column is missing.
        """
        from tracer.filter.mask import Columns, mask

        source = Columns(columns)
        self.require(source.names)
        return mask(self.terms, source)

    def require(self, available: Collection[str]) -> None:
        """QueryError for the first word that needs a column which is not among ``available``."""
        text = str(self)
        start = 0
        for term in self.terms:
            end = start + len(str(term))
            missing = sorted(term.columns() - set(available))
            if missing:
                raise QueryError(_missing(term.key, missing), text, start, end)
            start = end + 1

    def without(self, names: Iterable[str | None]) -> "Query":
        """Without the words of these keys (aliases too; None: the bare words)."""
        gone = {None if name is None else _key_name(name) for name in names}
        return Query(tuple(term for term in self.terms if term.key not in gone))

    def plus(
        self,
        key: str | None,
        value: object,
        *,
        negated: bool = False,
        bit5: Bit5 = UNKNOWN,
    ) -> "Query":
        """With one more word, for the rows that have ``value`` (a cell as it is stored) in ``key``.

        A list or a set is "one of these". Null (None, NaN) means what nothing matches. ``key`` None
        is a bare word. ``bit5``: what the recorded kernel calls seal 0x20. ValueError: no such key,
        or a value that this key cannot have.
        """
        return self & parse(keys.written(key, value, negated, bit5))


def _key_name(name: str) -> str:
    known = keys.find(name)
    if known is None:
        raise ValueError(f"no key {name!r} in filters")
    return known.name


def _missing(name: str | None, columns: list[str]) -> str:
    key = None if name is None else keys.find(name)
    if key is not None and key.judged:
        return (
            f"{key.name} is not in raw events, only in judged decisions: "
            f"use 'sealsnoop report', which judges and takes the same filter"
        )
    what = "a word without a key" if name is None else name
    return f"{what} cannot be asked for here: there is no column {', '.join(columns)}"


def _bare(word: Word) -> Term:
    whole = word.whole.text[word.whole.start : word.whole.end]
    if whole.lower() in RESERVED or whole in ("&&", "||", "&", "|"):
        raise word.whole.error(
            f"{whole} is not needed: all words must hold, a comma between values means 'or', "
            f"! before a word 'not'; to look for the text write \"{whole}\""
        )
    if whole.startswith("-"):
        raise word.whole.error(f'"not" is written !{whole[1:]}; for the text write "{whole}"')
    found = _COMPARED.fullmatch(whole)
    key = keys.find(found[2]) if found else None
    if found and key is not None:
        sign = "" if found[3] in ("=", "==", "!=") else found[3]
        negated = bool(found[1]) != (found[3] == "!=")
        near = f"{'!' if negated else ''}{key.name}:{sign}{found[4]}"
        raise word.whole.error(f"behind a key comes a colon: {near}", near)
    for part in word.parts:
        if not part.chars:
            raise part.error('nothing stands beside a comma; to look for a comma write ","')
    return Term(None, tuple(keys.bare(part) for part in word.parts), word.negated)


def _keyed(word: Word, name: Part) -> Term:
    key = keys.find(name.plain)
    if key is not None:
        return Term(key.name, keys.alternatives(key, word.parts), word.negated)
    if name.plain.startswith("-") and keys.find(name.plain[1:]):
        text = word.whole.text[word.whole.start + 1 : word.whole.end]
        raise word.whole.error(f'"not" is written !{text}', f"!{text}")
    near = nearest(name.plain.lstrip("-!("), keys.names())
    told = hint(near, [key.name for key in keys.KEYS], len(keys.KEYS))
    raise name.error(
        f"there is no key {name.plain!r}; {told} (to look for a text with a colon, quote it)", near
    )


def parse(text: str) -> Query:
    """Reads a filter. QueryError (a UserError), with the place, for what it does not understand."""
    return Query(
        tuple(
            dict.fromkeys(
                _bare(word) if word.key is None else _keyed(word, word.key) for word in words(text)
            )
        )
    )


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
