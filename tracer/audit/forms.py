"""Where each key of a TOML text stands: tomllib reads the values, but forgets the lines.

tomlkit keeps the layout but no line numbers either, so it would be a dependency for nothing. The
text is known to be valid TOML when it comes here; all that is left is to tell keys and table
headers from strings and comments.

The shapes that values of a policy may have: each reads a value and says so in JSON Schema.

Parser and schema come from the same objects, so that they cannot differ.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn, Protocol

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


Fail = Callable[[Path, str], NoReturn]
"""Raises the error for what stands at a path."""
Schema = dict[str, Any]
_MOST = 1000
"""In one list."""


class Form(Protocol):
    """One shape."""

    def read(self, value: object, at: Path, fail: Fail) -> Any:
        """The value, checked; ``fail`` is called for what it cannot be."""
        ...

    def schema(self) -> Schema:
        """The same as JSON Schema."""
        ...


def near(word: str, known: Sequence[str]) -> str:
    """``did you mean X?``, or what there is."""
    found = get_close_matches(word.lower()[:64], [one.lower() for one in known], 1)
    if found:
        return f"did you mean {next(one for one in known if one.lower() == found[0])}?"
    return f"there are {', '.join(known)}"


def named(value: object) -> str:
    """What a value is, in TOML's words."""
    words = {bool: "a boolean", int: "a number", float: "a number with a fraction", str: "a text",
             list: "a list", dict: "a table"}  # fmt: skip
    return words.get(type(value), f"a {type(value).__name__}")


@dataclass(frozen=True)
class Text:
    """A text that is not empty; ``check`` raises ValueError for a wrong one."""

    what: str
    check: Callable[[str], object] | None = None
    most: int = 1000
    """Characters; the longest name of a memfd takes 996 when it is escaped."""

    def read(self, value: object, at: Path, fail: Fail) -> str:
        if not isinstance(value, str) or not value:
            shown = "an empty text" if value == "" else named(value)
            fail(at, f"has to be {self.what}, not {shown}")
        if len(value) > self.most:
            fail(at, f"{len(value):,} characters, and {self.what} can have {self.most:,}")
        if self.check is not None:
            try:
                self.check(value)
            except ValueError as error:
                fail(at, str(error))
        return value

    def schema(self) -> Schema:
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": self.most,
            "description": self.what,
        }


@dataclass(frozen=True)
class Word:
    """One of some words."""

    words: tuple[str, ...]
    what: str

    def read(self, value: object, at: Path, fail: Fail) -> str:
        if not isinstance(value, str):
            fail(at, f"has to be {self.what}, not {named(value)}; {near('', self.words)}")
        if value not in self.words:
            fail(at, f"there is no {self.what} {value!r}; {near(value, self.words)}")
        return value

    def schema(self) -> Schema:
        return {"enum": list(self.words), "description": self.what}


@dataclass(frozen=True)
class Count:
    """A whole number from 0 to ``most``."""

    what: str
    most: int

    def read(self, value: object, at: Path, fail: Fail) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            fail(at, f"has to be {self.what}, not {named(value)}")
        if not 0 <= value <= self.most:
            fail(at, f"{value} is no {self.what}: it has to be from 0 to {self.most}")
        return value

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": 0, "maximum": self.most, "description": self.what}


@dataclass(frozen=True)
class Truth:
    """``true`` or ``false``; ``only``: one of them alone."""

    what: str
    only: bool | None = None

    def read(self, value: object, at: Path, fail: Fail) -> bool:
        if not isinstance(value, bool):
            fail(at, f"has to be true or false ({self.what}), not {named(value)}")
        if self.only is not None and value is not self.only:
            fail(at, f"can only be {str(self.only).lower()}; leave it out otherwise")
        return value

    def schema(self) -> Schema:
        kind: Schema = {"type": "boolean"} if self.only is None else {"const": self.only}
        return {**kind, "description": self.what}


@dataclass(frozen=True)
class Several:
    """A list of a form that is not empty; one value alone counts as a list of one."""

    form: Form

    def read(self, value: object, at: Path, fail: Fail) -> tuple[Any, ...]:
        if not isinstance(value, list):
            return (self.form.read(value, at, fail),)
        if not value:
            fail(at, "an empty list matches nothing; leave it out, or name something")
        if len(value) > _MOST:
            fail(at, f"{len(value):,} in one list, which can have {_MOST:,}")
        return tuple(self.form.read(one, (*at, place), fail) for place, one in enumerate(value))

    def schema(self) -> Schema:
        one = self.form.schema()
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": _MOST}]}


@dataclass(frozen=True)
class Either:
    """A table or something else, told apart by the type."""

    table: "Table"
    other: Form

    def read(self, value: object, at: Path, fail: Fail) -> Any:
        form: Form = self.table if isinstance(value, dict) else self.other
        return form.read(value, at, fail)

    def schema(self) -> Schema:
        return {"anyOf": [self.other.schema(), self.table.schema()]}


@dataclass(frozen=True)
class Key:
    """One key of a table."""

    form: Form
    text: str
    """What it means, for the reference and the schema."""
    required: bool = False


@dataclass(frozen=True)
class Table:
    """A table with known keys and no others."""

    what: str
    keys: Mapping[str, Key]
    empty: bool = True
    """Whether it may have none."""

    def read(self, value: object, at: Path, fail: Fail) -> dict[str, Any]:
        if not isinstance(value, dict):
            fail(at, f"has to be a table ({self.what}), not {named(value)}")
        for key in value:
            if key not in self.keys:
                fail((*at, key), f"{self.what} has no key {key!r}; {near(key, list(self.keys))}")
        for name, key in self.keys.items():
            if key.required and name not in value:
                fail(at, f"{self.what} needs the key {name}: {key.text}")
        if not value and not self.empty:
            fail(at, f"{self.what} is empty; it needs one of {', '.join(self.keys)}")
        return {name: self.keys[name].form.read(one, (*at, name), fail)
                for name, one in value.items()}  # fmt: skip

    def schema(self) -> Schema:
        found: Schema = {
            "type": "object",
            "description": self.what,
            "properties": {
                name: {**key.form.schema(), "description": key.text}
                for name, key in self.keys.items()
            },
            "additionalProperties": False,
        }
        if required := [name for name, key in self.keys.items() if key.required]:
            found["required"] = required
        return found if self.empty else {**found, "minProperties": 1}
