"""Text values: literal text, ``*`` and ``?``, ``~`` for "contains", and how each is quoted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tracer.model.escape import escape_bytes, unescape
from tracer.query.lexer import Char, Part

_SAFE = re.compile(r"[\w./@+%=:\\()\[\]{}#$^&;'|<>~!-]*")
"""What needs no quotes behind a key; ``~`` in front does, as it means "contains"."""
_SAFE_BARE = re.compile(r"\w[\w./@+%-]*")
RESERVED = frozenset({"and", "or", "not"})
"""Bare words that people write between words; to search for them they are quoted."""


def quote(text: str, bare: bool = False) -> str:
    """``text`` so that it is read as just these characters."""
    if bare:
        plain = bool(_SAFE_BARE.fullmatch(text)) and text.lower() not in RESERVED
    else:
        plain = text != "" and bool(_SAFE.fullmatch(text)) and not text.startswith("~")
    return text if plain else '"' + text.replace('"', '""') + '"'


def label(text: str, known: Sequence[str]) -> str:
    """``text`` as a word of the rules; ``known`` are those that need no quotes, if there are any.

    ``none`` and ``any`` mean something else without quotes.
    """
    lower = text.lower()
    foreign = known and lower not in {word.lower() for word in known}
    written = quote(text)
    if written == text and (foreign or lower in ("none", "any")):
        return f'"{text}"'
    return written


COMM_BYTES = 15
"""Of a command's name the kernel keeps no more (include/linux/sched.h: TASK_COMM_LEN - 1)."""


def comm_problem(literals: Sequence[str]) -> str:
    """Why no command can have a name with these texts in it; empty where one can.

    ``literals``: in the escaped form that names are compared in.
    """
    kept = b""
    for text in literals:
        try:
            kept += unescape(text)
        except ValueError:  # the other half of an escape is what a wildcard stands for
            continue
    if len(kept) <= COMM_BYTES:
        return ""
    shown = escape_bytes(kept[:COMM_BYTES])
    return (
        f"the kernel keeps {COMM_BYTES} bytes of a command's name, so that nothing longer matches; "
        f"of this one it keeps {shown!r}"
    )


@dataclass(frozen=True)
class Pattern:
    """``pieces``: literal text and the wildcards ``*`` and ``?`` in turn."""

    pieces: tuple[tuple[str, bool], ...]
    """``(text, whether it is a wildcard)``; no two literal texts in a row."""
    contains: bool = False

    @property
    def literal(self) -> str | None:
        """The one text it matches; None where there are more."""
        if self.contains or any(wild for _, wild in self.pieces):
            return None
        return "".join(text for text, _ in self.pieces)

    def lower(self) -> "Pattern":
        """In lower case."""
        return Pattern(tuple((text.lower(), wild) for text, wild in self.pieces), self.contains)

    def written(self, bare: bool = False) -> str:
        """As a filter has it; ``bare``: without a key, where "contains" goes without saying."""
        body = "".join(text if wild else quote(text, bare) for text, wild in self.pieces)
        return f"~{body}" if self.contains and not bare else body

    def regex(self) -> str:
        """For ``re.fullmatch`` with DOTALL, in time linear in the text for each ``*``."""
        segments = [""]
        for text, wild in self.pieces:
            if text == "*" and wild:
                segments.append("")
            else:
                segments[-1] += "." if wild else re.escape(text)
        if self.contains:
            segments = ["", *segments, ""]
        if len(segments) == 1:
            return segments[0]
        # What lies between two stars matches at its first place or nowhere: atomic groups keep
        # a hostile name from making the search try all others (as fnmatch.translate does).
        middle = "".join(f"(?>.*?{segment})" for segment in segments[1:-1] if segment)
        return f"{segments[0]}{middle}.*{segments[-1]}"


def glob(text: str) -> Pattern:
    """The pattern of a text in which ``*`` and ``?`` are wildcards and all else is what it is."""
    pieces = re.split(r"([*?])", text)
    return Pattern(tuple((piece, piece in ("*", "?")) for piece in pieces if piece))


@lru_cache(maxsize=4096)
def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(glob(text).regex(), re.DOTALL)


def matches(text: str, name: str) -> bool:
    """Whether all of ``name`` is as the glob ``text`` says; upper and lower case differ."""
    return _compiled(text).fullmatch(name) is not None


def _pieces(chars: tuple[Char, ...]) -> tuple[tuple[str, bool], ...]:
    pieces: list[tuple[str, bool]] = []
    for char in chars:
        wild = char.text in ("*", "?") and not char.quoted
        if not wild and pieces and not pieces[-1][1]:
            pieces[-1] = (pieces[-1][0] + char.text, False)
        elif char.text or len(chars) == 1:
            pieces.append((char.text, wild))
    return tuple(pieces)


def pattern(part: Part, bare: bool = False) -> Pattern:
    """The pattern that ``part`` stands for. QueryError where there is nothing to look for."""
    chars = part.chars
    contains = bare
    if chars and chars[0].text == "~" and not chars[0].quoted:
        contains, chars = True, chars[1:]
    pieces = _pieces(chars)
    if not pieces or (contains and pieces == (("", False),)):
        raise part.error("here is no text to look for")
    return Pattern(pieces, contains)
