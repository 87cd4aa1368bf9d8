"""judge(): DataFrames as a recording gives them, and worse ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.unit.rules.rule_cases import (
    EXEC,
    GROW,
    MODERN,
    PAGE,
    SIZE,
    WRITE,
    Row,
    chmod,
    columns,
    event,
    mmap,
    outcomes,
    write,
)
from tests.unit.rules.rule_table import CASES
from tracer.analysis.batches import Source
from tracer.analysis.decisions import NEEDED, Decisions, batches
from tracer.analysis.tables import judge
from tracer.recording.reader import Recording
from tracer.rules.verdicts import Verdict
from tracer.rules.verdicts import words as verdict_words
from tracer.words import Kind, Op, words

NEW = ["expected", "reason", "rule", "hole", "verdict", "severity"]
OPS, KINDS = words(Op), words(Kind)
OF_OBJECT = ["folio_order_max", "owner_uid"]


def frame(rows: list[Row], objects: bool = False) -> pd.DataFrame:
    """Rows as the reader gives them: words for numbers, an object each."""
    table = pd.DataFrame(columns(rows))
    table["op"] = pd.Categorical([OPS[number] for number in table["op"]])
    table["kind"] = pd.Categorical([KINDS[number] for number in table["kind"]])
    table["dev"] = np.uint32(1)
    table["gen"] = np.uint32(7)
    table["ino"] = np.arange(100, 100 + len(table), dtype=np.uint64)
    return table if objects else table.drop(columns=OF_OBJECT)


def objects_of(rows: list[Row], **columns: Any) -> pd.DataFrame:
    return frame(rows, objects=True)[["dev", "ino", "gen", *OF_OBJECT]].assign(**columns)


def test_as_the_judge_says() -> None:
    rows = [case.row for case in CASES if case.variants == MODERN]
    judged = judge(frame(rows), objects_of(rows), MODERN)
    for place, result in enumerate(outcomes(rows)):
        assert result is not None
        line = judged.iloc[place]
        assert (line["verdict"], line["expected"]) == (result.verdict.word, result.expected)
        assert (line["reason"], line["rule"]) == (result.reason, result.rule)
        assert line["severity"] == result.severity
        assert line["hole"] == result.hole if result.hole else pd.isna(line["hole"])


def test_columns_are_added_and_nothing_else_changes() -> None:
    rows = [write(0, 9, seals=WRITE), mmap(seals=WRITE)]
    events = frame(rows)
    before = events.copy()
    judged = judge(events, None, MODERN)
    assert list(judged.columns) == [*events.columns, *NEW]
    pd.testing.assert_frame_equal(events, before)
    pd.testing.assert_frame_equal(judged[events.columns], before)
    assert judged["severity"].dtype == np.int8
    assert list(judged["verdict"].cat.categories) == list(verdict_words())
    assert judged["verdict"].max() == "breach"
    assert (judged["verdict"] > "blocked").all()
    assert all(isinstance(judged[name].dtype, pd.CategoricalDtype) for name in NEW[:-1])


def test_an_index_of_its_own_stays() -> None:
    events = frame([write(0, 9), write(0, 9, "EPERM", seals=WRITE)]).set_index(pd.Index([70, 3]))
    judged = judge(events, None, MODERN)
    assert judged["verdict"].to_dict() == {70: "allowed", 3: "blocked"}


def test_no_decision_has_nothing() -> None:
    judged = judge(frame([event(Op.MAP), write(0, 9), event(Op.UNMAP)]), None, MODERN)
    assert judged["verdict"].isna().tolist() == [True, False, True]
    assert judged[["expected", "reason", "rule", "hole"]].isna().iloc[0].all()
    assert judged["severity"].tolist() == [0, 0, 0]


def test_only_facts() -> None:
    judged = judge(frame([event(Op.MAP)]), None, MODERN)
    assert judged["verdict"].isna().all()


@pytest.mark.parametrize("objects", [True, False])
def test_empty(objects: bool) -> None:
    judged = judge(frame([]), objects_of([]) if objects else None, MODERN)
    assert list(judged.columns[-6:]) == NEW
    assert len(judged) == 0


def test_numbers_do_as_well_as_words() -> None:
    rows = [write(0, 9, "EPERM", seals=WRITE), mmap(seals=WRITE), event(Op.MAP)]
    events = frame(rows).assign(op=[row["op"] for row in rows], kind=[row["kind"] for row in rows])
    strings = frame(rows).astype({"op": "str", "kind": "str"})
    verdicts = [judge(one, None, MODERN)["verdict"].tolist() for one in (events, strings)]
    assert verdicts[0][:2] == verdicts[1][:2] == ["blocked", "breach"]


def test_words_that_nobody_knows() -> None:
    events = frame([write(0, 9, seals=WRITE)] * 4)
    events["op"] = ["op_77", "write", None, "write"]
    events["kind"] = ["memfd", "kind_9", "memfd", None]
    judged = judge(events, None, MODERN)
    assert judged["verdict"].tolist() == ["indeterminate"] * 4
    assert judged["reason"].tolist() == [
        "no rules for this operation",
        "unknown kind of file",
        "no rules for this operation",
        "unknown kind of file",
    ]


PARTLY = write(0, SIZE + 1, "EPERM", seals=GROW)
"""Its verdict depends on the object's largest folio."""


def test_objects_are_joined() -> None:
    rows = [PARTLY, PARTLY | {"folio_order_max": 9}, chmod(0o600, "EPERM", owner_uid=5)]
    judged = judge(frame(rows), objects_of(rows), MODERN)
    assert judged["verdict"].tolist() == ["unexplained", "blocked", "error"]


def test_objects_that_were_never_announced() -> None:
    rows = [PARTLY, PARTLY | {"folio_order_max": 9}, chmod(0o600, "EPERM", owner_uid=5)]
    for objects in (None, objects_of(rows).iloc[:0], objects_of(rows).assign(gen=8)):
        judged = judge(frame(rows), objects, MODERN)
        assert judged["verdict"].tolist() == ["indeterminate", "indeterminate", "error"]
        assert judged["reason"].iloc[0] == "the file's largest folio is not known"


def test_the_last_announcement_counts() -> None:
    objects = pd.concat([objects_of([PARTLY]), objects_of([PARTLY | {"folio_order_max": 9}])])
    judged = judge(frame([PARTLY]), objects, MODERN)
    assert judged["verdict"].tolist() == ["blocked"]
    assert len(judge(frame([PARTLY]), objects[::-1], MODERN)) == 1


def test_inodes_of_two_machines() -> None:
    events = pd.concat([frame([PARTLY]).assign(boot_id=boot) for boot in ("a", "b")])
    objects = pd.concat(
        [
            objects_of([PARTLY], boot_id="a"),
            objects_of([PARTLY | {"folio_order_max": 9}], boot_id="b"),
        ]
    )
    assert judge(events, objects, MODERN)["verdict"].tolist() == ["unexplained", "blocked"]


@pytest.mark.parametrize("name", ["seals", "seals_after", "flags", "op", "kind"])
@pytest.mark.parametrize("how", ["missing", "null"])
def test_without_what_matters_nothing_is_certain(name: str, how: str) -> None:
    events = frame([write(0, 9, seals=WRITE)])
    events = events.drop(columns=name) if how == "missing" else events.assign(**{name: None})
    judged = judge(events, None, MODERN)
    assert judged["verdict"].tolist() == ["indeterminate"]


def test_columns_of_only_nulls() -> None:
    events = frame([write(0, 9, seals=WRITE), mmap(seals=EXEC)])
    nothing = events.assign(**dict.fromkeys(events.columns, None))
    assert judge(nothing, None, MODERN)["verdict"].tolist() == ["indeterminate"] * 2


def test_nullable_and_float_columns() -> None:
    events = frame([write(0, 9, "EPERM", seals=WRITE), write(PAGE, 9)])
    nullable = events.convert_dtypes()
    floats = events.astype({"seals": "float64", "offset": "float64", "answer": "float64"})
    for one in (nullable, floats, events.astype({"seals": "object"})):
        assert judge(one, None, MODERN)["verdict"].tolist() == ["blocked", "allowed"]


def test_a_single_null_among_numbers() -> None:
    events = frame([write(0, 9, "EPERM", seals=WRITE)] * 2).convert_dtypes()
    events.loc[1, "seals"] = None
    judged = judge(events, None, MODERN)
    assert judged["verdict"].tolist() == ["blocked", "indeterminate"]
    assert judged["reason"].tolist() == ["WRITE", "seals not known"]


def test_a_hole_that_the_self_test_did_not_find_explains_nothing() -> None:
    """What goes through there is new on this kernel; without a self-test nobody knows."""
    path = Path(__file__).parents[3] / "samples" / "recordings" / "debian-6.1.seal"
    with Recording.open(path) as recording:
        source = Source.of(recording)
        assert source.holes is not None
        merge = {"future-write-merge"}
        assert source.holes > merge
        for found, expected in (
            (None, 8),
            (source.holes, 8),
            (frozenset(merge), 3),
            (frozenset(), 0),
        ):
            decisions, breaches, named = Decisions(), 0, 0
            for batch in batches(recording, NEEDED, source=replace(source, holes=found)):
                judged = decisions.judge(batch)
                there = judged["verdict"] == Verdict.BREACH
                known = np.array([word is not None for word in judged["hole"].words])
                breaches += int(there.sum())
                named += int(known[judged["hole"].codes[there]].sum())
            assert (breaches, named) == (8, expected), found
