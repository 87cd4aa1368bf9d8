"""Names in little room: folded, bounded, counted, and harmless still."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.output.report_sample import HOSTILE
from tracer.escape import cells, printable
from tracer.output.names import NAMES, braces, folded


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["memfd:a"], "memfd:a"),
        ([f"memfd:future-write-merge-{n}" for n in range(3)], "memfd:future-write-merge-{0,1,2}"),
        (["memfd:w0-mmap-8", "memfd:w0-mmap-12"], "memfd:w0-mmap-{8,12}"),
        (["memfd:0:1/42", "memfd:0:1/43"], "memfd:0:1/{42,43}"),
        (["memfd:a"] * 200, "memfd:a (200 files)"),
        (["memfd:a1", "memfd:a2", "memfd:a1"], "memfd:a{1,2} (3 files)"),
        (["memfd:ring", "memfd:frame"], "memfd:{ring,frame}"),
        (["memfd:a", "memfd:a1"], "memfd:a{,1}"),
        (["memfd:\\x1b", "memfd:\\x1c"], "memfd:{\\x1b,\\x1c}"),
    ],
)
def test_braces(texts: list[str], wanted: str) -> None:
    assert braces(texts) == wanted


def test_many_are_bounded_and_counted() -> None:
    text = braces([f"memfd:hole-{n}" for n in range(1200)])
    assert cells(text) <= NAMES + 2  # more than 999 are left out
    assert text.startswith("memfd:hole-{0,1,2,")
    shown = text.count(",") - text[text.index("+") :].count(",")
    assert text.endswith(f",+{1200 - shown:,}}}")


@given(st.lists(st.text(max_size=250).map(printable), min_size=1, max_size=20, unique=True))
def test_any_names_are_bounded_and_counted(texts: list[str]) -> None:
    text = braces(texts)
    assert text.isprintable()
    if len(texts) > 1 and "+" not in "".join(texts) and "," not in "".join(texts):
        more = int(text.rpartition(",+")[2].partition("}")[0]) if ",+" in text else 0
        assert more < len(texts)


def row(name: str, ino: int, **changed: Any) -> dict[str, Any]:
    return {"name": name, "ino": ino, "dev": 1, "gen": 0, "boot_id": "b", "op": "mmap",
            "count": 2, "first_ns": 100 - ino, "fd": 3} | changed  # fmt: skip


def fold(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return folded(rows, lambda one: one["op"], lambda one: str(one["name"]))


def test_rows_of_like_files_fold() -> None:
    first, other, far = fold(
        row("a-1", 1), row("b-1", 2), row("a-2", 3), row("a-3", 4, op="write"), row("a-2", 3, fd=4)
    )
    assert (first["files"], first["times"], first["count"]) == (["a-1", "a-2"], 3, 6)
    assert (first["first_ns"], first["fd"]) == (97, None)
    assert (other["files"], far["files"]) == (["b-1"], ["a-3"])


def test_files_of_one_name_are_told_by_what_they_are() -> None:
    [one] = fold(row("a", 1), row("a", 2), row("a", 2), row("a", 2, boot_id="c"))
    assert (one["files"], one["times"]) == (["a", "a", "a"], 4)


def test_names_that_attack_fold_as_they_are_escaped() -> None:
    hostile = printable(HOSTILE)
    [one] = fold(row(f"{hostile}1", 1), row(f"{hostile}2", 2))
    assert braces(one["files"]).isprintable()
