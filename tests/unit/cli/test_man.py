"""The man pages: bcc's order, every verb and option, and nothing that a formatter dislikes."""

import argparse
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from docs.make import man, roff
from sealsnoop import verbs as all_verbs
from tracer import shipped
from tracer.cli.main import parser

ROOT = Path(__file__).resolve().parents[3]
PAGES = man.pages()
BCC = [
    "NAME", "SYNOPSIS", "DESCRIPTION", "REQUIREMENTS", "OPTIONS", "EXAMPLES", "FIELDS", "OVERHEAD",
    "SOURCE", "OS", "STABILITY", "AUTHOR", "SEE ALSO",
]  # fmt: skip


def text_of(name: str, *options: str) -> str:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", "-rLL=200n", *options],
        input=PAGES[name], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_one_for_each_verb() -> None:
    assert list(PAGES) == ["sealsnoop.1", *(f"sealsnoop-{verb}.1" for verb in all_verbs())]


def test_what_comes_with_it_is_named() -> None:
    text = " ".join(text_of("sealsnoop.1").split())
    for name in (*shipped.policies(), *shipped.recordings()):
        assert re.search(rf"\b{re.escape(name)}\b", text), name


@pytest.mark.parametrize("name", PAGES)
def test_sections_in_the_order_of_bcc(name: str) -> None:
    sections = re.findall(r"^\.SH (.*)$", PAGES[name], re.MULTILINE)
    assert [one for one in sections if one != "EXIT STATUS"] == BCC
    for body in re.split(r"^\.SH .*\n", PAGES[name], flags=re.MULTILINE)[1:]:
        assert body.strip(), "no section is empty"


@pytest.mark.parametrize("name", PAGES)
def test_formatters_have_no_complaint(name: str) -> None:
    assert text_of(name, "-ww").startswith("SEALSNOOP")
    if shutil.which("mandoc"):
        lint = ["mandoc", "-Tlint", "-Wwarning", str(ROOT / "man" / name)]
        assert subprocess.run(lint, capture_output=True, text=True, check=False).stdout == ""


def test_every_option_with_its_help() -> None:
    top = parser(all_verbs())
    (verbs,) = (one for one in top._actions if isinstance(one, argparse._SubParsersAction))
    for verb, command in verbs.choices.items():
        text = " ".join(text_of(f"sealsnoop-{verb}.1").split())
        for action in command._actions:
            for option in action.option_strings:
                assert f" {option}" in text, (verb, option)
            if action.help and action.help.isascii() and "%" not in action.help:
                said = action.help.replace("(see below)", "(see Filters below)")[1:]
                assert " ".join(said.split()) in text, (verb, action.dest)


def test_examples_are_those_of_the_help() -> None:
    text = text_of("sealsnoop-report.1")
    # On a line of its own; how far to the right is groff's affair (1.24 indents otherwise).
    assert re.search(r"^ +sealsnoop report s\.seal --json \| jq \.verdicts$", text, re.M)
    assert "sealsnoop report s.seal --by fd --filter 'verdict:breach,blocked name:~ram'\n" in text


def test_text_is_never_a_request() -> None:
    assert roff.line(".SH x") == r"\&.SH x"
    assert roff.line("'x") == r"\&\(aqx"
    assert roff.line(r"\n a-b …") == r"\en a\-b \[u2026]"
    assert list(roff.paragraphs("a\nb\n\nc:\n  d  e\n")) == [
        "a b", ".PP", "c:", ".RS 4", ".nf", "d  e", ".fi", ".RE",
    ]  # fmt: skip


def test_the_wheel_carries_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (pattern,) = project["tool"]["setuptools"]["data-files"]["share/man/man1"]
    assert {path.name for path in ROOT.glob(pattern)} == set(PAGES)
