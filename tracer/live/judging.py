"""Judged columns (tracer.analysis.decisions.Judged) as they are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.filter.mask import Coded
from tracer.labels import errno_name
from tracer.words import Hook, Kind, Op, words

Columns = dict[str, Any]
_ENUMS = {"op": Op, "kind": Kind, "hook": Hook}
_WORDS = {
    name: [words(enum).get(number, f"{name}_{number}") for number in range(256)]
    for name, enum in _ENUMS.items()
}


def readable(columns: Mapping[str, Any]) -> Columns:
    """Judged columns with words for op, kind and hook, and the error's symbol."""
    found = dict(columns)
    for name, texts in _WORDS.items():
        if name in found and not isinstance(found[name], Coded):
            found[name] = Coded(found[name], texts)
    answers, codes = np.unique(found["answer"], return_inverse=True)
    names = [errno_name(int(answer)) for answer in answers]
    found["errno"] = Coded(codes, names)
    return found


def taken(columns: Mapping[str, Any], places: npt.NDArray[Any]) -> Columns:
    """Some rows."""
    return {
        name: Coded(column.codes[places], column.words)
        if isinstance(column, Coded)
        else column[places]
        for name, column in columns.items()
    }


def put_together(parts: Sequence[Mapping[str, Any]]) -> Columns:
    """Several pieces of judged columns as one; texts become plain texts."""
    if len(parts) == 1:
        return dict(parts[0])
    found: Columns = {}
    for name in parts[0]:
        columns = [part[name] for part in parts]
        if isinstance(columns[0], Coded):
            found[name] = _coded(columns)
        else:
            found[name] = np.concatenate(columns)
    return found


def _coded(columns: Sequence[Coded]) -> Coded:
    if all(column.words is columns[0].words for column in columns):
        return Coded(np.concatenate([column.codes for column in columns]), columns[0].words)
    known: dict[str | None, int] = {}
    codes = []
    for coded in columns:
        # Only the words that occur: a vocabulary may have tens of thousands.
        used, places = np.unique(coded.codes, return_inverse=True)
        found = [None if code < 0 else coded.words[code] for code in used.tolist()]
        new = np.array([known.setdefault(word, len(known)) for word in found], np.int64)
        codes.append(new[places])
    return Coded(np.concatenate(codes), list(known))
