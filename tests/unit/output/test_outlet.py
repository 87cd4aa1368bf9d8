"""What is printed is harmless, whatever a recording says and whichever verb prints it."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealsnoop import main
from tests.unit.recording.store_records import end_changed
from tracer.output import console as outlet
from tracer.output.data import csv_cell

ROOT = Path(__file__).resolve().parents[3]
EVIL = "\x1b]0;t\x07\x1b[2J\r\nx.seal: ok\u202e\x9b31m\x7f"
"""A title, a cleared screen, a line of its own, text from right to left, a colour."""
SAMPLE = ROOT / "samples" / "recordings" / "debian-6.1.seal"
OWN_STYLES = re.compile(r"\x1b\[[0-9;]*m")
POLICY = """
name = "p"
scope = { kind = "memfd" }
[[claim]]
claim = "no-breach"
"""


def poisoned(value: Any, keep: tuple[str, ...] = ()) -> Any:
    """``value`` with something evil behind each of its texts."""
    if isinstance(value, dict):
        return {key: one if key in keep else poisoned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return value + EVIL if isinstance(value, str) else value


@pytest.fixture
def forged(tmp_path: Path) -> Path:
    """A recording that somebody rewrote: its chain fits."""
    path = tmp_path / f"a{EVIL.replace('/', '')}.seal"
    shutil.copytree(SAMPLE, path)
    manifest = json.loads((path / "manifest.json").read_bytes())
    for key in ("host", "command", "command_line", "kernel", "blind_spots"):
        manifest[key] = poisoned(manifest[key], ("release",))
    for hook in manifest["hooks"]:
        hook["reason"] = hook["unseen"] = EVIL
        hook["live"] = False
    (path / "manifest.json").write_text(json.dumps(manifest))
    baseline = {"start": {"problems": [EVIL]}}
    return end_changed(path, reason=EVIL, lost={EVIL: 3}, baseline=baseline)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ["verify", "RECORDING"],
        ["verify", "RECORDING", "--json"],
        ["script", "RECORDING"],
        ["script", "RECORDING", "--json"],
        ["report", "RECORDING"],
        ["report", "RECORDING", "--json"],
        ["report", "RECORDING", "--csv"],
        ["audit", "POLICY", "RECORDING"],
        ["audit", "POLICY", "RECORDING", "--json"],
    ],
    ids=" ".join,
)
def test_no_verb_lets_anything_through(
    forged: Path,
    words: list[str],
    terminal: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    places = {"POLICY": str(tmp_path / "policy.toml"), "RECORDING": str(forged)}
    main([places.get(word, word) for word in words])
    out, err = capsys.readouterr()
    assert len(out) > 100, "it did print something"
    out = OWN_STYLES.sub("", out) if terminal else out
    for stream in (out, err):
        lines = stream.split("\n")
        assert [one for one in lines if not one.isprintable()] == []
        assert [one for one in lines if one.lstrip().startswith("x.seal: ok")] == []
    if "--json" in words:
        for text in out.splitlines() if words[0] == "script" else [out]:
            json.loads(text)


def test_a_failure_quotes_harmlessly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", f"/nowhere/{EVIL}"]) == 1
    first, *more = capsys.readouterr().err.rstrip("\n").split("\n")
    assert first.startswith("sealsnoop: ")
    assert all(one.startswith("  ") for one in more)
    assert all(one.isprintable() for one in (first, *more))


@given(st.text())
def test_harmless(text: str) -> None:
    shown = outlet.harmless(text)
    assert all(char.isprintable() or char in "\n\t" for char in shown)
    assert json.loads(f'"{outlet.harmless("".join(c for c in text if ord(c) > 127))}"') is not None


def test_a_console_is_harmless_and_has_its_own_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.text import Text

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with outlet.outlets():
        outlet.console(80).print(Text("a\x1b[8mb\x9bc", "red"))
    assert capsys.readouterr().out == "\x1b[31ma\\u001b[8mb\\u009bc\x1b[0m\n"


def test_the_streams_come_back() -> None:
    before = sys.stdout, sys.stderr
    with outlet.outlets():
        assert isinstance(sys.stdout, outlet.Outlet)
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("first", "=+-@\t\r\uff1d\uff0b\uff0d\uff20'")
def test_csv_is_no_formula(first: str) -> None:
    cell = csv_cell(f"{first}1+1")
    assert cell == f'"\'{first}1+1"'
    assert cell[1:-1].removeprefix("'") == f"{first}1+1"
