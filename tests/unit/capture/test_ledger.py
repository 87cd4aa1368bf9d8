"""Losses and totals as records: only what moved, and never backwards."""

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tracer.capture.bpf_source import CAUSES, HOOKS
from tracer.capture.ledger import Ledger, clock_record
from tracer.capture.program import COUNTS, Program
from tracer.record import (
    CLOCK,
    HEAD,
    LOSS,
    NO_SYSCALL,
    TOTALS,
    USER_CPU,
    Hook,
    LossCause,
    Op,
    RecordType,
)


def counts(cpus: int = 2) -> Any:
    return np.zeros(cpus, COUNTS)


def rows(records: Any, record_type: RecordType) -> Any:
    return records[records["type"] == record_type].view(
        LOSS if record_type == RecordType.LOSS else TOTALS
    )


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(HOOKS, CAUSES)


def test_nothing_moved(ledger: Ledger) -> None:
    assert len(ledger.update(counts(), {})) == 0
    assert (ledger.lost, ledger.decided, ledger.by_cause()) == (0, 0, {})


def test_losses_are_summed_over_cpus_and_told_once(ledger: Ledger) -> None:
    now = counts()
    now["lost"][0, Hook.MMAP, LossCause.RING_FULL] = 3
    now["lost"][1, Hook.MMAP, LossCause.RING_FULL] = 4
    now["lost"][1, Hook.SEALS, LossCause.NAME] = 1
    records = ledger.update(now, {})
    assert records.dtype == HEAD
    assert (records["cpu"] == USER_CPU).all()
    assert (records["nr"] == NO_SYSCALL).all()
    found = [
        (row["hook"], row["cause"], row["count"], row["total"])
        for row in rows(records, RecordType.LOSS)
    ]
    assert found == [
        (Hook.MMAP, LossCause.RING_FULL, 7, 7),
        (Hook.SEALS, LossCause.NAME, 1, 1),
    ]
    assert len(ledger.update(now, {})) == 0
    now["lost"][0, Hook.MMAP, LossCause.RING_FULL] = 10
    [row] = rows(ledger.update(now, {}), RecordType.LOSS)
    assert (row["hook"], row["count"], row["total"]) == (Hook.MMAP, 7, 14)
    assert ledger.lost == 14  # a name is no event
    assert ledger.by_cause() == {"ring_full": 14, "name": 1}


def test_what_the_kernel_skipped(ledger: Ledger) -> None:
    [row] = rows(ledger.update(counts(), {Hook.WRITE: 5}), RecordType.LOSS)
    assert (row["hook"], row["cause"], row["count"]) == (Hook.WRITE, LossCause.MISSED, 5)
    [row] = rows(ledger.update(counts(), {Hook.WRITE: 9}), RecordType.LOSS)
    assert (row["count"], row["total"]) == (4, 9)
    # The kernel did not tell this time: that is no new loss, and none that is taken back.
    assert len(ledger.update(counts(), {})) == 0
    assert ledger.by_cause() == {"missed": 9}
    [row] = rows(ledger.update(counts(), {Hook.WRITE: 10}), RecordType.LOSS)
    assert (row["count"], row["total"]) == (1, 10)


def test_totals(ledger: Ledger) -> None:
    now = counts(3)
    now["totals"]["decided"][:, Hook.READ] = [1, 20, 300]
    now["totals"]["dropped"][:, Hook.READ] = [0, 2, 5]
    now["totals"]["decided"][0, Hook.MAP] = 6
    records = ledger.update(now, {})
    found = [
        (row["hook"], row["decided"], row["dropped"]) for row in rows(records, RecordType.TOTALS)
    ]
    assert found == [(Hook.READ, 321, 7), (Hook.MAP, 6, 0)]
    assert ledger.decided == 321 - 7 + 6
    now["totals"]["dropped"][0, Hook.MAP] = 1
    [row] = rows(ledger.update(now, {}), RecordType.TOTALS)
    assert (row["hook"], row["decided"], row["dropped"]) == (Hook.MAP, 6, 1)
    assert (ledger.decided, ledger.lost) == (319, 0)


def test_the_callers_counts_are_left_alone(ledger: Ledger) -> None:
    now = counts()
    ledger.update(now, {Hook.WRITE: 5})
    assert now.tobytes() == counts().tobytes()


def test_large_counts(ledger: Ledger) -> None:
    now = counts(1)
    now["lost"][0, Hook.WRITE, LossCause.RING_FULL] = 2**63 + 1
    [row] = rows(ledger.update(now, {}), RecordType.LOSS)
    assert (int(row["count"]), ledger.lost) == (2**63 + 1, 2**63 + 1)


def test_clock_record() -> None:
    clocks = {
        "time_ns": time.CLOCK_BOOTTIME,
        "realtime_ns": time.CLOCK_REALTIME,
        "monotonic_ns": time.CLOCK_MONOTONIC,
    }
    before = {name: time.clock_gettime_ns(clock) for name, clock in clocks.items()}
    head = clock_record()
    after = {name: time.clock_gettime_ns(clock) for name, clock in clocks.items()}
    assert (head.dtype, len(head), head["type"][0]) == (HEAD, 1, RecordType.CLOCK)
    row = head.view(CLOCK)[0]
    for name in clocks:
        assert before[name] <= row[name] <= after[name], name
    assert (row["cpu"], row["nr"]) == (USER_CPU, NO_SYSCALL)


class Map:
    """A map as bcc has it: asked with a number of C, its values a list."""

    def __init__(self, *values: Any) -> None:
        self._values = [*values]

    def __getitem__(self, key: Any) -> Any:
        return self._values[key.value]

    def values(self) -> list[Any]:
        return self._values


@pytest.mark.parametrize("audit", [False, True])
def test_calls_in_flight_are_those_that_began_after_the_start(audit: bool) -> None:
    def call(op: int, before: int = 0) -> Any:
        return SimpleNamespace(op=op, before_enabled=before)

    def slot(*about: Any) -> Any:
        return SimpleNamespace(call=call(*about))

    program = object.__new__(Program)
    program._audit = audit
    program._bpf = {
        "owners": [SimpleNamespace(value=number) for number in (0, 2, 3)],
        "slots": Map(slot(Op.WRITE), slot(Op.READ), slot(0), slot(Op.MMAP, 1)),
        "calls": Map(slot(Op.ADD_SEALS), slot(Op.WRITE, 1)),
        "outer_calls": Map(call(Op.WRITE), call(0)),
        # One was told, and waits for its system call's own return.
        "execs": Map(SimpleNamespace(told=0), SimpleNamespace(told=1)),
        "accesses": Map(None, None),
    }
    assert program.in_flight() == 4 + 2 * audit
