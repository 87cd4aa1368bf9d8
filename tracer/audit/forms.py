"""The forms that values of a policy may have, and the lines where its keys stand.

A form reads a value strictly, and has the same as JSON Schema. The lines are for error messages:
tomllib forgets them, and tomlkit keeps the layout but no line numbers either.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

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


class Form(NamedTuple):
    """What a value may be."""

    read: Callable[[object, Path, Fail], Any]
    """Gives the value, checked; calls ``fail`` for what it cannot be."""
    schema: Schema


class Key(NamedTuple):
    """One key of a table."""

    form: Form
    text: str
    """What it means, for the reference and the schema."""
    required: bool = False


def named(value: object) -> str:
    """What a value is, in TOML's words."""
    words = {bool: "a boolean", int: "a number", float: "a number with a fraction", str: "a text",
             list: "a list", dict: "a table"}  # fmt: skip
    return words.get(type(value), f"a {type(value).__name__}")


def text(what: str, check: Callable[[str], object] | None = None, most: int = 1000) -> Form:
    """A text that is not empty; ``check`` raises ValueError for a wrong one.

    ``most``: characters. The longest name of a memfd takes 996 when it is escaped.
    """

    def read(value: object, at: Path, fail: Fail) -> str:
        if not isinstance(value, str) or not value:
            fail(at, f"has to be {what}, not {'an empty text' if value == '' else named(value)}")
        if len(value) > most:
            fail(at, f"{len(value):,} characters, and {what} can have {most:,}")
        try:
            if check is not None:
                check(value)
        except ValueError as error:
            fail(at, str(error))
        return value

    limits = {"minLength": 1, "maxLength": most}
    return Form(read, {"type": "string", **limits, "description": what})


def word(words: Iterable[str], what: str, make: Callable[[str], Any] = str) -> Form:
    """One of some words; ``make`` makes the value of it."""
    known = tuple(words)

    def read(value: object, at: Path, fail: Fail) -> Any:
        if not isinstance(value, str):
            fail(at, f"has to be {what}, not {named(value)}; {hint(None, known)}")
        if value not in known:
            fail(at, f"there is no {what} {value!r}; {hint(nearest(value, known), known)}")
        return make(value)

    return Form(read, {"enum": list(known), "description": what})


def count(what: str, most: int) -> Form:
    """A whole number from 0 to ``most``."""

    def read(value: object, at: Path, fail: Fail) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            fail(at, f"has to be {what}, not {named(value)}")
        if not 0 <= value <= most:
            fail(at, f"{value} is no {what}: it has to be from 0 to {most}")
        return value

    return Form(read, {"type": "integer", "minimum": 0, "maximum": most, "description": what})


def truth(what: str, only: bool | None = None, meaning: object = None) -> Form:
    """``true`` or ``false``; ``only``: one of them alone, which stands for ``meaning``."""

    def read(value: object, at: Path, fail: Fail) -> Any:
        if not isinstance(value, bool):
            fail(at, f"has to be true or false ({what}), not {named(value)}")
        if only is None:
            return value
        if value is not only:
            fail(at, f"can only be {str(only).lower()}; leave it out otherwise")
        return meaning

    kind: Schema = {"type": "boolean"} if only is None else {"const": only}
    return Form(read, {**kind, "description": what})


def several(form: Form) -> Form:
    """A list of a form that is not empty, read as a tuple; one value alone is a list of one."""

    def read(value: object, at: Path, fail: Fail) -> tuple[Any, ...]:
        if not isinstance(value, list):
            return (form.read(value, at, fail),)
        if not value:
            fail(at, "an empty list matches nothing; leave it out, or name something")
        if len(value) > _MOST:
            fail(at, f"{len(value):,} in one list, which can have {_MOST:,}")
        return tuple(form.read(one, (*at, place), fail) for place, one in enumerate(value))

    items = {"type": "array", "items": form.schema, "minItems": 1, "maxItems": _MOST}
    return Form(read, {"anyOf": [form.schema, items]})


def either(table: Form, other: Form) -> Form:
    """A table or something else, told apart by the type."""

    def read(value: object, at: Path, fail: Fail) -> Any:
        return (table if isinstance(value, dict) else other).read(value, at, fail)

    return Form(read, {"anyOf": [other.schema, table.schema]})


def table(
    what: str, keys: Mapping[str, Key], make: Callable[..., Any] = dict, *, empty: bool = True
) -> Form:
    """A table with known keys and no others; ``make`` makes the value of them.

    ``empty``: whether it may have none.
    """

    def read(value: object, at: Path, fail: Fail) -> Any:
        if not isinstance(value, dict):
            fail(at, f"has to be a table ({what}), not {named(value)}")
        for key in value:
            if key not in keys:
                meant = hint(nearest(key, keys), keys)
                fail((*at, key), f"{what} has no key {key!r}; {meant}")
        for name, key in keys.items():
            if key.required and name not in value:
                fail(at, f"{what} needs the key {name}: {key.text}")
        if not value and not empty:
            fail(at, f"{what} is empty; it needs one of {', '.join(keys)}")
        return make(
            **{name: keys[name].form.read(one, (*at, name), fail) for name, one in value.items()}
        )

    schema: Schema = {
        "type": "object",
        "description": what,
        "properties": {name: key.form.schema | {"description": key.text}
                       for name, key in keys.items()},
        "additionalProperties": False,
    }  # fmt: skip
    if required := [name for name, key in keys.items() if key.required]:
        schema["required"] = required
    return Form(read, schema if empty else {**schema, "minProperties": 1})
