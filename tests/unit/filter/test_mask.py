"""Which rows a filter takes: against a plain reading of each row, in whatever holds the columns."""

import errno
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.filter import mask as evaluate
from tracer.filter.grammar import QueryError
from tracer.filter.mask import Coded
from tracer.filter.query import KEYS, Form, Query, parse
from tracer.labels import SEALS_UNKNOWN
from tracer.record import Flag, Op
from tracer.words import LETTERS, Seal
from tracer.words import text as seals_text

Row = dict[str, Any]
SOURCES: dict[str, Callable[[dict[str, pa.Array]], Any]] = {
    "arrow": lambda columns: pa.table(columns),
    "arrow batch": lambda columns: pa.record_batch(columns),
    "arrow chunks": lambda columns: pa.concat_tables(
        [pa.table(columns).slice(0, 3), pa.table(columns).slice(3)]
    ),
    "pandas": lambda columns: pa.table(columns).to_pandas(),
    "pandas objects": lambda columns: pd.DataFrame(
        {name: pd.Series(column.to_pylist(), dtype=object) for name, column in columns.items()}
    ),
    "pandas arrow": lambda columns: pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype),
    "pandas nullable": lambda columns: pa.table(columns).to_pandas().convert_dtypes(),
    "mapping": dict,
    "series": lambda columns: dict(pa.table(columns).to_pandas().items()),
    "numpy": lambda columns: {
        name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()
    },
}


def encoded(column: pa.Array) -> pa.Array:
    return column.dictionary_encode() if pa.types.is_string(column.type) else column


def rows_of(query: str | Query, source: Any) -> list[int]:
    asked = parse(query) if isinstance(query, str) else query
    mask = asked.mask(source)
    assert mask.dtype == bool
    return [int(place) for place in np.flatnonzero(mask)]


def table(**columns: Any) -> pa.Table:
    return pa.table({name: encoded(pa.array(column)) for name, column in columns.items()})


# --- a plain reading of the language, one row and one value at a time


def like(pattern: str, text: str) -> bool:
    """``*`` and ``?`` by trying everything."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return like(pattern[1:], text) or (bool(text) and like(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and like(pattern[1:], text[1:])


def text_value(pattern: str, text: str | None) -> bool:
    if text is None:
        return False
    if pattern.startswith("~"):
        return like(f"*{pattern[1:]}*".lower(), text.lower())
    return like(pattern, text)


def number_value(value: str, number: int | None) -> bool:
    if number is None:
        return False
    if ".." in value:
        low, high = value.split("..")
        return (not low or int(low) <= number) and (not high or number <= int(high))
    for sign, holds in (
        (">=", number.__ge__),
        ("<=", number.__le__),
        (">", number.__gt__),
        ("<", number.__lt__),
    ):
        if value.startswith(sign):
            return bool(holds(int(value[len(sign) :])))
    return number == int(value)


def name_value(pattern: str, text: str | None) -> bool:
    bare = None if text is None else text.removeprefix("memfd:")
    return text_value(pattern, text) or text_value(pattern, bare)


HOLDS: dict[str, Callable[[str, Any], bool]] = {
    "name": name_value,
    "comm": text_value,
    "pid": number_value,
    "offset": number_value,
    "op": lambda pattern, text: text_value(pattern, text),
}
TEXTS = st.none() | st.sampled_from(["ab", "aXb", "memfd:ab", "a", "", "AB", "baab"])
PATTERNS = st.text("ab*?", min_size=1, max_size=5).flatmap(
    lambda text: st.sampled_from([text, f"~{text}"])
)
SMALL = st.integers(0, 4)
NUMBERS = st.one_of(
    SMALL.map(str),
    st.builds("{}{}".format, st.sampled_from([">", ">=", "<", "<="]), SMALL),
    st.builds("{}..{}".format, st.integers(0, 2), st.integers(2, 4)),
    SMALL.map("{}..".format),
    SMALL.map("..{}".format),
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "name": PATTERNS,
    "comm": PATTERNS,
    "pid": NUMBERS,
    "offset": NUMBERS,
    "op": st.sampled_from(["mmap", "map", "m*", "~map", "write", "?map"]),
}
ROWS = st.fixed_dictionaries(
    {
        "name": TEXTS,
        "comm": TEXTS,
        "pid": st.none() | SMALL,
        "offset": SMALL,
        "op": st.sampled_from(["mmap", "map", "write"]),
    }
)
TERMS = st.sampled_from(sorted(VALUES)).flatmap(
    lambda key: st.tuples(
        st.just(key), st.lists(VALUES[key], min_size=1, max_size=3), st.booleans()
    )
)
TYPES = {"pid": pa.uint32(), "offset": pa.int64()}


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=12), st.lists(TERMS, max_size=3), st.booleans())
def test_as_a_plain_reading_of_each_row(
    rows: list[Row], terms: list[tuple[str, list[str], bool]], dictionaries: bool
) -> None:
    text = " ".join(f"{'!' * no}{key}:{','.join(values)}" for key, values, no in terms)
    wanted = [
        place
        for place, row in enumerate(rows)
        if all(any(HOLDS[key](value, row[key]) for value in values) != no
               for key, values, no in terms)
    ]  # fmt: skip
    columns = {
        name: pa.array([row[name] for row in rows], TYPES.get(name, pa.string()))
        for name in rows[0]
    }
    if dictionaries:
        columns = {name: encoded(column) for name, column in columns.items()}
    for name, make in SOURCES.items():
        assert rows_of(text, make(columns)) == wanted, name


def test_numbers_of_enums_and_codes() -> None:
    source = {
        "op": np.array([1, 12, 3, 77, 1], np.uint8),
        "verdict": np.array([5, -1, 0, 2, 4], np.int8),
        "comm": Coded(np.array([0, 1, -1, 1, 0], np.int32), ["qemu", None]),
    }
    assert rows_of("op:mmap", source) == [0, 4]
    assert rows_of("op:~map", source) == [0, 1, 4]
    assert rows_of("op:op_77", source) == [3]
    assert rows_of("!op:mmap,map", source) == [2, 3]
    assert rows_of("verdict:breach,unexplained", source) == [0, 4]
    assert rows_of("verdict:none", source) == [1]
    assert rows_of("comm:*", source) == [0, 4]
    assert rows_of("!comm:*", source) == [1, 2, 3]
    wide = {"op": np.array([1, 1 << 40, 1], np.int64)}
    assert rows_of("op:mmap", wide) == [0, 2]
    assert rows_of(f"op:{Op.OPEN.name}", wide) == []


def test_texts_are_matched_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    matched: list[str | None] = []
    inner = evaluate._any_of

    def counting(likes: Any) -> Callable[[str | None], bool]:
        matches = inner(likes)

        def count(text: str | None) -> bool:
            matched.append(text)
            return matches(text)

        return count

    monkeypatch.setattr(evaluate, "_any_of", counting)
    columns = {"comm": encoded(pa.array(["qemu", "bash"] * 50_000))}
    for make in SOURCES.values():
        assert parse("comm:qemu").mask(make(columns)).sum() == 50_000
        assert len(matched) <= 6  # two texts and null, in two chunks at most
        matched.clear()


ALL_SEALS = range(64)
SEALS = table(seals=pa.array([*ALL_SEALS, SEALS_UNKNOWN, 0x48], pa.uint32()))
W, G, S, F = int(Seal.WRITE), int(Seal.GROW), int(Seal.SHRINK), int(Seal.FUTURE_WRITE)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("seals:+WRITE", lambda seals: seals & W),
        ("seals:WRITE", lambda seals: seals & W),
        ("seals:+wg", lambda seals: seals & (W | G) == W | G),
        ("seals:+WRITE|GROW", lambda seals: seals & W and seals & G),
        ("seals:+WRITE,+GROW", lambda seals: seals & W or seals & G),
        ("seals:-WRITE|GROW", lambda seals: not seals & (W | G)),
        ("seals:-w,-g", lambda seals: not seals & W or not seals & G),
        ("seals:=SHRINK|GROW", lambda seals: seals == S | G),
        ("seals:=-sg---", lambda seals: seals == S | G),
        ("seals:none", lambda seals: seals == 0),
        ("seals:any", lambda seals: seals != 0),
        ("seals:+0x40", lambda seals: seals & 0x40),
        ("seals:=0x48", lambda seals: seals == 0x48),
    ],
)
def test_seals(text: str, holds: Callable[[int], object]) -> None:
    known = [*ALL_SEALS, None, 0x48]
    wanted = [place for place, seals in enumerate(known) if seals is not None and holds(seals)]
    assert rows_of(text, SEALS) == wanted
    assert rows_of(f"!{text}", SEALS) == sorted({*range(66)} - {*wanted})


def test_seals_of_two_words() -> None:
    wanted = [seals for seals in ALL_SEALS if seals & W and not seals & F]
    assert rows_of("seals:+w seals:-f", SEALS) == [*wanted, 65]


def test_seals_that_could_not_be_read() -> None:
    assert rows_of("seals:unknown", SEALS) == [64]
    assert rows_of("seals:+w,-w,none,any", SEALS) == [*ALL_SEALS, 65]


def test_seals_as_script_shows_them() -> None:
    for seals in ALL_SEALS:
        assert rows_of(f"seals:={seals_text(seals)}", SEALS) == [seals]
        letters = "".join(c for bit, c in enumerate(LETTERS) if seals >> bit & 1)
        if letters:
            having = [other for other in ALL_SEALS if other & seals == seals]
            assert [row for row in rows_of(f"seals:+{letters}", SEALS) if row < 64] == having


ANSWERS = [0, 34, -1, -16, -4095, -4096, 0x7F1234567000, -1, -11]
FLAGS = [0, 0, 0, 16, 0, 0, 0, Flag.RETURN_MISSING, 16 | Flag.RACED_SEALS]
RETURNED = table(answer=pa.array(ANSWERS, pa.int64()), flags=pa.array(FLAGS, pa.uint32()))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ret:ok", [0, 1, 5, 6]),
        ("ret:error", [2, 3, 4, 8]),
        ("ret:unknown", [7]),
        ("!ret:ok", [2, 3, 4, 7, 8]),
        ("ret:EPERM", [2]),
        ("ret:EBUSY,EWOULDBLOCK", [3, 8]),
        ("ret:E4095", [4]),
        ("ret:0", [0]),
        ("ret:>0", [1, 6]),
        ("ret:<0", [2, 3, 4, 5, 8]),
        ("ret:0x7f1234567000", [6]),
        ("ret:0..34", [0, 1]),
        ("flag:raced", [8]),
        ("flag:no-return,raced-seals", [7, 8]),
        ("flag:check_reached !flag:raced", [3]),
    ],
)
def test_answers_and_flags(text: str, wanted: list[int]) -> None:
    assert rows_of(text, RETURNED) == wanted
    assert rows_of(text, RETURNED.to_pandas()) == wanted


def test_every_errno_by_its_symbol() -> None:
    for number, symbol in errno.errorcode.items():
        found = rows_of(f"ret:{symbol}", {"answer": np.array([-number, number]),
                                          "flags": np.array([0, 0])})  # fmt: skip
        assert found == [0], symbol


@pytest.mark.parametrize(
    ("text", "limit", "above"),
    [("1K", 1 << 10, 0), ("1.5M", 3 << 19, 0), ("2GiB", 2 << 30, 0), ("1TB", 1 << 40, 0),
     ("0.3K", 307, 1), ("16777216T", 1 << 64, 0)],
)  # fmt: skip
def test_sizes_at_their_limits(text: str, limit: int, above: int) -> None:
    """``above``: the text means a little more than ``limit``."""
    near = [number for number in (0, limit - 1, limit, limit + 1) if 0 <= number < 1 << 64]
    source = {"size": np.array(near, np.uint64)}
    wanted: dict[str, Callable[[int], bool]] = {
        ">": lambda number: number > limit,
        ">=": lambda number: number >= limit + above,
        "<": lambda number: number < limit + above,
        "<=": lambda number: number <= limit,
    }
    for sign, holds in wanted.items():
        chosen = [place for place, number in enumerate(near) if holds(number)]
        assert rows_of(f"size:{sign}{text}", source) == chosen, sign
    if not above:
        assert rows_of(f"size:{text}", source) == [n for n, x in enumerate(near) if x == limit]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "u8", "f8"])
def test_numbers_beyond_the_type_of_the_column(dtype: str) -> None:
    source = {"pid": np.array([0, 1, 100], dtype), "seals": np.array([0, 1, 9], dtype)}
    assert rows_of("pid:<99999999999999999999", source) == [0, 1, 2]
    assert rows_of("pid:>99999999999999999999,99999999999999999999", source) == []
    assert rows_of("pid:-1,<-5", source) == []
    assert rows_of("pid:>=-1", source) == [0, 1, 2]
    assert rows_of("seals:+0x80000000", source) == []
    assert rows_of("seals:-0x80000000", source) == [0, 1, 2]
    assert rows_of("seals:+w", source) == [2]


def test_durations() -> None:
    source = {"duration_ns": np.array([999, 1000, 1_000_000, 1_500_000, 2 * 10**9])}
    assert rows_of("duration:>=1us", source) == [1, 2, 3, 4]
    assert rows_of("duration:1ms..1.5ms", source) == [2, 3]
    assert rows_of("duration:2s,999", source) == [0, 4]


def test_objects() -> None:
    source = table(dev=[1, 1, 5 << 20 | 2, 1], ino=[7, 7, 7, 8], gen=[1, 2, 1, 1])
    assert rows_of("object:1:7", source) == [0, 1]
    assert rows_of("object:1:7:2,1:8", source) == [1, 3]
    assert rows_of("object:5:2/7", source) == [2]
    assert rows_of("!object:1:7", source) == [2, 3]


def test_labels() -> None:
    reasons = ["WRITE", "FUTURE_WRITE|WRITE", "writable mapping exists", "", None]
    source = table(reason=reasons, hole=[None, "merge", None, None, None])
    assert rows_of("reason:write", source) == [0, 1]
    assert rows_of("reason:FUTURE_WRITE", source) == [1]
    assert rows_of("reason:~mapping", source) == [2]
    assert rows_of("reason:none", source) == [3, 4]
    assert rows_of("reason:any", source) == [0, 1, 2]
    assert rows_of('reason:"FUTURE_WRITE|WRITE"', source) == [1]
    assert rows_of("hole:any", source) == [1]
    assert rows_of("hole:none", source) == [0, 2, 3, 4]


def test_text_is_matched_as_it_is_stored() -> None:
    stored = [r"memfd:a\nb", "memfd:a*b", "memfd:a,b c", "memfd:AB", 'memfd:"', r"memfd:\x1b[2J"]
    source = table(name=stored, comm=["c"] * 6)
    assert rows_of(r"name:a\nb", source) == [0]
    assert rows_of('name:"a*b"', source) == [1]
    assert rows_of("name:a*b", source) == [0, 1]
    assert rows_of('name:"a,b c"', source) == [2]
    assert rows_of("name:ab", source) == []
    assert rows_of("name:AB", source) == [3]
    assert rows_of("name:~ab", source) == [3]
    assert rows_of("ab", source) == [3]
    assert rows_of('name:""""', source) == [4]
    assert rows_of(r"\x1b[", source) == [5]
    assert rows_of("memfd", source) == [0, 1, 2, 3, 4, 5]
    assert rows_of("!memfd,c", source) == []


def test_a_hostile_name_is_no_slow_one() -> None:
    """Backtracking over all places of seven stars would take longer than the test run."""
    source = table(comm=["a" * 20_000, "a" * 20_000 + "b"])
    assert rows_of("comm:~a*a*a*a*a*a*a*c", source) == []
    assert rows_of("comm:*a*a*a*a*a*a*a*b", source) == [1]


def test_nothing_asked_nothing_there() -> None:
    assert rows_of("", table(pid=[1, 2])) == [0, 1]
    assert rows_of("", pd.DataFrame(index=range(3))) == [0, 1, 2]
    assert rows_of("", {"comm": Coded(np.zeros(2, np.int8), ["a"])}) == [0, 1]
    assert rows_of("", {}) == []
    empty = table(pid=pa.array([], pa.uint32()), op=pa.array([], pa.string()), seals=[], name=[])
    for source in (empty, empty.to_pandas(), dict(zip(empty.column_names, empty.columns,
                                                      strict=True))):  # fmt: skip
        assert rows_of("pid:1 !op:mmap seals:+w name:x", source) == []


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_columns_of_only_nulls(key: Any) -> None:
    """They match nothing but what asks for the lack of a value."""
    query = parse(key.example)
    for kind in (pa.null(), pa.string() if key.form in TEXT_FORMS else pa.int64()):
        nulls = pa.table({column: pa.nulls(3, kind) for column in query.columns()})
        asks_for_null = key.name == "hole" and "none" in str(query)
        for source in (nulls, nulls.to_pandas()):
            assert rows_of(query, source) == ([0, 1, 2] if asks_for_null else [])
            assert rows_of(f"!{query}", source) == ([] if asks_for_null else [0, 1, 2])


TEXT_FORMS = (Form.TEXT, Form.WORD, Form.LABEL)


def test_missing_columns_are_named() -> None:
    raw = table(pid=[1], op=["mmap"])
    with pytest.raises(QueryError, match="no column flags") as caught:
        parse("pid:1 !ret:ok,EPERM op:mmap").mask(raw.append_column("answer", pa.array([1])))
    assert caught.value.word == "!ret:ok,EPERM"
    for key in KEYS:
        with pytest.raises(QueryError) as caught:
            parse(f"pid:1 {key.example}" if key.name != "pid" else key.example).mask(
                table(op=["mmap"]) if key.name == "pid" else table(pid=[1])
            )
        assert ("only judged decisions have it" in caught.value.problem) is key.judged
        assert caught.value.word == str(parse(key.example))


CELLS = st.text(max_size=3) | st.sampled_from(
    ["a b", '"', "~a", "*", "none", "any", "a,b", "-x", "!y", ""]
)


@settings(deadline=None)  # the first call imports pandas
@given(CELLS, CELLS)
def test_plus_takes_just_the_rows_with_the_cell(cell: str, other: str) -> None:
    values = pa.array([cell.encode("utf-8", "replace").decode(),
                       other.encode("utf-8", "replace").decode(), None])  # fmt: skip
    source = pa.table({"comm": values.dictionary_encode()})
    cell, other = values[0].as_py(), values[1].as_py()
    query = parse("ram").without([None]).plus("comm", cell)
    same = [0, 1] if cell == other else [0]
    assert rows_of(query, source) == same
    assert rows_of(parse(str(query)), source) == same
    assert rows_of(Query().plus("comm", cell, negated=True), source) == [
        row for row in range(3) if row not in same
    ]
    assert rows_of(Query().plus("comm", [cell, other]), source) == [0, 1]
    assert rows_of(Query().plus("comm", None), source) == [2]
    assert rows_of(Query().plus("comm", float("nan"), negated=True), source) == [0, 1]
    label = pa.table({"rule": values.dictionary_encode()})
    assert 0 in rows_of(Query().plus("rule", cell), label)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (None, "a:b and", '"a:b and"'),
        ("op", "mmap", "op:mmap"),
        ("op", np.uint8(3), "op:write"),
        ("op", 77, "op:op_77"),
        ("op", ["mmap", "map"], "op:mmap,map"),
        ("pid", np.uint32(7), "pid:7"),
        ("pid", 7.0, "pid:7"),
        ("fd", -1, "fd:-1"),
        ("size", 1 << 20, "size:1048576"),
        ("size", ">1M", "size:>1M"),
        ("duration_ns", 1500, "duration:1500"),
        ("seals", 0xB, "seals:=SEAL|SHRINK|WRITE"),
        ("seals", 0, "seals:none"),
        ("seals", 0x48, "seals:=WRITE|0x40"),
        ("seals", SEALS_UNKNOWN, "seals:unknown"),
        ("seals", "-s----", "seals:=SHRINK"),
        ("seals", "+w", "seals:+WRITE"),
        ("errno", "EPERM", "ret:EPERM"),
        ("answer", -1, "ret:EPERM"),
        ("answer", np.int64(34), "ret:34"),
        ("answer", None, "ret:unknown"),
        ("flags", 3, "flag:raced flag:raced-size"),
        ("flag", "raced", "flag:raced"),
        ("object", (1, np.uint64(7), 2), "object:1:7:2"),
        ("object", [(1, 7), (1, 8)], "object:1:7,1:8"),
        ("hole", pd.NA, "hole:none"),
        ("rule", "", "rule:none"),
        ("rule", "none", 'rule:"none"'),
        ("verdict", None, "verdict:none"),
        ("verdict", 5, "verdict:breach"),
    ],
)
def test_plus_a_cell(key: str | None, value: object, text: str) -> None:
    query = parse("uid:0").plus(key, value)
    assert str(query) == f"uid:0 {text}"
    assert query.plus(key, value) == query


def test_without_the_rows_of_a_cell() -> None:
    assert str(Query().plus("op", 3, negated=True)) == "!op:write"
    assert str(Query().plus("answer", None, negated=True)) == "!ret:unknown"
    assert str(Query().plus("flags", 1, negated=True)) == "!flag:raced"
    with pytest.raises(ValueError, match="not these flags together"):
        Query().plus("flags", 3, negated=True)  # rows with one of both may stay


@pytest.mark.parametrize(
    ("key", "value"),
    [("opp", 1), ("pid", None), ("pid", 1.5), ("flag", 0), ("flag", 1 << 20), ("name", 7),
     ("expected", 3), ("pid", []), ("op", [None])],
)  # fmt: skip
def test_plus_what_cannot_be_written(key: str, value: object) -> None:
    with pytest.raises((ValueError, QueryError)):
        Query().plus(key, value)
