"""The ring reader on a ring that is laid out in memory as the kernel does it."""

import mmap

import numpy as np
import pytest

from tests.unit.capture.synthetic_ring import SIZE, SyntheticRing, numbered
from tracer.capture import ring as ring_module
from tracer.capture.ring import STRIDE, Records
from tracer.record import HEAD, RECORD_SIZE

ROOM = SIZE // STRIDE


def taken(ring: SyntheticRing) -> Records:
    """What one poll gives, copied before the space goes back."""
    records = ring.reader.poll()
    copy = np.frombuffer(bytearray(records.tobytes()), HEAD)
    ring.reader.release()
    return copy


def same(found: Records, wanted: Records) -> bool:
    return found.tobytes() == wanted.tobytes()


def test_the_data_area_is_there_twice() -> None:
    ring = SyntheticRing()
    ring.data[5] = 77
    assert ring.data[SIZE + 5] == 77
    assert STRIDE == RECORD_SIZE + 8 == 232
    assert SIZE % STRIDE, "or nothing would ever wrap in the middle of a record"


def test_empty() -> None:
    ring = SyntheticRing()
    records = ring.reader.poll()
    assert (len(records), records.dtype, ring.reader.fill) == (0, HEAD, 0.0)
    ring.reader.release()
    assert ring.positions[0][0] == 0


def test_whole_records_with_their_bodies() -> None:
    ring = SyntheticRing()
    ring.put(numbered(3, 4, 5))
    assert ring.reader.fill == 3 * STRIDE / SIZE
    assert same(taken(ring), numbered(3, 4, 5))
    assert ring.positions[0][0] == 3 * STRIDE
    assert len(taken(ring)) == 0


def test_space_is_given_back_by_release_alone() -> None:
    ring = SyntheticRing()
    ring.put(numbered(1))
    ring.reader.poll()
    assert ring.positions[0][0] == 0
    ring.put(numbered(2))
    ring.reader.release()
    assert ring.positions[0][0] == STRIDE, "the record that came after poll is not lost"
    ring.reader.release()
    assert ring.positions[0][0] == STRIDE, "a second release does nothing"
    assert same(taken(ring), numbered(2))


def test_full() -> None:
    ring = SyntheticRing()
    ring.put(numbered(*range(ROOM)))
    assert ring.room == 0
    assert ring.reader.fill == ROOM * STRIDE / SIZE > 0.99
    assert same(taken(ring), numbered(*range(ROOM)))
    assert (ring.reader.fill, ring.room) == (0.0, ROOM)


@pytest.mark.parametrize(
    "start",
    [
        SIZE - 8,  # the header alone is before the edge
        SIZE - 96,  # the edge is within the record
        (1 << 32) // SIZE * SIZE + SIZE - 8,
        (1 << 63) + SIZE - 96,
    ],
)
def test_wraps_around(start: int) -> None:
    ring = SyntheticRing(start)
    ring.put(numbered(7, 8))
    assert same(taken(ring), numbered(7, 8))
    assert ring.positions[0][0] == start + 2 * STRIDE
    assert ring.reader.fill == 0.0


def test_many_rounds_beyond_32_bits() -> None:
    ring = SyntheticRing((1 << 32) - 1000 * 8)
    seen: list[int] = []
    for first in range(0, 3000, 100):
        ring.put(numbered(*range(first, first + 100)))
        seen += taken(ring)["seq"].tolist()
    assert seen == list(range(3000))
    assert int(ring.positions[0][0]) == (1 << 32) - 8000 + 3000 * STRIDE > 1 << 32


def test_no_more_than_a_batch_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "BATCH", 3)
    ring = SyntheticRing()
    ring.put(numbered(*range(7)))
    assert same(taken(ring), numbered(0, 1, 2))
    assert ring.positions[0][0] == 3 * STRIDE, "its space is free before the rest is looked at"
    assert ring.reader.fill == 4 * STRIDE / SIZE
    assert same(taken(ring), numbered(3, 4, 5))
    assert same(taken(ring), numbered(6))


def test_nothing_behind_a_busy_record() -> None:
    ring = SyntheticRing()
    ring.put(numbered(1, 2))
    busy = ring.reserve(numbered(3)[0])
    ring.put(numbered(4))
    assert same(taken(ring), numbered(1, 2))
    assert ring.reader.fill == 2 * STRIDE / SIZE
    assert len(taken(ring)) == 0
    assert ring.positions[0][0] == 2 * STRIDE
    ring.submit(busy)
    assert same(taken(ring), numbered(3, 4))


def test_a_discarded_record_is_stepped_over() -> None:
    ring = SyntheticRing()
    ring.put(numbered(1))
    ring.submit(ring.reserve(numbered(2)[0]), discard=True)
    ring.put(numbered(3))
    assert same(taken(ring), numbered(1, 3))
    assert ring.positions[0][0] == 3 * STRIDE
    ring.submit(ring.reserve(numbered(4)[0]), discard=True)
    assert len(taken(ring)) == 0
    assert ring.reader.fill == 0.0, "its space is given back all the same"


def test_discarded_before_and_behind_a_busy_one() -> None:
    ring = SyntheticRing()
    ring.submit(ring.reserve(numbered(1)[0]), discard=True)
    ring.put(numbered(2))
    busy = ring.reserve(numbered(3)[0])
    ring.submit(ring.reserve(numbered(4)[0]), discard=True)
    assert same(taken(ring), numbered(2))
    assert ring.positions[0][0] == 2 * STRIDE
    ring.submit(busy)
    assert same(taken(ring), numbered(3))
    assert ring.positions[0][0] == 4 * STRIDE


def test_positions_are_shared_memory() -> None:
    ring = SyntheticRing()
    ring.put(numbered(1))
    taken(ring)
    assert int.from_bytes(ring.consumer[:8], "little") == STRIDE
    assert len(ring.consumer) == mmap.PAGESIZE
