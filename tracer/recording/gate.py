"""The gate through which every byte of a recording comes to a reader, whoever it is for.

A recording may come from somebody else. So a file is opened through the folder's descriptor, must
be a regular one of a size that a recorder writes, and is read once: the bytes whose digest is
compared are the bytes that are parsed. What is in them is checked where it is parsed: documents
in `tracer.recording.manifest`, Parquet in `tracer.recording.part`, the tail in
`tracer.recording.tail`, lines of the chain in `tracer.recording.chain`.
"""

import json
import os
from typing import Any

from tracer.escape import printable
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
