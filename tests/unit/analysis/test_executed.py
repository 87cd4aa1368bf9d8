"""What was executed from memory files, and whether it could still be changed then."""

from pathlib import Path
from typing import Any

from tests.unit.output.report_recordings import write
from tracer.output.report import Report, Request, build

PATH, PROC_FD, EMPTY_PATH, INTERPRETER, CHECK = 0x101, 0x102, 0x103, 0x200, 0x10103
SEALED = 0x0E


def ran(seals: int, arg: int = EMPTY_PATH, **more: Any) -> dict[str, Any]:
    return {"op": 35, "arg": arg, "seals": seals, "seals_after": seals, "answer": 0, **more}


def report(path: Path, *rows: dict[str, Any], **question: Any) -> Report:
    recording = write(path / "a.seal", list(rows))
    return build([str(recording)], Request(**question), lambda *_: None, lambda _: None)


def said(found: Report) -> list[tuple[str, str, int]]:
    frame = found.executed
    return list(zip(frame["state"], frame["how"], frame["times"].tolist(), strict=True))


def test_a_self_copy_is_immutable_and_a_dropper_is_not(tmp_path: Path) -> None:
    found = report(
        tmp_path, ran(SEALED | 1), ran(1, PROC_FD, ino=8), ran(SEALED | 1), ran(0x16, PATH, ino=8)
    )
    assert said(found) == [
        ("could be changed", "by /proc/self/fd", 1),
        ("could be changed", "by path", 1),  # FUTURE_WRITE leaves the mappings that are there
        ("immutable", "by AT_EMPTY_PATH", 2),
    ]
    assert list(found.executed["name"]) == ["memfd:other", "memfd:other", "memfd:frame"]


def test_an_interpreter_is_executed_too(tmp_path: Path) -> None:
    assert said(report(tmp_path, ran(SEALED, INTERPRETER))) == [("immutable", "as interpreter", 1)]


def test_what_was_sealed_meanwhile_was_not_when_it_began(tmp_path: Path) -> None:
    found = report(tmp_path, ran(0, seals_after=SEALED, flags=1))
    assert said(found) == [("could be changed", "by AT_EMPTY_PATH", 1)]


def test_what_was_refused_or_only_asked_for_was_not_executed(tmp_path: Path) -> None:
    found = report(tmp_path, ran(0, answer=-13), ran(0, CHECK), {"op": 3, "answer": 1})
    assert found.executed.empty


def test_where_nothing_was_executed_there_is_no_table(tmp_path: Path) -> None:
    assert report(tmp_path, {"op": 3, "answer": 1}).executed.empty
