"""Whatever record of a violating recording never arrives: no fail becomes a pass."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.audit.audit_story import SHARED_RO, SHARED_RO_MAY, SHARED_RW, Story, policy
from tracer.audit.evaluate import audit
from tracer.audit.policy import parse
from tracer.audit.result import Audit, Result
from tracer.recording.reader import Recording

pytestmark = pytest.mark.slow

CLAIMS = (
    'claim = "never-mapped"',
    'claim = "mapped-only-by"\nby = ["vmm"]',
    'claim = "mapped-only-by"\nby = ["creator", { comm = "ok" }]\nchildren = true',
    'claim = "never-writable-outside"\nby = [{ pid = [100, 101] }]',
    'claim = "never-read-or-written"\nby = ["creator"]',
    'claim = "never-pinned-except"',
    'claim = "sealed-with"\nseals = ["WRITE"]',
    'claim = "no-breach"',
)
POLICY = parse(policy(*CLAIMS, scope='kind = "memfd"\nname = ["ram*", "disk"]'))

_ACTION = st.tuples(
    st.sampled_from(
        ["map", "unmap", "fork", "write", "read", "pin", "receive", "seal", "memslot",
         "remote_read", "baseline", "mapped", "evict"]
    ),
    st.sampled_from([5, 6]),
    st.sampled_from([100, 101, 200]),
    st.sampled_from([0x10000, 0x20000]),
    st.sampled_from([SHARED_RW, SHARED_RO, SHARED_RO_MAY]),
    st.sampled_from([-1, 0, 8]),
    st.sampled_from([0, 1]),
)  # fmt: skip


def _tell(actions: list[tuple[str, int, int, int, int, int, int]], born: bool) -> Story:
    story = Story()
    for ino, name in ((5, "ram0"), (6, "disk")):
        if born:
            story.create(ino, name, arg=2, mode=0o666)
        else:
            story.object(ino, name, cpu=0xFFFF)
    for what, ino, pid, address, arg, answer, cpu in actions:
        story.cpu = cpu
        comm = b"ok" if pid == 101 else b"spy"
        if what == "map":
            story.map(ino, pid, address, arg=arg, comm=comm)
        elif what == "unmap":
            story.unmap(ino, pid, address, arg=arg, comm=comm)
        elif what == "fork":
            story.map(ino, pid, address, arg=arg, comm=comm, flags=64, mm=0xABC)
        elif what == "seal":
            story.event("add_seals", ino, pid, comm, answer=0, arg=8, seals_after=8)
        elif what == "memslot":
            story.memslot(ino, pid, address, check_answer=ino)
        elif what == "baseline":
            story.event("map", ino, pid, comm, baseline=True, answer=address, length=4096, arg=arg)
        elif what == "mapped":
            story.event("mapped", ino, 1, baseline=True, answer=int(answer > 0))
        elif what == "evict":
            story.event("evict", ino, pid, comm)
        else:
            story.event(what, ino, pid, comm, answer=answer, length=8, size_after=address,
                        mode=0o666)  # fmt: skip
    return story


def _audit(folder: str, name: str, story: Story, without: int | None = None) -> Audit:
    path = story.write(Path(folder) / f"{name}.seal", without=without)
    with Recording.open(path) as recording:
        return audit(POLICY, [recording], "test")


@settings(max_examples=8, deadline=None)
@given(st.lists(_ACTION, min_size=1, max_size=12), st.booleans(), st.data())
def test_a_record_that_never_arrived_makes_no_pass(
    actions: list[tuple[str, int, int, int, int, int, int]], born: bool, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        story = _tell(actions, born)
        gone = data.draw(st.integers(0, len(story.records)))
        # The last record is the closing clock, which write() adds.
        whole = _audit(folder, "whole", _tell(actions, born))
        part = _audit(folder, "part", story, gone)
        for before, after in zip(
            whole.recordings[0].claims, part.recordings[0].claims, strict=True
        ):
            assert after.result is not Result.PASS
            if before.result is Result.FAIL:
                assert after.result in (Result.FAIL, Result.INDETERMINATE)
        assert part.result is not Result.PASS


@settings(max_examples=8, deadline=None)
@given(st.lists(_ACTION, max_size=12), st.booleans())
def test_a_pass_means_that_no_row_breaks_the_claim(
    actions: list[tuple[str, int, int, int, int, int, int]], born: bool
) -> None:
    """Against the plainest reading of three claims, which knows neither scope nor evidence."""
    with TemporaryDirectory() as folder:
        claims = {
            one.id: one.result
            for one in _audit(folder, "a", _tell(actions, born)).recordings[0].claims
        }
    seen = {action[0] for action in actions}
    if claims["never-mapped"] is Result.PASS:
        assert not seen & {"map", "unmap", "fork", "baseline"}
    if claims["never-pinned-except"] is Result.PASS:
        assert not any(action[0] == "pin" and action[5] > 0 for action in actions)
        assert born
    if claims["never-writable-outside"] is Result.PASS:
        others = [one for one in actions if one[2] == 200]
        assert not any(one[0] in ("map", "baseline") and one[4] & 0x22 for one in others)
        assert not any(one[0] == "write" and one[5] > 0 for one in others)
