"""A lossless, harmless text form for names that anyone may choose: memfd names, comms, paths.

A memfd's name is up to 249 arbitrary bytes picked by the traced program. Printed raw it can
recolour the terminal, forge a line of output, hide behind invisible characters or turn the text
direction round. The escaped form has none of that and still gives back every byte.
"""

import re
import unicodedata
from collections.abc import Iterator

_SHORT = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LONG = {escape[1]: char for char, escape in _SHORT.items()}

_INVISIBLE = frozenset(
    # Characters that str.isprintable() accepts and that show nothing at all
    # (Default_Ignorable_Code_Point that are letters or marks, and blank braille).
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)
_MARKS_KEPT = 2
"""Combining marks kept on one character; a tower of them would paint over other lines."""

_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(rf"\\(?:([\\ntr])|x({_HEX}{{2}})|u({_HEX}{{4}})|U({_HEX}{{8}}))")
_TOKEN = re.compile(rf"\\(?:x{_HEX}{{2}}|u{_HEX}{{4}}|U{_HEX}{{8}}|.)|.", re.DOTALL)


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def _escape_char(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that is not valid UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    # \x is a byte, so code points 0x80..0xff need \u.
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _pieces(text: str) -> Iterator[str]:
    marks = _MARKS_KEPT  # nothing to combine with at the start, nor behind an escape
    for char in text:
        plain = char != "\\" and char.isprintable() and ord(char) not in _INVISIBLE
        if plain and _is_mark(char):
            marks += 1
            plain = marks <= _MARKS_KEPT
        elif plain:
            marks = 0
        if not plain:
            marks = _MARKS_KEPT
        yield char if plain else _escape_char(char)


def escape_bytes(raw: bytes) -> str:
    r"""Text form of ``raw`` that is safe to print and that :func:`unescape` turns back.

    Printable UTF-8 stays. Backslash, newline, tab, CR become ``\\ \n \t \r``, other control bytes
    and invalid UTF-8 ``\xNN``, everything else that is not visible by itself (bidi controls,
    zero-width, separators, private use, unassigned, stray combining marks) ``\uXXXX`` or
    ``\UXXXXXXXX``. Trailing NUL padding is not removed; that is for the caller.
    """
    text = raw.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_pieces(text))


def one_word(text: str) -> str:
    """:func:`printable`, and blanks are escapes, too: what stands behind it in a line is ours."""
    return printable(text).replace(" ", "\\x20")


def printable(text: str) -> str:
    """``text`` with everything that a terminal might obey made visible; backslashes stay.

    For text that should be harmless already but comes from somebody else: a recording that may
    have been forged, a message of the system.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape_char(c) for c in text)


def unescape(text: str) -> bytes:
    """The bytes that :func:`escape_bytes` was given. ValueError: not an escaped text."""
    out = bytearray()
    place = 0
    while (found := text.find("\\", place)) >= 0:
        match = _ESCAPE.match(text, found)
        if match is None:
            raise ValueError(f"bad escape at character {found}: {text[found : found + 10]!r}")
        out += text[place:found].encode()
        short, byte, *code = match.groups()
        if short:
            out += _LONG[short].encode()
        elif byte:
            out.append(int(byte, 16))
        else:
            number = int(code[0] or code[1], 16)
            if number > 0x10FFFF:
                raise ValueError(f"bad escape at character {found}: no such code point")
            out += chr(number).encode()
        place = match.end()
    return bytes(out) + text[place:].encode()


def char_width(char: str) -> int:
    """Terminal cells of one printable character: 2 for wide East Asian ones, 0 for marks."""
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cells(text: str) -> int:
    """Terminal cells that ``text`` takes."""
    return len(text) if text.isascii() else sum(map(char_width, text))


def clip(text: str, width: int) -> str:
    """``text`` cut to at most ``width`` terminal cells, with ``…`` where something was cut.

    The cut never falls inside an escape sequence nor between a character and its marks.
    """
    if cells(text) <= width:
        return text
    if width <= 0:
        return ""
    kept = []
    room = width - 1
    for token in _TOKEN.findall(text):
        room -= cells(token)
        if room < 0:
            break
        kept.append(token)
    return "".join(kept) + "…"


def pad(text: str, width: int) -> str:
    """``text`` clipped or filled with spaces to exactly ``width`` terminal cells."""
    text = clip(text, width)
    return text + " " * (width - cells(text))
