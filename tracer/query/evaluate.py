"""Evaluates conditions over whole columns: texts on their dictionaries, numbers as arrays."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import reduce

import numpy as np
import numpy.typing as npt

from tracer.query import keys
from tracer.query.columns import Coded, Columns, Mask, Numbers, Values
from tracer.query.conditions import Bits, In, Like, Range, Term, Test

Matcher = Callable[[str | None], bool]

_FEW = 1 << 16  # numbers of an enum below this go by a table


def _matcher(like: Like) -> Matcher:
    match = re.compile(like.regex, re.S | (re.I if like.ignore_case else 0)).fullmatch
    return lambda text: like.null if text is None else match(text) is not None


def _any_of(likes: list[Like]) -> Matcher:
    matchers = [_matcher(like) for like in likes]
    return lambda text: any(matches(text) for matches in matchers)


def _coded(matches: Matcher, pieces: list[Coded]) -> Mask:
    found = []
    for codes, words in pieces:
        # A null has code -1: the last place of the table.
        table = np.array([*map(matches, words), matches(None)], bool)
        found.append(table[codes])
    return np.concatenate(found) if found else np.empty(0, bool)


def _enum(matches: Matcher, column: str, numbers: Values) -> Mask:
    """Of a column that has numbers where others have words."""
    key = keys.find(column)
    members = () if key is None or key.enum is None else tuple(key.enum)
    known = {int(member): member.name.lower() for member in members}

    def holds(number: int) -> bool:
        # Below 0 is no word at all: the judge's code for "no decision".
        return matches(None if number < 0 else known.get(number, f"{column}_{number}"))

    if not len(numbers):
        return np.empty(0, bool)
    low, high = int(numbers.min()), int(numbers.max())
    if low >= 0 and high < _FEW:
        return np.array([holds(number) for number in range(high + 1)], bool)[numbers]
    distinct, codes = np.unique(numbers, return_inverse=True)
    return np.asarray(np.array([holds(int(number)) for number in distinct], bool)[codes])


def _like(likes: list[Like], columns: Columns) -> Mask:
    """Where any of ``likes``, all of one column, matches: the column is looked at once."""
    column = likes[0].column
    pieces = columns.texts(column)
    if pieces is None:
        return _enum(_any_of(likes), column, columns.numbers(column).values)
    return _coded(_any_of(likes), pieces)


def _within(values: Values, limits: Range) -> Mask:
    low, high = limits
    if low is not None and low == high:
        return np.asarray(values == low)
    found: Mask = np.ones(len(values), bool) if low is None else np.asarray(values >= low)
    if high is not None:
        found &= values <= high
    return found


def _in(ranges: tuple[Range, ...], numbers: Numbers) -> Mask:
    found = reduce(np.logical_or, (_within(numbers.values, one) for one in ranges))
    if numbers.values.dtype.kind == "f":  # a NaN is neither below nor above
        found &= ~np.isnan(numbers.values)
    return np.asarray(found if numbers.valid is None else found & numbers.valid)


def _bits(test: Bits, numbers: Numbers) -> Mask:
    values, valid = numbers
    if values.dtype.kind == "f":
        valid = ~np.isnan(values)
        values = np.where(valid, values, 0).astype(np.int64)
    if test.mask > np.iinfo(values.dtype).max:
        values = values.astype(np.int64)
    found = (values & values.dtype.type(test.mask)) == test.value
    return np.asarray(found if valid is None else found & valid)


def _test(test: Test, columns: Columns) -> Mask:
    if isinstance(test, Like):
        return _like([test], columns)
    numbers = columns.numbers(test.column)
    return _in(test.ranges, numbers) if isinstance(test, In) else _bits(test, numbers)


def _folded(join: np.ufunc, masks: Iterable[Mask]) -> Mask:
    first, *others = masks
    for other in others:
        join(first, other, out=first)
    return first


def _masks(term: Term, columns: Columns) -> Iterator[Mask]:
    """What each alternative takes, those on the text of one column together."""
    likes: dict[str, list[Like]] = {}
    for one in term.alternatives:
        for tests in one.any_of:
            if len(tests) == 1 and isinstance(tests[0], Like):
                likes.setdefault(tests[0].column, []).append(tests[0])
            else:
                yield _folded(np.logical_and, (_test(test, columns) for test in tests))
    for together in likes.values():
        yield _like(together, columns)


def _term(term: Term, columns: Columns) -> Mask:
    found = _folded(np.logical_or, _masks(term, columns))
    return np.logical_not(found, out=found) if term.negated else found


def mask(terms: tuple[Term, ...], columns: Columns) -> npt.NDArray[np.bool_]:
    """Which rows all of ``terms`` match."""
    if not terms:
        return np.ones(columns.rows, bool)
    return _folded(np.logical_and, (_term(term, columns) for term in terms))
