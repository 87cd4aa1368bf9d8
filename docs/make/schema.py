"""``docs/schema.md`` from `tracer.recording.format` and `tracer.recording.manifest`."""

from collections.abc import Mapping
from enum import IntEnum

import pyarrow as pa

from docs.make.markdown import code, filled, table, wrapped
from tracer.labels import FLAGS, FRAMES, LOSSES, MAPS_FROM, RECEIPTS, STACK_STATES
from tracer.recording import manifest as documents
from tracer.recording.format import COLUMNS, MEANINGS, SCHEMA_VERSION, TABLES
from tracer.words import (
    OPS,
    Flag,
    FrameWhat,
    Hook,
    Kind,
    LossCause,
    MapsFrom,
    Op,
    Receipt,
    StackState,
    words,
)

_OPS = {
    op.name.lower(): "; ".join(part for part in (one.meaning, one.fields) if part)
    for op, one in OPS.items()
}

_BY_ADDRESS = (
    "*By address*: `length` bytes from address `size_after` in the address space `mm` were "
    "requested. The object is the first memory file in that range, and `offset` where the range "
    "(or, if it starts elsewhere, this file's mapping in it) stands in it."
)


def document() -> str:
    """The whole file."""
    all_words = [
        _words("op", Op, _OPS) + "\n\n" + wrapped(_BY_ADDRESS),
        _words("receipt", Receipt, RECEIPTS),
        _words("kind", Kind, {}),
        _words("hook", Hook, {}),
        _words("cause", LossCause, LOSSES),
        _words("state", StackState, STACK_STATES),
        _words("maps_from", MapsFrom, MAPS_FROM),
        _words("what", FrameWhat, FRAMES),
        _flags(),
    ]
    changes = ((f"{version}", text) for version, text in documents.CHANGES.items())
    return filled(
        "schema",
        version=str(SCHEMA_VERSION),
        tables="\n\n".join(_table(name, schema) for name, schema in TABLES.items()),
        words="\n\n".join(all_words),
        manifest=_keys(dict(documents.described(documents.Manifest))),
        end=_keys(dict(documents.described(documents.End))),
        chain=_keys(documents.CHAIN),
        changes=table(("version", "what changed"), changes),
    )


def _table(name: str, schema: pa.Schema) -> str:
    text = f"### {name}\n\n{wrapped(MEANINGS[name])}"
    if name == "mappings":  # it has the columns of events
        return text
    meanings = COLUMNS[name]
    rows = (
        (code(one.name), _type(one), meanings[one.name].unit, meanings[one.name].meaning)
        for one in schema
    )
    return f"{text}\n\n{table(('column', 'type', 'unit', 'meaning'), rows)}"


def _type(field: pa.Field) -> str:
    if pa.types.is_dictionary(field.type):
        name = "word" if field.type.index_type == pa.int16() else "text"
    else:
        plain = {"string": "text", "binary": "bytes", "bool": "true or false"}
        name = plain.get(str(field.type), str(field.type))
    return f"{name} or null" if field.nullable else name


def _words(title: str, enum: type[IntEnum], meanings: Mapping[str, str]) -> str:
    found = list(words(enum).values())
    if not meanings:
        return f"### {title}\n\n{wrapped(', '.join(code(word) for word in found))}"
    rows = ((code(word), meanings[word]) for word in found)
    return f"### {title}\n\n{table(('word', 'meaning'), rows)}"


def _flags() -> str:
    named = ((flag, flag.name or "") for flag in Flag)
    rows = ((f"{flag.value}", code(name), FLAGS[flag][1]) for flag, name in named)
    return f"### flags\n\nBits of the column `flags`.\n\n{table(('bit', 'name', 'meaning'), rows)}"


def _keys(keys: Mapping[str, str]) -> str:
    return table(("key", "value"), ((code(key), text) for key, text in keys.items()))
