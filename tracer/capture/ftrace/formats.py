"""Event formats as tracefs tells them (``events/GROUP/EVENT/format``), as numpy dtypes."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ID = re.compile(r"^ID: (\d+)$", re.M)
_FIELD = re.compile(r"^\tfield:([^;]+);\toffset:(\d+);\tsize:(\d+);\tsigned:([01]);$", re.M)
_NAME = re.compile(r"(\w+)(\[\d*\])?$")
_WORD = 8


@dataclass(frozen=True, slots=True)
class Format:
    """One event's number in the ring and its fixed part. A string is a u4: length << 16 | place."""

    number: int
    dtype: np.dtype[Any]


def _field_type(declared: str, array: str | None, size: int, signed: bool) -> np.dtype[Any]:
    if declared.startswith("__data_loc"):
        return np.dtype("<u4")
    if array is not None:
        if declared.startswith("char"):
            return np.dtype(f"V{size}")
        return np.dtype(("<u8", (size // _WORD,)))
    return np.dtype(f"<{'i' if signed else 'u'}{size}")


def parse(text: str) -> Format:
    """A format file's text. ValueError where it is none.

    Arrays are of 64-bit words, or of characters, as all are that we ask for.
    """
    number = _ID.search(text)
    names, formats, offsets, end = [], [], [], 0
    for declared, offset, size, signed in _FIELD.findall(text):
        found = _NAME.search(declared)
        if found is None:
            raise ValueError(f"no name in the field {declared!r}")
        names.append(found[1])
        formats.append(_field_type(declared, found[2], int(size), signed == "1"))
        offsets.append(int(offset))
        end = max(end, int(offset) + int(size))
    if number is None or not names:
        raise ValueError("not the format of an event")
    layout = {"names": names, "formats": formats, "offsets": offsets, "itemsize": end}
    return Format(int(number[1]), np.dtype(layout))  # type: ignore[call-overload]


def page_size(header: str) -> int:
    """Bytes of a page of the ring by ``events/header_page``. ValueError: of an unknown layout."""
    fields = {
        found[1]: (int(offset), int(size))
        for declared, offset, size, _ in _FIELD.findall(header)
        if (found := _NAME.search(declared))
    }
    if fields.get("timestamp") != (0, 8) or fields.get("commit") != (8, 8) or "data" not in fields:
        raise ValueError("the ring's pages have a layout that sealsnoop does not know")
    return sum(fields["data"])


def strings(raw: NDArray[np.uint8], starts: NDArray[np.int64], where: Any, width: int) -> Any:
    """The strings of a ``__data_loc`` field as ``V{width}``, cut there, NUL behind the end.

    ``raw``: all pages; ``starts``: where each event begins in it; ``where``: the field.
    """
    begin = starts + (where & 0xFFFF).astype(np.int64)
    length = (where >> 16).astype(np.int64)
    place = np.arange(width)
    index = np.minimum(begin[:, None] + place, len(raw) - 1)
    text = raw[index]
    text[place >= length[:, None]] = 0
    ended = np.maximum.accumulate(text == 0, axis=1)
    text[ended] = 0
    return np.ascontiguousarray(text).view(f"V{width}").ravel()
