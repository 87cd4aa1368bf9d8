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


TYPED = {
    "doct\t--js\t": "{doctor}{--json}",
    "record --method kp\t": "{record}{--method}{kprobe}",
    "record --ops mma\t": "{record}{--ops}{mmap}",
    "record --ops mmap,trunc\t": "{record}{--ops}{mmap,truncate}",
    "record --seals write,future_\t": "{record}{--seals}{write,future_write}",
    "report x --fail-on loss,bre\t": "{report}{x}{--fail-on}{loss,breach}",
    "report x --fail-on diff\t": "{report}{x}{--fail-on}{difference}",
    "trace --fail-on los\t": "{trace}{--fail-on}{loss}",
    "live --theme sealsnoop-l\t": "{live}{--theme}{sealsnoop-light}",
    "audit ordin\t": "{audit}{ordinary-qemu}",
    "trace --audit seale\t": "{trace}{--audit}{sealed-buffer}",
    "report debian-6\t": "{report}{debian-6.1}",
    "script x --filter verdict:bre\t": "{script}{x}{--filter}{verdict:breach}",
    "script x --filter op:mmap,trunc\t": "{script}{x}{--filter}{op:mmap,truncate}",
    "script x --filter kind:huge\t": "{script}{x}{--filter}{kind:hugetlb}",
}
"""What somebody types, and what the command gets."""
QUOTED = {
    "script x --filter 'op:mmap verdict:bre\t": "{script}{x}{--filter}{op:mmap verdict:breach}",
    "script x --filter '!seals:+FUT\t": "{script}{x}{--filter}{!seals:+FUTURE_WRITE}",
}
"""bash closes the quotes, zsh leaves that to whoever types."""
WITH_EQUALS = {
    "script x --filter=verdict:unex\t": "{script}{x}{--filter=verdict:unexplained}",
    "record --source=ftr\t": "{record}{--source=ftrace}",
}


def test_by_the_tab_key_in_bash(scripts: dict[str, Path], tmp_path: Path) -> None:
    """The word is completed, and the command gets it."""
    first = f"bind 'set enable-bracketed-paste off'; source {scripts['bash']}\n{SHOW}"
    wanted = TYPED | QUOTED | WITH_EQUALS
    shell = ["bash", "--norc", "--noprofile", "-i"]
    assert _typed(shell, first, dict.fromkeys(wanted, ""), tmp_path) == list(wanted.values())


def test_by_the_tab_key_in_zsh(scripts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    shutil.copy(scripts["zsh"], tmp_path / "functions/_sealsnoop")
    first = f"fpath=({tmp_path}/functions $fpath); autoload -Uz compinit; compinit -u -D\n{SHOW}"
    wanted = TYPED | QUOTED
    close = {line: "'" if line in QUOTED else "" for line in wanted}
    assert _typed(["zsh", "-f", "-i"], first, close, tmp_path) == list(wanted.values())


def test_fish_offers_what_there_is(scripts: dict[str, Path], tmp_path: Path) -> None:
    lines = {
        "do": ["doctor"],
        # (fish 4 offers what has the letters in this order, too: --recording for --dig)
        "verify --dige": ["--digest"],
        "record --ops mmap,trunc": ["mmap,truncate"],
        "record --seals write,future_": ["write,future_write"],
        "live --theme sealsnoop-l": ["sealsnoop-light"],
        "audit ordin": ["ordinary-qemu"],
        "report debian-6": ["debian-6.1"],
        "script x --filter verdict:bre": ["verdict:breach"],
        "script x --filter 'op:mmap verdict:bre": ["op:mmap verdict:breach"],
        "script x --filter '!op:mmap,trunc": ["!op:mmap,truncate"],
        "script x --filter 'size:": ["size:>", "size:<"],
    }
    code = [f"source {scripts['fish']}"]
    code += [f'echo "= {line}"; complete -C "sealsnoop {line}"' for line in lines]
    done = subprocess.run(
        ["fish", "--no-config", "-c", "\n".join(code)], cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    offered: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("= "):
            offered[line[2:]] = []
        else:
            offered[list(offered)[-1]].append(line.split("\t")[0])
    assert {line: sorted(words) for line, words in offered.items()} == {
        line: sorted(words) for line, words in lines.items()
    }


def _typed(shell: list[str], first: str, lines: dict[str, str], cwd: Path) -> list[str]:
    """What the command gets of each line that somebody types with the tab key.

    ``lines``: what is typed after ``sealsnoop`` → what is typed behind the tab.
    """
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.chdir(cwd)
        os.execvp(shell[0], shell)
    try:
        os.write(fd, f"{first}echo re''ady\n".encode())
        _read(fd, "ready")
        got = []
        for line, close in lines.items():
            os.write(fd, f"sealsnoop {line}{close}\n".encode())
            found = re.search(r"^(\{.*\})\r?$", _read(fd, "}\r\n"), re.MULTILINE)
            got.append(found[1] if found else "")
        os.write(fd, b"exit\n")
        return got
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
