"""Where each key of a TOML text stands: tomllib reads the values, but forgets the lines.

tomlkit keeps the layout but no line numbers either, so it would be a dependency for nothing. The
text is known to be valid TOML when it comes here; all that is left is to tell keys and table
headers from strings and comments.
"""

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]
"""``("claim", 1, "by")``: keys, and places in arrays of tables from 0."""

_HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?")
_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.)?""")
_OPENERS = re.compile(r'"""|\'\'\'|"|\'|#|[\[\]{}]')


def places(text: str) -> dict[Path, int]:
    """The line, from 1, of every key and table header of a valid TOML text.

    Keys inside inline tables stand for themselves only if they are at the begin of a line; others
    are found by the key that holds them (:func:`line_of`).
    """
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, line in _statements(text):
        header = _HEADER.fullmatch(line)
        if header and "=" not in _outside_strings(line):
            table = _table(_keys(header[2]), counts, header[1] == "[[")
            found.setdefault(table, number)
            continue
        keys = _keys(line)
        for end in range(1, len(keys) + 1):
            found.setdefault((*table, *keys[:end]), number)
    return found


def line_of(found: dict[Path, int], path: Path) -> int:
    """The line of ``path``, or of the nearest thing that holds it; 1 where nothing does."""
    for end in range(len(path), -1, -1):
        if path[:end] in found:
            return found[path[:end]]
    return 1


def _table(keys: tuple[str, ...], counts: dict[Path, int], array: bool) -> Path:
    path: Path = ()
    for place, key in enumerate(keys):
        path = (*path, key)
        if array and place == len(keys) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _keys(text: str) -> tuple[str, ...]:
    """The dotted key at the begin of a text."""
    keys, at = [], 0
    while match := _PART.match(text, at):
        keys.append(next(part for part in match.groups()[:3] if part is not None))
        at = match.end()
        if not match[4]:
            break
    return tuple(keys)


def _outside_strings(line: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*', "", line)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The first line of each key or header, with its number."""
    inside = ""  # the end of the multi-line string that we are in
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        starts = not inside and depth == 0
        header = starts and line.lstrip().startswith("[")
        inside, depth = _state(line, inside, depth)
        if header:
            depth = 0
        if starts and line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def _state(line: str, inside: str, depth: int) -> tuple[str, int]:
    """Whether the line ends in a multi-line string, and how many brackets are open then."""
    at = 0
    while at < len(line):
        if inside:
            if line[at] == "\\" and inside == '"""':
                at += 2
            elif line.startswith(inside, at):
                at += 3
                inside = ""
            else:
                at += 1
            continue
        match = _OPENERS.search(line, at)
        if match is None or match[0] == "#":
            break
        at = match.end()
        if match[0] in ('"""', "'''"):
            inside = match[0]
        elif match[0] in "\"'":
            at = _string_end(line, at, match[0])
        else:
            depth += 1 if match[0] in "[{" else -1
    return inside, depth


def _string_end(line: str, at: int, quote: str) -> int:
    while at < len(line) and line[at] != quote:
        at += 2 if line[at] == "\\" and quote == '"' else 1
    return at + 1
