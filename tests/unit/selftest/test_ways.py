"""The self-test of the hooks that only audits have: what is tried, and how reports are counted."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tracer.kernel.audit_families import AUDIT_FAMILIES
from tracer.record import EVENT
from tracer.selftest.hooks import Count
from tracer.selftest.run import prepared
from tracer.selftest.ways import Tried, check, try_all

BY_NAME = {family.name: family for family in AUDIT_FAMILIES}
EVERYWHERE = {"mprotect", "receive", "remote_access", "pin_remote"}
"""What no kernel and no sandbox of ours refuses."""


@pytest.fixture(scope="module")
def tried() -> list[Tried]:
    return try_all(b"sealsnoop-test")


def events(of: Sequence[Tried], times: int = 1) -> Any:
    rows = np.zeros(len(of) * times, EVENT)
    for name in ("op", "hook", "ino"):
        rows[name] = [getattr(one, name) for one in of] * times
    return rows


def test_what_is_tried_is_what_the_families_are_for(tried: list[Tried]) -> None:
    families = [one.family for one in tried]
    assert len(set(families)) == len(families)
    assert set(families) >= EVERYWHERE
    for one in tried:
        family = BY_NAME[one.family]
        assert one.hook == family.hook
        assert one.op in family.ops
        assert one.ino > 0


def test_nothing_stays_behind() -> None:
    def memory_files() -> list[str]:
        found = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
            except FileNotFoundError:
                continue  # that of the listing
        with open("/proc/self/maps") as lines:
            return [one for one in [*found, *lines] if "sealsnoop-test" in one or "secret" in one]

    try_all(b"sealsnoop-test")
    assert memory_files() == []


def test_hooks_that_report_everything(tried: list[Tried]) -> None:
    live = {one.family for one in tried}
    assert check(tried, events(tried), live) == dict.fromkeys(live, Count(1, 1))


def test_hooks_that_are_deaf_or_tell_twice(tried: list[Tried]) -> None:
    live = {"mprotect", "receive", "splice of another kernel"}
    assert check(tried, events([]), live) == dict.fromkeys(("mprotect", "receive"), Count(1, 0))
    twice = check(tried, events(tried, 2), live)
    assert twice == dict.fromkeys(("mprotect", "receive"), Count(1, 1, 1))
    assert not any(count.ok for count in twice.values())


def test_another_file_or_another_hook_is_no_report(tried: list[Tried]) -> None:
    one = next(way for way in tried if way.family == "mprotect")
    for other in (one._replace(ino=one.ino + 1), one._replace(hook=1), one._replace(op=1)):
        assert check([one], events([other]), {"mprotect"}) == {"mprotect": Count(1, 0)}


def test_secret_memory_has_no_name() -> None:
    ways = [Tried("secretmem_create", 10, 10, 5), Tried("mprotect", 2, 20, 6)]
    live = {one.family for one in ways}
    assert set(check(ways, events([]), live)) == live
    assert set(check(ways, events([]), live, named=True)) == {"mprotect"}


@pytest.mark.parametrize("audit", [False, True])
def test_the_process_tries_them_for_audits_alone(audit: bool) -> None:
    with prepared(False, b"", audit) as examiner:
        examiner.attempts()
        assert {one.family for one in examiner.ways} >= (EVERYWHERE if audit else set())
        assert bool(examiner.ways) is audit
