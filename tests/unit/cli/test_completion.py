"""``sealsnoop completion``: the scripts work in the shells that they are for."""

import argparse
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sealsnoop
from tracer.cli import completion
from tracer.cli.main import parser

VERBS = sealsnoop.verbs()
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The script of each shell, as the command prints it."""
    folder = tmp_path_factory.mktemp("completion")
    made = {}
    for shell in completion.SHELLS:
        done = subprocess.run(
            [sys.executable, "-m", "sealsnoop", "completion", shell],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        made[shell] = folder / shell
        made[shell].write_text(done.stdout)
    return made


def complete(script: Path, *words: str, cwd: Path = ROOT) -> list[str]:
    """What bash offers for the last of ``words``."""
    line = " ".join(f"'{word}'" for word in ("sealsnoop", *words))
    code = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
        "_shtab_sealsnoop 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", code], cwd=cwd, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def verbs() -> dict[str, argparse.ArgumentParser]:
    top = parser(VERBS)
    actions = [one for one in top._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(actions[0].choices)


def test_bash_knows_every_verb(scripts: dict[str, Path]) -> None:
    assert sorted(complete(scripts["bash"], "")) == sorted(VERBS)
    assert sorted(complete(scripts["bash"], "rep")) == ["replay", "report"]
    assert complete(scripts["bash"], "xyz") == []


@pytest.mark.parametrize("verb", VERBS)
def test_bash_knows_every_option(verb: str, scripts: dict[str, Path]) -> None:
    known = {option for action in verbs()[verb]._actions for option in action.option_strings}
    assert set(complete(scripts["bash"], verb, "-")) == known


def test_bash_knows_choices(scripts: dict[str, Path]) -> None:
    assert complete(scripts["bash"], "record", "--method", "") == ["auto", "fexit", "kprobe"]
    assert complete(scripts["bash"], "completion", "z") == ["zsh"]


def test_bash_offers_folders_for_recordings_and_files_for_policies(
    scripts: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "a.seal").mkdir()
    (tmp_path / "a.toml").touch()
    assert complete(scripts["bash"], "report", "a", cwd=tmp_path) == ["a.seal"]
    assert complete(scripts["bash"], "record", "-o", "a", cwd=tmp_path) == ["a.seal"]
    assert set(complete(scripts["bash"], "audit", "a", cwd=tmp_path)) == {"a.seal", "a.toml"}


SHOW = "sealsnoop() { printf '{%s}' \"$@\"; echo; }\n"


def test_by_the_tab_key_in_bash(scripts: dict[str, Path]) -> None:
    """The word is completed, and the command gets it."""
    first = f"bind 'set enable-bracketed-paste off'; source {scripts['bash']}\n{SHOW}"
    said = _typed(["bash", "--norc", "--noprofile", "-i"], first, "{doctor}{--json}")
    assert "{doctor}{--json}" in said


def test_by_the_tab_key_in_zsh(scripts: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(scripts["zsh"], tmp_path / "_sealsnoop")
    first = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D\n{SHOW}"
    said = _typed(["zsh", "-f", "-i"], first, "{doctor}{--json}")
    assert "{doctor}{--json}" in said


def test_fish_offers_what_there_is(scripts: dict[str, Path], tmp_path: Path) -> None:
    code = f"source {scripts['fish']}; complete -C 'sealsnoop do'; complete -C 'sealsnoop ls --'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", code],
        env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    offered = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert offered == ["doctor", "--all", "--help", "--json", "--name", "--pid"]


def _typed(shell: list[str], first: str, until: str) -> str:
    """What an interactive shell says when somebody types and uses the tab key."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execvp(shell[0], shell)
    try:
        os.write(fd, f"{first}echo re''ady\n".encode())
        said = _read(fd, "ready")
        os.write(fd, b"sealsnoop doct\t--js\t\n")
        said += _read(fd, until)
        os.write(fd, b"exit\n")
        return said
    finally:
        os.close(fd)
        os.waitpid(pid, 0)


def _read(fd: int, until: str) -> str:
    said, end = "", time.monotonic() + 30
    while until not in said and time.monotonic() < end:
        if select.select([fd], [], [], 1)[0]:
            said += os.read(fd, 65536).decode(errors="replace")
    return said


def test_fish_and_zsh_have_every_verb_and_option(scripts: dict[str, Path]) -> None:
    fish, zsh = scripts["fish"].read_text(), scripts["zsh"].read_text()
    assert zsh.startswith("#compdef sealsnoop")
    for verb, one in verbs().items():
        assert re.search(rf"\b{verb}\b", fish)
        assert f"\n    {verb}:" in zsh
        for action in one._actions:
            for option in action.option_strings:
                assert option in zsh
                assert re.search(rf"(-l|-s) '?{option.lstrip('-')}\b", fish), option
