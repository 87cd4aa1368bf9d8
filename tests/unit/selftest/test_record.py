"""``record`` and its self-test: what is told, stored, and left out."""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tracer.capture.bpf_source import Filters, Stacks
from tracer.cli import record
from tracer.selftest import run as run_module
from tracer.selftest.hooks import Count
from tracer.selftest.run import SelfTest

FINDING: dict[str, Any] = {
    "cases": 600, "variants": {"bit_0x20": "exec"}, "open": [], "bit_0x20": "exec",
    "write_chunk": 4096, "holes": [], "verdicts": {"allowed": 600}, "unexplained": [],
}  # fmt: skip


class Closed:
    """A process that only remembers that it was ended."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def ask(monkeypatch: pytest.MonkeyPatch, result: SelfTest) -> tuple[dict[str, Any], list[Any]]:
    given: list[Any] = []

    def run(*args: Any) -> SelfTest:
        given.extend(args)
        return result

    monkeypatch.setattr(run_module, "run", run)
    examiner, wanted = Closed(), Filters(denied=True)
    program: Any = object()
    stored = record._self_test(cast("Any", examiner), program, wanted)
    assert examiner.closed == 1
    assert given == [examiner, program, wanted]
    return stored, given


def test_nothing_is_told_where_all_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = SelfTest(FINDING, {"mmap": Count(10, 10)})
    stored, _ = ask(monkeypatch, result)
    assert stored == result.to_json()
    assert capsys.readouterr() == ("", "")


def test_what_is_amiss_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, _ = ask(monkeypatch, SelfTest(FINDING, {"mmap": Count(10, 8), "read": Count(2, 2)}))
    assert stored["hooks"]["mmap"] == {"expected": 10, "seen": 8, "extra": 0}
    out, err = capsys.readouterr()
    assert (out, err) == ("", "sealsnoop: SELF-TEST: hook mmap reported 8 of 10 attempts\n")


def test_not_all_of_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ask(monkeypatch, SelfTest(FINDING, {f"hook{n}": Count(1, 0) for n in range(11)}))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 9
    assert told[0] == "sealsnoop: SELF-TEST: hook hook0 reported 0 of 1 attempts"
    assert told[-1].endswith("SELF-TEST: and 3 more; 'sealsnoop doctor --self-test' lists them all")


def test_a_self_test_that_failed_is_stored_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, _ = ask(monkeypatch, SelfTest(failed="its process died"))
    assert (stored["ran"], stored["failed"]) == (False, "its process died")
    assert "SELF-TEST: it failed: its process died" in capsys.readouterr().err


@pytest.mark.parametrize("result", [None, SelfTest(FINDING, {"mmap": Count(1, 1)}).to_json()])
def test_the_manifest_has_it(tmp_path: Path, result: dict[str, Any] | None) -> None:
    kernel: Any = SimpleNamespace(btf=SimpleNamespace(digest="0" * 64))
    program: Any = SimpleNamespace(plan=SimpleNamespace(to_json=list), stacks=Stacks.DENIED)
    args = argparse.Namespace(
        source="bpf",
        method="auto",
        ring=1,
        command=["true"],
        output=str(tmp_path / "x.seal"),
        force=False,
        audit=False,
    )
    record._writer(args, kernel, program, {}, result).close("test")
    manifest = json.loads((tmp_path / "x.seal" / "manifest.json").read_text())
    assert manifest["self_test"] == result
    assert manifest["stacks"] == "denied"


def parse(*argv: str) -> argparse.Namespace:
    return record.Record().parser().parse_args(argv)


def test_it_can_be_left_out() -> None:
    assert parse().no_self_test is False
    assert parse("--no-self-test").no_self_test is True
