"""Text to roff (man(7)): escapes, paragraphs, and examples as they stand."""

import re
import textwrap
from collections.abc import Iterator

_SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
_WIDTH = 70
_BLOCK = re.compile(r"\n[ \t]*\n")
_PAGE = re.compile(r"\b(sealsnoop(?:-\w+)?|memfd_create|fcntl)\((\d)\)")


def escaped(text: str) -> str:
    """Text that means itself, dashes and quotes as they are typed; not only ASCII."""
    marks = "".join(_SPECIAL.get(char, char) for char in text)
    return "".join(char if char.isascii() else rf"\[u{ord(char):04X}]" for char in marks)


def line(text: str) -> str:
    """A line of text: no request, whatever it starts with."""
    text = escaped(text)
    return rf"\&{text}" if text.startswith((".", r"\(aq")) else text


def bold(text: str) -> str:
    """In bold."""
    return rf"\fB{escaped(text)}\fR"


def italic(text: str) -> str:
    """In italics, which stand for what is to be replaced."""
    return rf"\fI{escaped(text)}\fR"


def shown(text: str) -> Iterator[str]:
    """Lines as they stand, indented."""
    yield ".RS 4"
    yield ".nf"
    for one in textwrap.dedent(text).rstrip("\n").split("\n"):
        yield line(one) if one else r"\&"
    yield ".fi"
    yield ".RE"


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs parted by blank lines; indented and aligned lines are shown as they stand."""
    for place, block in enumerate(blocks(text)):
        if place:
            yield ".PP"
        head, rest = _parted(block.split("\n"))
        yield from filled(" ".join(head))
        if rest:
            yield from shown("\n".join(rest))


def filled(text: str) -> Iterator[str]:
    """A paragraph in short lines, with references to other pages in bold."""
    for one in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield _PAGE.sub(lambda match: rf"\fB{match[1]}\fR({match[2]})", line(one))


def _parted(lines: list[str]) -> tuple[list[str], list[str]]:
    """Lines that are filled, and from the first indented or aligned one those that are not."""
    for place, one in enumerate(lines):
        if re.match(r" {5,}", one):  # it continues a column of the line before
            return lines[: place - 1], lines[place - 1 :]
        if re.search(r"^ |\S {2,}\S", one):
            return lines[:place], lines[place:]
    return lines, []


def blocks(text: str) -> list[str]:
    """What blank lines part."""
    return [block.strip("\n") for block in _BLOCK.split(text.strip("\n")) if block.strip()]
