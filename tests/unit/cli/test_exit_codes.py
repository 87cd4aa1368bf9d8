"""Exit codes: one table for every verb, and 2 is never that of a wrong command line."""

import ast
import re
from argparse import Namespace
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import MagicMock

import pytest

from sealsnoop import main, verbs
from tracer.capture.bpf_source import Filters
from tracer.capture.session import Progress
from tracer.cli import record
from tracer.cli.main import find, parser
from tracer.errors import Exit

TABLE = {"FINE": 0, "FAILED": 1, "FINDING": 2, "UNCERTAIN": 3, "NOTHING": 4, "INTERRUPTED": 130}
ROOT = Path(__file__).resolve().parents[3]
ELSEWHERE = {"NOT_FOUND", "NOT_EXECUTABLE"}
"""126 and 127, as shells have them: of a command that cannot run."""


def test_the_table() -> None:
    assert {one.name: int(one) for one in Exit} == TABLE


@pytest.mark.parametrize("verb", verbs())
def test_a_wrong_option_is_no_finding(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--xyzzy"]) == 1
    assert f"sealsnoop {verb} --help" in capsys.readouterr().err


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in (*(ROOT / "tracer").rglob("*.py"), *(ROOT / "ui").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                yield path, node


def test_errors_take_their_codes_from_the_table() -> None:
    """No number is written where an error is raised."""
    with_code = [
        (path.name, node.args[1])
        for path, node in calls()
        if getattr(node.func, "id", "") in ("UserError", "CommandError") and len(node.args) > 1
    ]
    assert len(with_code) > 3, "this finds them"
    for name, code in with_code:
        known = ast.unparse(code).startswith("Exit.") or ast.unparse(code) in ELSEWHERE
        assert known, f"{name}: {ast.unparse(code)}"


@pytest.mark.parametrize("verb", verbs())
def test_the_help_has_no_other_codes(verb: str) -> None:
    """What a verb's help says of exit codes is in the table, or the command's own."""
    help_ = str(find(verbs()[verb]).settings()["epilog"])
    places = [match.start() for match in re.finditer("exit (code|status)", help_)]
    said = " ".join(help_[place:].partition("\n\n")[0] for place in places)
    found = {int(one) for one in re.findall(r"(?<![-+\d.])\b(\d+)\b(?! \+)", said)}
    assert found <= {*TABLE.values(), 126, 127}, said


def test_the_command_has_the_table_in_its_help() -> None:
    help_ = parser(verbs()).format_help()
    for one in Exit:
        assert re.search(rf"^ *{int(one)}  +{re.escape(one.meaning)}$", help_, re.MULTILINE)


class Ended:
    """A session that is over, and what it lost."""

    full, sweeps, in_flight = False, None, 0
    progress = Progress(1.0, 7, 0, 4096)
    losses: ClassVar[dict[str, int]] = {}
    incomplete: ClassVar[dict[str, int]] = {"stack": 1}

    def __init__(self, *args: Any, **more: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **more: None


@pytest.mark.parametrize(
    ("losses", "full", "code"), [({}, False, 0), ({"ring_full": 1}, False, 3), ({}, True, 3)]
)
@pytest.mark.parametrize("command", [None, 7])
def test_a_recording_that_lacks_something_is_not_certain(
    monkeypatch: pytest.MonkeyPatch,
    losses: dict[str, int],
    full: bool,
    code: int,
    command: int | None,
) -> None:
    """A command's own code stands, unless the recorder stopped before it."""
    monkeypatch.setattr(Ended, "losses", losses)
    monkeypatch.setattr(Ended, "full", full)
    monkeypatch.setattr("tracer.capture.session.Session", Ended)
    monkeypatch.setattr(record, "_keep", lambda *kept: None)
    args = Namespace(
        audit=False, quiet=True, no_baseline=True, source="ftrace", max_size="1M", stacks=None
    )
    program = SimpleNamespace(plan=SimpleNamespace(uncovered=()), follow=lambda pid: None)
    stop = SimpleNamespace(interrupts=lambda: 0, begin=lambda: None)
    writer = SimpleNamespace(close=lambda *words, **more: None, path="w.seal")
    traced = command and SimpleNamespace(
        pid=1, exit_code=command, poll=lambda: command, release=lambda: None
    )
    given: dict[str, Any] = {
        "args": args,
        "program": program,
        "writer": writer,
        "stop": stop,
        "command": traced,
        "wanted": Filters(),
    }
    run = record.Record()._record
    others: dict[str, Any] = dict.fromkeys(signature(run).parameters, MagicMock())
    assert run(**others | given) == (code if full or command is None else command)
