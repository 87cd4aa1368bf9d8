"""Evaluates a filter over whole columns: texts on their dictionaries, numbers as arrays.

Columns may be pandas', Arrow's, or a mapping of either and numpy's.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.cgroups import label
from tracer.filter.grammar import Bits, In, Like, Range, Term, Test
from tracer.filter.query import Query, find
from tracer.recording.format import EVENTS
from tracer.recording.identity import KEY, Identities
from tracer.recording.pieces import Known, Together
from tracer.recording.places import Places, Where
from tracer.recording.tables import booleans, integers, plain
from tracer.recording.tasks import Actor, Task, Tasks, quoted

Values = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class Coded(NamedTuple):
    """A column of texts: ``words[codes[row]]``; a negative code is null."""

    codes: npt.NDArray[np.integer[Any]]
    words: Sequence[str | None]


class Numbers(NamedTuple):
    """A column of numbers; ``valid`` is None where no row is null."""

    values: Values
    valid: Mask | None


_ARROW = (pa.Array, pa.ChunkedArray)


def _chunks(column: Any) -> list[Any]:
    return list(column.chunks) if isinstance(column, pa.ChunkedArray) else [column]


def _coded_chunk(chunk: Any) -> Coded:
    if not pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_encode()
    indices = chunk.indices
    if indices.null_count:
        indices = indices.cast(pa.int64()).fill_null(-1)
    return Coded(plain(indices), chunk.dictionary.to_pylist())


class Columns:
    """The columns of ``source``: DataFrame, Arrow table, or mapping."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._arrow = isinstance(source, pa.Table | pa.RecordBatch)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._source.schema.names if self._arrow else self._source)

    @property
    def rows(self) -> int:
        """How many rows there are; a mapping without columns has none."""
        if self._arrow:
            return int(self._source.num_rows)
        if hasattr(self._source, "index"):
            return len(self._source.index)
        first = next(iter(self._source.values()), ())
        return len(first.codes if isinstance(first, Coded) else first)

    def texts(self, name: str) -> list[Coded] | None:
        """Column ``name`` in coded pieces; None: it has numbers."""
        column = self._source[name]
        if isinstance(column, Coded):
            return [column]
        if isinstance(column, _ARROW):
            if pa.types.is_integer(column.type):
                return None
            return [_coded_chunk(chunk) for chunk in _chunks(column)]
        if getattr(column.dtype, "kind", "O") in "iu":
            return None
        import pandas as pd

        if isinstance(column.dtype, pd.CategoricalDtype):
            codes, words = column.cat.codes.to_numpy(), column.cat.categories
        else:
            codes, words = pd.factorize(column)  # by hashing; nulls become -1
        return [Coded(codes, [None if word is None else str(word) for word in words])]

    def numbers(self, name: str) -> Numbers:
        """Column ``name`` as numbers."""
        column = self._source[name]
        if isinstance(column, Coded):
            raise TypeError(f"column {name} is text")
        if not isinstance(column, _ARROW):
            if getattr(column.dtype, "kind", "O") in "iufb" and isinstance(column.dtype, np.dtype):
                return Numbers(np.asarray(column), None)
            column = pa.array(column, from_pandas=True)  # pandas' own types, Arrow's, objects
        if pa.types.is_null(column.type):
            return Numbers(np.zeros(len(column), np.int64), np.zeros(len(column), bool))
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not column.null_count:
            return Numbers(_joined(column), None)
        return Numbers(_joined(column.fill_null(0)), _joined(column.is_valid()))


def _joined(column: Any) -> Values:
    pieces = [
        plain(chunk) if pa.types.is_integer(chunk.type) else chunk.to_numpy(zero_copy_only=False)
        for chunk in _chunks(column)
    ]
    if len(pieces) == 1:
        return np.asarray(pieces[0])
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


Matcher = Callable[[str | None], bool]

_FEW = 1 << 16  # numbers of an enum below this go by a table


def _any_of(likes: list[Like]) -> Matcher:
    """Whether a text is like one of ``likes``."""
    known = [
        (re.compile(one.regex, re.S | (re.I if one.ignore_case else 0)).fullmatch, one.null)
        for one in likes
    ]
    return lambda text: any(
        null if text is None else match(text) is not None for match, null in known
    )


def _coded(matches: Matcher, pieces: list[Coded]) -> Mask:
    found = []
    for codes, words in pieces:
        # A null has code -1: the last place of the table.
        table = np.array([*map(matches, words), matches(None)], bool)
        found.append(table[codes])
    return np.concatenate(found) if found else np.empty(0, bool)


def _enum(matches: Matcher, column: str, numbers: Values) -> Mask:
    """Of a column that has numbers where others have words."""
    key = find(column)
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


PLACES = ("place", "cgroup_path", "unit", "runtime", "container", "pod", "vm_name")
"""Columns that a row's cgroup tells (tracer.recording.places); null: it does not."""
TASKS = ("exe", "build_id", "cmdline", "parent", "ns_pid", "vm_claimed")
"""Columns that a row's actor tells (tracer.recording.tasks); null or 0: it is not known."""
_TASK_TEXTS = {"exe": "exe", "build_id": "build_id", "cmdline": "cmdline", "vm_claimed": "vm"}
_TASK_NUMBERS = ("parent", "ns_pid")
Cgroups = Known[int, Where] | Together[int, Where]
Actors = Known[Actor, Task] | Together[Actor, Task]
ACTOR = ("pid", "start_ns", "exec_id")
"""The columns that name an actor."""
COLUMNS = frozenset({*EVENTS.names, "name", *PLACES, "exe", "vm_claimed"})
"""The columns that a filter over raw events can use."""


def columns(query: Query) -> list[str]:
    """The columns of ``events`` that have to be read for ``query``, in the order of the schema."""
    wanted = set(query.columns())
    if "name" in wanted:
        wanted |= {*KEY}
    if wanted.intersection(PLACES):
        wanted.add("cgroup")
    if wanted.intersection(TASKS):
        wanted |= {*ACTOR}
    return [name for name in EVENTS.names if name in wanted]


def named(table: pa.Table, names: Identities) -> Coded:
    """The name of each row's object, looked up once per object."""
    codes = np.zeros(table.num_rows, np.int64)
    for name in KEY:
        # Hashing one integer column after the other: numpy's unique over rows would sort.
        found = table.column(name).combine_chunks().dictionary_encode()
        found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        codes = codes * max(1, len(found.dictionary)) + plain(found.indices)
        _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    return Coded(codes, names.names(table.select([*KEY]).take(integers(first))))


def placed(cgroups: Values, places: Cgroups) -> dict[str, Coded]:
    """The columns :data:`PLACES` of rows in these cgroups, each looked up once."""
    distinct, codes = np.unique(cgroups, return_inverse=True)
    found = [places.of(int(cgroup)) for cgroup in distinct]
    told = {
        "place": [label(one.place) or None for one in found],
        "cgroup_path": [one.path or None for one in found],
    }
    for name in PLACES[2:]:
        told[name] = [getattr(one.place, name.removesuffix("_name")) or None for one in found]
    return {name: Coded(codes, words) for name, words in told.items()}


def _same(columns: Sequence[Values]) -> tuple[Values, Values]:
    """Which rows are the first of their kind, and of which kind each row is, by hashing."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        found = integers(column).dictionary_encode()
        both = codes * max(1, len(found.dictionary)) + plain(found.indices)
        codes = plain(integers(both).dictionary_encode().indices).astype(np.int64)
    first = np.zeros(codes.max(initial=-1) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first, codes


def acted(who: Sequence[Values], tasks: Actors) -> dict[str, Coded | Values]:
    """The columns :data:`TASKS` of rows of these actors (columns :data:`ACTOR`), each looked up
    once."""
    first, codes = _same(who)
    keys = zip(*(column[first].tolist() for column in who), strict=True)
    found = [tasks.of(Actor(*key)) for key in keys]
    told: dict[str, Coded | Values] = {}
    for name in TASKS:
        if name in _TASK_NUMBERS:
            told[name] = np.array([getattr(one, name) for one in found], np.uint32)[codes]
        else:
            texts = [getattr(one, _TASK_TEXTS[name]) or None for one in found]
            told[name] = Coded(codes, texts)
    return told


def told(
    cgroups: Values,
    who: Sequence[Values],
    places: Cgroups,
    tasks: Actors,
) -> dict[str, Coded | Values]:
    """The columns :data:`PLACES` and :data:`TASKS` of rows in these cgroups, of these actors.

    Which machine a command line claims to be counts only where the cgroup names none; then it
    stands in ``place``, too.
    """
    there, actors = placed(cgroups, places), acted(who, tasks)
    claims = actors["vm_claimed"]
    if isinstance(claims, Coded) and any(claims.words):
        both = [there["place"], there["vm_name"], claims]
        first, codes = _same([np.asarray(one.codes, np.int64) for one in both])
        shown: list[str | None] = []
        claimed: list[str | None] = []
        for row in first.tolist():
            place, machine, claim = (one.words[one.codes[row]] for one in both)
            claimed.append(None if machine else claim)
            shown.append(with_claim(place or "", claimed[-1] or "") or None)
        there["place"], actors["vm_claimed"] = Coded(codes, shown), Coded(codes, claimed)
    return {**there, **actors}


def with_claim(place: str, claim: str) -> str:
    """``ssh.service, claims vm web``: behind what the cgroup says, and quoted if it needs to be."""
    return ", ".join(filter(None, (place, claim and f"claims vm {quoted(claim)}")))


def matching(
    tables: Iterable[pa.Table], query: Query, names: Identities, places: Places, tasks: Tasks
) -> Iterator[pa.Table]:
    """The rows of event tables that ``query`` matches; tables without any are left out.

    ``names``, ``places`` and ``tasks`` are used when a table's turn comes, so that they may grow on
    the way.
    """
    if not query:
        yield from tables
        return
    needs_names = "name" in query.columns()
    needs_places = not query.columns().isdisjoint(PLACES)
    needs_tasks = not query.columns().isdisjoint(TASKS)
    for table in tables:
        source: dict[str, Any] = {name: table.column(name) for name in table.column_names}
        if needs_names:
            source["name"] = named(table, names)
        if needs_places or needs_tasks:
            numbers = Columns(table).numbers
            if not needs_tasks:
                source |= placed(numbers("cgroup").values, places)
            else:
                who = [numbers(name).values for name in ACTOR]
                source |= (
                    told(numbers("cgroup").values, who, places, tasks)
                    if needs_places
                    else acted(who, tasks)
                )
        found = query.mask(source)
        if found.any():
            yield table if found.all() else table.filter(booleans(found))
