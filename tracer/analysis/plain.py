"""Columns without pandas, for whoever makes the tables five times a second (ui/).

The functions are those of :mod:`tracer.analysis.columns`, which :class:`tracer.analysis.view.View`
takes as well; texts are not copied, and what is unknown is a mask.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tracer.analysis.batch import Array
from tracer.filter.mask import Coded, Numbers
from tracer.labels import MAX_ERRNO, errno_name
from tracer.words import Kind, Op
from tracer.words import words as enum_words

_ENUMS = {"op": Op, "kind": Kind}


def words(codes: Array, texts: Sequence[str]) -> Coded:
    """``texts[code]`` in each row, none for -1."""
    return Coded(np.asarray(codes), texts)


@lru_cache
def _enum(name: str) -> list[str]:
    known = enum_words(_ENUMS[name])
    return [known.get(number, f"{name}_{number}") for number in range(256)]


def enum(name: str, codes: Array) -> Coded:
    """Numbers of ``op`` or ``kind`` as words; -1: none."""
    return Coded(np.asarray(codes), _enum(name))


def verdicts(codes: Array) -> npt.NDArray[np.int8]:
    """Verdicts as their numbers; -1: none."""
    return np.asarray(codes).astype(np.int8)


def maybe(values: Array, known: Array, kind: str = "Int64") -> Numbers:
    """Numbers, null where they are not known."""
    return Numbers(values, None if known.all() else known)


@lru_cache(maxsize=1)
def _errnos() -> list[str]:
    return [errno_name(-number) or "" for number in range(MAX_ERRNO + 1)]


def errnos(answers: Array) -> Coded:
    """The symbol of each error, none for answers that are none."""
    failed = (answers < 0) & (answers >= -MAX_ERRNO)
    return Coded(np.where(failed, -answers, -1), _errnos())


def texts(values: Iterable[str | None]) -> Coded:
    """Texts that do not repeat."""
    known = list(values)
    return Coded(np.arange(len(known)), known)


def taken(texts: Coded, rows: Array) -> Coded:
    """Some of :func:`texts`."""
    return Coded(texts.codes[rows], texts.words)
