"""Judges events that are to be shown; the counting is done elsewhere (tracer.analysis.fold)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis.batch import Array, Batch
from tracer.analysis.growing import Growing
from tracer.analysis.judge import Judge
from tracer.analysis.keytable import KeyTable
from tracer.analysis.objects import KEY, column
from tracer.analysis.source import Source
from tracer.filter.mask import Coded
from tracer.labels import errno_name
from tracer.record import USER_CPU
from tracer.rules.verdicts import Outcome
from tracer.words import Hook, Kind, Op, words

Columns = dict[str, Any]
_ENUMS = {"op": Op, "kind": Kind, "hook": Hook}
_WORDS = {
    name: [words(enum).get(number, f"{name}_{number}") for number in range(256)]
    for name, enum in _ENUMS.items()
}
_OUTCOME = ("expected", "reason", "rule", "hole")
_ANNOUNCED = {
    **KEY,
    "cpu": np.uint16,
    "time_ns": np.int64,
    "folio_order_max": np.uint8,
    "owner_uid": np.uint32,
}
_NEVER = np.iinfo(np.int64).max
_NOBODY = 0xFFFFFFFF


class Judging:
    """Knows the objects of one recording, and judges any of its events again and again."""

    def __init__(self, source: Source) -> None:
        self._judge = Judge(source.variants)
        self._ids = KeyTable(2)
        self._known = Growing(
            {"since": (np.int64, _NEVER), "order": (np.uint8, 255), "owner": (np.uint32, _NOBODY)}
        )
        self._names: list[str | None] = []

    def objects(self, table: pa.Table) -> None:
        """Takes announcements (table ``objects``).

        What judging needs is that of the earliest one by the kernel side, as in
        tracer.analysis.objects; the name is the last.
        """
        get = {name: column(table, name, kind, 0) for name, kind in _ANNOUNCED.items()}
        ids = self._objects(get["dev"], get["ino"], get["gen"])
        self._known.resize(len(self._ids))
        known = self._known
        rows = np.flatnonzero((get["cpu"] != USER_CPU) & (get["time_ns"] < known["since"][ids]))
        rows = rows[np.argsort(-get["time_ns"][rows], kind="stable")]  # the earliest stays
        for name, announced in (
            ("since", "time_ns"), ("order", "folio_order_max"), ("owner", "owner_uid"),
        ):  # fmt: skip
            known[name][ids[rows]] = get[announced][rows]
        names = table.column("name").to_pylist()
        for place, name in zip(ids.tolist(), names, strict=True):
            if name is not None:
                self._names[place] = name

    def _objects(self, dev: Array, ino: Array, gen: Array) -> Array:
        dev_gen = dev.astype(np.uint64) << np.uint64(32) | gen.astype(np.uint64)
        ids = self._ids.ids(ino.astype(np.uint64), dev_gen)
        self._known.resize(len(self._ids))
        self._names.extend([None] * (len(self._ids) - len(self._names)))
        return ids

    def judged(self, batch: Batch) -> Columns:
        """Every column of ``batch`` as tracer.filter takes them, and those of the judgement.

        ``verdict`` is -1 where a row is no decision. Texts are ``Coded``.
        """
        objects = self._objects(batch["dev"], batch["ino"], batch["gen"])
        facts = {
            "folio_order_max": self._known["order"][objects],
            "owner_uid": self._known["owner"][objects],
        }
        codes = self._judge.codes({**batch.columns, **facts})
        outcomes = self._judge.outcomes
        found: Columns = dict(batch.columns)
        found["comm"] = Coded(batch["comm"], batch.comms.texts)
        found["name"] = Coded(objects, self._names)
        found["verdict"] = _of(outcomes, codes, "verdict", -1)
        found["severity"] = _of(outcomes, codes, "severity", 0)
        for name in _OUTCOME:
            found[name] = Coded(codes, [getattr(outcome, name) for outcome in outcomes])
        return found


def _of(
    outcomes: Sequence[Outcome], codes: npt.NDArray[np.int32], name: str, none: int
) -> npt.NDArray[np.int8]:
    # One more at the end: that is what -1 finds.
    values = [int(getattr(outcome, name)) for outcome in outcomes]
    return np.array([*values, none], np.int8)[codes]


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
