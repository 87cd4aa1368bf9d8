"""The comparison of two recordings: on a terminal, for programs, and as one HTML file.

What differs: the same calls on files sealed the same, answered differently. Calls are compared by
op, kind of file, seals at entry and class of the request, files by name. Nothing is matched call by
call: two runs need not be equal.

A class says coarsely what was requested, so that calls are comparable between two kernels: the op,
the file's kind and what the seal rules look at, without addresses, names and exact sizes. So
``mmap SHARED rw-`` anywhere in any file is one class.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis.decisions import Decisions, Judged
from tracer.analysis.totals import Tables
from tracer.escape import clip
from tracer.labels import (
    FALLOC_FL,
    MAX_ERRNO,
    MREMAP_OLD_SHIFT,
    create_text,
    errno_name,
    flag_names,
    mmap_text,
    mremap_text,
    prot_text,
)
from tracer.output import data, html
from tracer.output import summary as summaries
from tracer.output import tables as cells
from tracer.output.coverage import Coverage
from tracer.output.names import MOST_ROWS, folded
from tracer.output.report import Question, Reader, Request, Step, Tell, ordered, readers_of
from tracer.output.summary import Summary
from tracer.output.tables import WORST_FIRST, derived, phrase, value
from tracer.output.terminal import STYLES, Terminal
from tracer.recording.reader import Recording
from tracer.rules.verdicts import words
from tracer.words import OPS, UNKNOWN, Bit5, Kind, Op, names

COLUMNS = ("op", "kind", "arg", "offset", "length", "size", "mode", "fmode")
"""What the class of a request is made from."""
CLASS = ["arg", "read_only", "place", "kind", "op"]
"""What a class is, in the order in that classes are sorted."""

I64 = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[np.generic]]

_WITHIN, _PAST, _EMPTY = 1, 2, 3
_SHRINK, _GROW, _SAME = 1, 2, 3
_KEEPS, _CHANGES = 1, 2
_MREMAP_FLAGS = 0xFFFF
"""Of mremap's ``arg``: its flags and the mapping's own, without the old length."""
_OF_MAPPING = [op for op, entry in OPS.items() if entry.of_mapping]
_PAGE = 4096
_MODE_GIVEN, _X = 1, 0o111
_MFD_HUGETLB = 0x4  # include/uapi/linux/memfd.h
_READ, _WRITE = 1, 2  # FMODE_READ, FMODE_WRITE (include/linux/fs.h)
_PLACES = {_WITHIN: "within the file", _PAST: "past the end", _EMPTY: "of nothing"}
_SIZES = {_SHRINK: "smaller", _GROW: "larger", _SAME: "same size"}
_LENGTHS = {_SHRINK: "shrinks", _GROW: "grows", _SAME: "same length"}
_MODES = {_KEEPS: "x bits kept", _CHANGES: "x bits changed", 0: "no mode"}


def _place(columns: Columns) -> I64:
    """Whether offset and length reach past the end of the file."""
    offset = columns["offset"].astype(np.int64)
    start = offset.clip(0).astype(np.uint64)
    length, size = (columns[name].astype(np.uint64) for name in ("length", "size"))
    room = np.where(start < size, size - np.minimum(start, size), np.uint64(0))
    return np.select([length == 0, length > room], [_EMPTY, _PAST], _WITHIN)


def _size(columns: Columns) -> I64:
    """Whether the file becomes smaller; of mremap, whether the mapping does."""
    wanted, size = (columns[name].astype(np.uint64) for name in ("length", "size"))
    old = (columns["arg"].astype(np.uint64) >> np.uint64(MREMAP_OLD_SHIFT)) * np.uint64(_PAGE)
    before = np.where(columns["op"] == Op.MREMAP, old, size)
    return np.select([wanted == before, wanted < before], [_SAME, _SHRINK], _GROW)


def _x_bits(columns: Columns) -> I64:
    arg = columns["arg"].astype(np.uint64)
    wanted = (arg >> np.uint64(32)).astype(np.int64)
    changed = (wanted ^ columns["mode"].astype(np.int64)) & _X != 0
    given = (arg & np.uint64(_MODE_GIVEN)).astype(bool)
    return np.select([~given, changed], [0, _CHANGES], _KEEPS)


def classes(columns: Columns) -> pd.DataFrame:
    """The class of each request.

    :param columns: :data:`COLUMNS`, a value a row; op and kind as numbers.
    :return: :data:`CLASS`, all of them integers.
    """
    op, kind = (columns[name].astype(np.int64) for name in ("op", "kind"))
    arg = columns["arg"].astype(np.uint64)
    low = (arg & np.uint64(0xFFFFFFFF)).astype(np.int64)
    map_type = ((arg >> np.uint64(32)) & np.uint64(0xF)).astype(np.int64)
    # A creation that failed made no file, so nothing but its flags says what was wanted.
    wanted = np.where(low & _MFD_HUGETLB, int(Kind.HUGETLB), int(Kind.MEMFD))
    kind = np.where((op == Op.CREATE) & (kind == Kind.UNKNOWN), wanted, kind)
    maps = np.isin(op, (Op.MMAP, Op.MPROTECT))
    placed = np.isin(op, (Op.WRITE, Op.ALLOCATE)) | (maps & (kind == Kind.HUGETLB))
    with_arg = np.isin(op, (Op.ALLOCATE, Op.ADD_SEALS, Op.CREATE))
    sized = np.isin(op, (Op.TRUNCATE, Op.MREMAP))
    return pd.DataFrame(
        {
            "arg": np.select(
                [maps, np.isin(op, _OF_MAPPING), with_arg],
                [map_type << 4 | low & 7, low & _MREMAP_FLAGS, low],
                0,
            ),
            "read_only": columns["fmode"].astype(np.int64) & (_READ | _WRITE) == _READ,
            "place": np.select(
                [placed, sized, op == Op.CHMOD],
                [_place(columns), _size(columns), _x_bits(columns)],
                0,
            ),
            "kind": kind,
            "op": op,
        }
    ).astype(np.int64)


def described(request: Sequence[int], bit5: Bit5) -> tuple[str, str, str]:
    """``("mmap", "memfd", "SHARED rw-")``: op, kind and request of a class.

    :param request: the values of :data:`CLASS`.
    :param bit5: what the kernels call seal 0x20.
    """
    arg, read_only, place, kind, op = request
    op_word = Op(op).name.lower() if op in set(Op) else f"op_{op}"
    kind_word = Kind(kind).name.lower() if kind in set(Kind) else f"kind_{kind}"
    match op:
        case Op.MMAP:
            text = mmap_text(arg & 7 | arg >> 4 << 32)
            text += ", past the end" if place == _PAST else ""
        case Op.MREMAP:
            text = f"{mremap_text(arg)}, {_LENGTHS[place]}"
        case Op.MPROTECT:
            text = prot_text(arg & 7)
        case Op.WRITE:
            text = _PLACES[place]
        case Op.TRUNCATE:
            text = _SIZES[place]
        case Op.CHMOD:
            text = _MODES[place]
        case Op.ALLOCATE:
            text = f"{flag_names(arg, FALLOC_FL)}, {_PLACES[place]}"
        case Op.ADD_SEALS:
            text = names(arg, bit5)
        case Op.CREATE:
            text = create_text(kind_word, arg, bit5)
        case _:
            text = mremap_text(arg) if op in _OF_MAPPING else "any"
    return op_word, kind_word, text + (" by a read-only fd" if read_only else "")


CHANGES = ("answer", "only A", "only B", "count")
"""How a class differs: other answers or verdicts; seen on one side; the same, but not as often."""
_FILE = ["kind", "name"]
_COUNTED = [*CLASS, "seals", "errno", "verdict"]


@dataclass(frozen=True)
class Diff:
    """Two recordings side by side."""

    question: Question
    a: Coverage
    b: Coverage
    verdicts: tuple[Mapping[str, int], Mapping[str, int]]
    same: int
    """Classes of calls that both have, with the same answers as often."""
    variants: pd.DataFrame
    """Columns question, a, b: what the self-tests chose, where that differs (null: not known)."""
    decisions: pd.DataFrame
    """Columns change, op, kind, seals, request, a, b: outcomes as lists of verdict, answer and
    count, the worst first."""
    objects: pd.DataFrame
    """Columns change, kind, name, a, b: counts by verdict of the files with that name."""

    @property
    def summary(self) -> Summary:
        """What it comes to."""
        changes = self.decisions["change"]
        ops = self.decisions.loc[changes == "answer", "op"].astype(str)
        return summaries.of_diff(
            self.a,
            self.b,
            {str(op): int(count) for op, count in ops.value_counts(sort=False).items()},
            self.variants.dropna()["question"].astype(str).tolist(),
            (int((changes == "only A").sum()), int((changes == "only B").sum())),
            self.same,
            self.verdicts,
            str(self.question),
        )


class Tally:
    """Counts decisions by class, seals, answer and verdict."""

    def __init__(self) -> None:
        nothing = pd.DataFrame({name: np.empty(0, np.int64) for name in [*_COUNTED, "size"]})
        self._parts = [nothing]

    def add(self, columns: Columns, verdicts: npt.NDArray[np.int8]) -> None:
        """Takes decisions.

        :param columns: :data:`COLUMNS`, seals and answer, a value a row.
        :param verdicts: numbers of verdicts, -1 where a row is no decision.
        """
        rows = verdicts >= 0
        some = {name: columns[name][rows] for name in (*COLUMNS, "seals", "answer")}
        answer, seals = (some[name].astype(np.int64) for name in ("answer", "seals"))
        frame = classes(some).assign(
            # A new file's seals are a part of the answer.
            seals=np.where(some["op"] == Op.CREATE, 0, seals),
            errno=np.where((answer < 0) & (answer >= -MAX_ERRNO), answer, 0),
            verdict=verdicts[rows].astype(np.int64),
        )
        self._parts.append(frame.groupby(_COUNTED, as_index=False).size())
        if len(self._parts) > 64:
            self._parts = [self.frame()]

    def frame(self) -> pd.DataFrame:
        """:data:`CLASS`, seals, errno (0 or -errno), verdict (a number) and size (the count)."""
        every = pd.concat(self._parts, ignore_index=True)
        return every.groupby(_COUNTED).sum().reset_index()


def _outcomes(found: pd.DataFrame) -> dict[tuple[int, ...], list[dict[str, Any]]]:
    """By class and seals: the outcomes, the worst first."""
    shown: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    ordered = found.sort_values(["verdict", "errno"], ascending=False)
    for *key, errno, verdict, size in ordered.to_numpy().tolist():
        one = {"verdict": words()[verdict], "answer": errno_name(errno) or "ok", "count": size}
        shown.setdefault(tuple(key), []).append(one)
    return shown


def change(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> str | None:
    """One of :data:`CHANGES`; None where both are equal."""
    if not a or not b:
        return "only A" if a else "only B"
    kinds = [{(one["verdict"], one["answer"]) for one in side} for side in (a, b)]
    if kinds[0] != kinds[1]:
        return "answer"
    return None if list(a) == list(b) else "count"


def _order(row: Mapping[str, Any]) -> tuple[int, int]:
    worst = min(WORST_FIRST.index(one["verdict"]) for one in [*row["a"], *row["b"]])
    return CHANGES.index(row["change"]), worst


def common_bit5(a: Coverage, b: Coverage) -> Bit5:
    """What both kernels call seal 0x20. The same call may ask two for different things."""
    known = {a.self_test.bit5, b.self_test.bit5}
    return known.pop() if len(known) == 1 else UNKNOWN


def compare(a: pd.DataFrame, b: pd.DataFrame, bit5: Bit5 = UNKNOWN) -> tuple[pd.DataFrame, int]:
    """:attr:`Diff.decisions` and :attr:`Diff.same` of two frames of :class:`Tally`.

    ``bit5``: what both kernels call seal 0x20.
    """
    sides = (_outcomes(a), _outcomes(b))
    rows: list[dict[str, Any]] = []
    same = 0
    for key in sorted(sides[0].keys() | sides[1].keys()):
        one, other = (side.get(key, []) for side in sides)
        how = change(one, other)
        if how is None:
            same += 1
            continue
        op, kind, request = described(key[:-1], bit5)
        rows.append(
            {"change": how, "op": op, "kind": kind, "seals": key[-1], "request": request,
             "a": one, "b": other}
        )  # fmt: skip
    rows.sort(key=_order)
    columns = ["change", "op", "kind", "seals", "request", "a", "b"]
    return pd.DataFrame(rows, columns=columns), same


def _by_name(objects: pd.DataFrame) -> dict[tuple[str, str], list[dict[str, Any]]]:
    named = objects.dropna(subset=["name"]).astype(dict.fromkeys(_FILE, object))
    sums = named.groupby(_FILE, sort=False)[list(WORST_FIRST)].sum()
    return {
        (str(key[0]), str(key[1])): [
            {"verdict": word, "answer": "", "count": int(count)}
            for word, count in zip(WORST_FIRST, counts, strict=True)
            if count
        ]
        for key, counts in zip(sums.index, sums.to_numpy().tolist(), strict=True)
    }


def objects(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """:attr:`Diff.objects` of two object tables; files without a name cannot be compared."""
    sides = (_by_name(a), _by_name(b))
    rows = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        one, other = (side.get(key) for side in sides)
        if one == other:
            continue
        how = "only B" if one is None else "only A" if other is None else change(one, other)
        counts = [{each["verdict"]: each["count"] for each in side or ()} for side in (one, other)]
        rows.append(
            {"change": how, "kind": key[0], "name": key[1], "a": counts[0], "b": counts[1]}
        )  # fmt: skip
    rows.sort(key=lambda row: CHANGES.index(str(row["change"])))
    return pd.DataFrame(rows, columns=["change", *_FILE, "a", "b"])


def variants(a: Coverage, b: Coverage) -> pd.DataFrame:
    """:attr:`Diff.variants`."""
    known = (a.self_test.variants, b.self_test.variants)
    rows = [
        {"question": name, "a": known[0].get(name), "b": known[1].get(name)}
        for name in sorted(known[0].keys() | known[1].keys())
        if known[0].get(name) != known[1].get(name)
    ]
    return pd.DataFrame(rows, columns=["question", "a", "b"])


def build(paths: Sequence[str], request: Request, step: Step, tell: Tell) -> Diff:
    """The comparison of the two recordings ``paths``. StoreError, UserError.

    :param step: see :data:`tracer.output.report.Step`.
    :param tell: see :data:`tracer.output.report.Tell`.
    """
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording.open(path)) for path in paths]
        sides = [_side(one, request, step) for one in readers_of(recordings, request, tell)]
    (a, counted_a, tables_a), (b, counted_b, tables_b) = sides
    decisions, same = compare(counted_a.frame(), counted_b.frame(), common_bit5(a, b))
    return Diff(
        question=request.question,
        a=a,
        b=b,
        verdicts=(ordered(tables_a.verdicts), ordered(tables_b.verdicts)),
        same=same,
        variants=variants(a, b),
        decisions=decisions,
        objects=objects(tables_a.by_object, tables_b.by_object),
    )


def _side(reader: Reader, request: Request, step: Step) -> tuple[Coverage, Tally, Tables]:
    tally, needed = Tally(), (*COLUMNS, "seals", "answer")

    def count(judged: Judged) -> None:
        tally.add({name: judged[name] for name in needed}, judged["verdict"])

    decisions = Decisions(keep=request.keep, observers=[count])
    reader.read(decisions, step, needed)
    tables = decisions.tables()
    return reader.coverage(tables.decisions), tally, tables


HEADINGS = {
    "answer": "Answered differently",
    "only A": "Requested in A only",
    "only B": "Requested in B only",
    "count": "The same answers, not as often",
}
"""By change."""


def outcomes(found: Sequence[Mapping[str, Any]]) -> str:
    """``2 blocked EPERM, 1 allowed``; ``-`` for none."""
    shown = []
    for one in found:
        answer = "" if one["answer"] in ("ok", "") else f" {one['answer']}"
        shown.append(f"{one['count']:,} {one['verdict']}{answer}")
    return ", ".join(shown) or "-"


def counts(found: Mapping[str, int]) -> str:
    """``2 blocked, 1 allowed``; ``-`` for none."""
    return ", ".join(f"{found[word]:,} {word}" for word in WORST_FIRST if found.get(word)) or "-"


def worst(row: Mapping[str, Any]) -> str:
    """The worst verdict on either side."""
    there = {one["verdict"] for one in [*row["a"], *row["b"]]}
    return next(word for word in WORST_FIRST if word in there)


def folded_objects(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of :attr:`Diff.objects`, files with like names and equal counts as one."""

    def said(row: Mapping[str, Any]) -> tuple[str, ...]:
        return row["change"], counts(row["a"]), counts(row["b"])

    return folded(cells.rows(frame, MOST_ROWS), said, cells.file)


class DiffTerminal(Terminal):
    """Prints a comparison; ``top`` entries of each kind of change."""

    def show_diff(self, diff: Diff) -> None:
        """Prints everything."""
        self.result(diff.summary)
        for letter, one in (("A", diff.a), ("B", diff.b)):
            self.recorded(one, f"{letter}: ")
        self.heading("Verdicts")
        self.line(f"{'':<14}{'A':>12}{'B':>12}", "dim", "  ")
        for word in WORST_FIRST:
            a, b = (side.get(word, 0) for side in diff.verdicts)
            self.line(f"{word:<14}{a:>12,}{b:>12,}", STYLES[word] if a or b else "dim", "  ")
        self._variants(diff.variants)
        for change in CHANGES:
            self._changes(diff.decisions, change)
        self._objects(diff.objects)
        self.console.print()
        self.line(f"{diff.same:,} classes of calls are answered the same, as often", "dim")
        for letter, one in (("A", diff.a), ("B", diff.b)):
            self.coverage(one, f"{letter}: ")

    def _variants(self, found: pd.DataFrame) -> None:
        if found.empty:
            return
        self.heading("What these kernels do differently (self-tests)")
        for row in cells.rows(found):
            a, b = (row[side] or "not known" for side in ("a", "b"))
            self.line(f"{row['question']}: A {a}, B {b}", "", "  ")

    def _changes(self, frame: pd.DataFrame, change: str) -> None:
        found = frame[frame["change"] == change]
        if found.empty:
            return
        self.heading(f"{HEADINGS[change]}: {len(found):,}")
        for row in cells.rows(found, self.top):
            text = f"{row['op']} {row['kind']} {cells.seals(row['seals'])} {row['request']}"
            self.line(clip(text, self.console.width - 2), "bold", "  ")
            style = STYLES[worst(row)] if change == "answer" else ""
            for letter, side in (("A", "a"), ("B", "b")):
                if row[side]:
                    self.line(f"{letter}: {outcomes(row[side])}", style, "      ")
        self.more(len(found))

    def _objects(self, frame: pd.DataFrame) -> None:
        if frame.empty:
            return
        self.heading(f"Files that differ, by name: {len(frame):,}")
        rows = folded_objects(frame)
        for row in rows[: self.top]:
            self.line(clip(cells.file(row), self.console.width - 2), "bold", "  ")
            for letter, side in (("A", "a"), ("B", "b")):
                self.line(f"{letter}: {counts(row[side])}", "", "      ")
        self.more(len(rows) + max(0, len(frame) - MOST_ROWS))


def diff_json(diff: Diff, top: int | None = None) -> Iterator[str]:
    """One JSON object: format ``sealsnoop report diff``, schema_version, result (different, same,
    uncertain, nothing), summary (the same in a sentence), question, recordings A
    and B as in a report, verdicts a and b, same, variants, decisions and objects as in
    :class:`tracer.output.diff.Diff`. A request has the names of seal 0x20 and of memfd_create's 0x8
    where both kernels have the same; else these are numbers in it."""
    head = {
        "format": "sealsnoop report diff",
        "schema_version": data.SCHEMA_VERSION,
        "result": diff.summary.result,
        "summary": diff.summary.text,
        "question": asdict(diff.question),
        "recordings": [asdict(one) | {"whole": one.whole} for one in (diff.a, diff.b)],
        "verdicts": {"a": dict(diff.verdicts[0]), "b": dict(diff.verdicts[1])},
        "same": diff.same,
    }
    yield json.dumps(head, indent=1)[:-2]
    for name in ("variants", "decisions", "objects"):
        frame: pd.DataFrame = getattr(diff, name)
        yield f',\n "{name}": '
        yield from data.json_table(frame if top is None else frame.head(top))
    yield "\n}\n"


def diff_csv(diff: Diff, top: int | None = None) -> Iterator[str]:
    """The decisions that differ, outcomes as text."""
    texts = {side: [outcomes(one) for one in diff.decisions[side]] for side in ("a", "b")}
    return data.csv_table(diff.decisions.assign(**texts), top)


_VERDICTS = (
    value("verdict", "verdict"),
    value("a", "A", right=True),
    value("b", "B", right=True),
)
_VARIANTS = (phrase("question", "question"), phrase("a", "A"), phrase("b", "B"))
_DECISIONS = (
    value("op", "op"),
    value("kind", "kind"),
    value("seals", "seals", cells.seals),
    phrase("request", "request"),
    derived("A", lambda row: outcomes(row["a"])),
    derived("B", lambda row: outcomes(row["b"])),
)
_OBJECTS = (
    derived("file", cells.file),
    derived("A", lambda row: counts(row["a"])),
    derived("B", lambda row: counts(row["b"])),
)


def diff_page(diff: Diff, top: int) -> Iterator[str]:
    """The HTML file in pieces; each table has at most ``top`` rows."""
    sides = [
        {"verdict": word, "a": diff.verdicts[0].get(word, 0), "b": diff.verdicts[1].get(word, 0)}
        for word in WORST_FIRST
    ]
    tables = [
        ("Verdicts", pd.DataFrame(sides), _VERDICTS),
        ("What these kernels do differently", diff.variants, _VARIANTS),
        *(
            (HEADINGS[change], diff.decisions[diff.decisions["change"] == change], _DECISIONS)
            for change in CHANGES
        ),
        ("Files that differ, by name", diff.objects, _OBJECTS),
    ]
    summary = diff.summary
    return html.render(
        "diff.html",
        html.TONES[summary.result],
        summary.text,
        summary.todo,
        names=f"{diff.a.file_name} / {diff.b.file_name}",
        recordings=[("A: ", html.card(diff.a)), ("B: ", html.card(diff.b))],
        tables=[
            (heading, html.table_of("", frame, columns, {}, top))
            for heading, frame, columns in tables
            if not frame.empty
        ],
        same=diff.same,
    )
