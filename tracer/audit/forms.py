"""The shapes that values of a policy may have, and the lines where its keys stand.

Each shape reads a value strictly and describes itself in JSON Schema: parser and schema come from
the same objects, so that they cannot differ. The lines are for error messages: tomllib forgets
them, and tomlkit keeps the layout but no line numbers either.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from tracer.errors import hint, nearest

Path = tuple[str | int, ...]
"""``("claim", 1, "by")``: keys, and positions in arrays of tables from 0."""

_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.)?""")
_TOKEN = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|'{3}.*?'{3,5}'''  # strings of several lines
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}\n]""",
    re.DOTALL,
)


def places(text: str) -> dict[Path, int]:
    """The line, from 1, of every key and table header of a valid TOML text.

    Keys inside inline tables are not among them: :func:`line_of` gives the key that holds them.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, statement in _statements(text):
        if statement.startswith("["):
            table = _table(_keys(statement.lstrip("[")), counts, statement.startswith("[["))
            found.setdefault(table, number)
            continue
        keys = _keys(statement)
        for end in range(1, len(keys) + 1):
            found.setdefault((*table, *keys[:end]), number)
    return found


def line_of(found: Mapping[Path, int], path: Path) -> int:
    """The line of ``path``, or of the nearest thing that holds it; 1 where nothing does."""
    return next((found[path[:end]] for end in range(len(path), -1, -1) if path[:end] in found), 1)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each key with its value and each table header, and the line where it starts."""
    number, start, depth = 1, 0, 0
    for token in _TOKEN.finditer(f"{text}\n"):
        if token[0] in ("[", "{"):
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
        elif token[0] == "\n" and not depth:
            statement = text[start : token.start()]
            yield number, statement.strip()
            number += statement.count("\n") + 1
            start = token.end()


def _table(keys: tuple[str, ...], counts: dict[Path, int], array: bool) -> Path:
    path: Path = ()
    for position, key in enumerate(keys):
        path = (*path, key)
        if array and position == len(keys) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _keys(text: str) -> tuple[str, ...]:
    """The dotted key at the start of a text."""
    keys, at = [], 0
    while match := _PART.match(text, at):
        keys.append(next(part for part in match.groups()[:3] if part is not None))
        at = match.end()
        if not match[4]:
            break
    return tuple(keys)


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
        return {"type": "string", "minLength": 1, "maxLength": self.most,
                "description": self.what}  # fmt: skip


@dataclass(frozen=True)
class Word:
    """One of some words."""

    words: tuple[str, ...]
    what: str

    def read(self, value: object, at: Path, fail: Fail) -> str:
        if not isinstance(value, str):
            fail(at, f"has to be {self.what}, not {named(value)}; {hint(None, self.words)}")
        if value not in self.words:
            meant = hint(nearest(value, self.words), self.words)
            fail(at, f"there is no {self.what} {value!r}; {meant}")
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
        return tuple(
            self.form.read(one, (*at, position), fail) for position, one in enumerate(value)
        )

    def schema(self) -> Schema:
        one = self.form.schema()
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": _MOST}]}


@dataclass(frozen=True)
class Either:
    """A table or something else, told apart by the type."""

    table: "Table"
    other: Form

    def read(self, value: object, at: Path, fail: Fail) -> Any:
        return (self.table if isinstance(value, dict) else self.other).read(value, at, fail)

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
                meant = hint(nearest(key, self.keys), self.keys)
                fail((*at, key), f"{self.what} has no key {key!r}; {meant}")
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
