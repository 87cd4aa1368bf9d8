"""The gate through which every byte of a recording comes to a reader, whoever it is for.

A recording may come from somebody else. So a file is opened through the folder's descriptor, must
be a regular one of a size that a recorder writes, and is read once: the bytes whose digest is
compared are the bytes that are parsed. What a document holds is checked here too, so that nobody
behind has to ask for a value's type. Parquet is looked at in `tracer.recording.part`, the tail in
`tracer.recording.tail`, lines of the chain in `tracer.recording.chain`.
"""

import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from tracer.escape import printable
from tracer.recording import manifest as documents
from tracer.recording.errors import Damaged
from tracer.recording.folder import Folder
from tracer.recording.format import DOCUMENT_DEPTH

_LEAST, _MOST = -(1 << 63), (1 << 64) - 1
_NAME_SHOWN = 80


def contents(folder: Folder, path: str, most: int) -> bytes:
    """All bytes of the file ``path`` (``name`` or ``sub/name``) in ``folder``.

    Damaged: more than ``most``, or no regular file. OSError: as the system gives it.
    """
    sub, _, name = path.rpartition("/")
    if sub:
        with folder.sub(sub) as inner:
            fd = inner.open_file(name)
    else:
        fd = folder.open_file(name)
    with os.fdopen(fd, "rb", buffering=0) as file:
        size = os.fstat(fd).st_size
        if size > most:
            # Said before a byte is read: a file may have terabytes and none of them on a disk.
            raise Damaged(f"{path} is {size} bytes long: a recorder writes at most {most}.")
        pieces = []
        while size > 0 and (piece := file.read(size)):
            pieces.append(piece)
            size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def document(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in ``data``, checked as :data:`DOCUMENTS` describes ``name``. Damaged."""
    found = json_object(data, name)
    check_types(found, name)
    return found


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in ``data``, no deeper than ours are and of finite numbers. Damaged."""
    try:
        found = json.loads(data, parse_constant=_no_number)
        _check_plain(found)
    except RecursionError:
        raise Damaged(f"{name} is nested too deeply.") from None
    except ValueError as error:
        raise Damaged(f"{name} cannot be read: {_shown(str(error))}.") from None
    if not isinstance(found, dict):
        raise Damaged(f"{name} is no JSON object.")
    plain: dict[str, Any] = _in_utf8(found)
    return plain


def _in_utf8(value: Any) -> Any:
    """``value`` with texts that every reader can print: JSON can name half a character alone.

    A recorder does so too, of a command line that is no UTF-8.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_in_utf8(key): _in_utf8(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_in_utf8(one) for one in value]
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _check_plain(value: Any) -> None:
    """ValueError: nested too deeply, or a number that nothing counts."""
    level = [value]
    for _ in range(DOCUMENT_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, int | float) and not _LEAST <= one <= _MOST:  # nor is NaN
                raise ValueError("a number is too large")
        level = inner
    if level:
        raise ValueError("it is nested too deeply")


def _shown(text: str) -> str:
    return printable(text if len(text) <= _NAME_SHOWN else f"{text[:_NAME_SHOWN]}...").rstrip(".")


# ---- what a document may hold -------------------------------------------------------------------

DOCUMENTS: dict[str, Mapping[str, str]] = {
    "manifest.json": documents.MANIFEST,
    "end.json": documents.END,
}


def _is_number(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _list_of(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _object_of(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and type(value[1]) is int
    )


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


_CHECKS: dict[str, Callable[[object], bool]] = {
    "text": _is_text,
    "number": _is_number,
    "decimal": lambda value: _is_number(value) or isinstance(value, float),
    "true or false": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": _is_object,
    "object of text": _object_of(_is_text),
    "object of numbers": _object_of(_is_number),
    "list of text": _list_of(_is_text),
    "list of numbers": _list_of(_is_number),
    "list of objects": _list_of(_is_object),
    "list of [text, number]": _list_of(_is_pair),
}
"""Types as `tracer.recording.manifest` has them, in words."""


@cache
def _expected(name: str) -> dict[str, tuple[str, ...]]:
    """The types that a value may have, by its path; of what is around described ones too."""
    found = {}
    for path, described in DOCUMENTS[name].items():
        said = described.partition(";")[0]
        found[path] = (said,) if said in _CHECKS else tuple(said.split(" or "))
        for place, char in enumerate(path):
            if char == ".":
                around = path[:place]
                kind = "list of objects" if around.endswith("[]") else "object"
                found.setdefault(around.removesuffix("[]"), (kind,))
    return found


def check_types(value: Mapping[str, Any], name: str, at: str = "") -> None:
    """Holds a document against its description. Damaged."""
    expected = _expected(name)
    for key, inner in value.items():
        path = f"{at}{key}"
        said = expected.get(path)
        if said is None:
            continue
        if not any(_CHECKS[kind](inner) for kind in said):
            raise Damaged(f"{name}: {path} is not {' or '.join(said)}.")
        if isinstance(inner, dict):
            check_types(inner, name, f"{path}.")
        elif isinstance(inner, list):
            for one in inner:
                if isinstance(one, dict):
                    check_types(one, name, f"{path}[].")
