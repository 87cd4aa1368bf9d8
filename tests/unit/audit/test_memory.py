"""What an audit holds grows with files and with who uses them, not with how often they do it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.audit.audit_asked import FAIL, NEVER_MAPPED, OPEN, PASS, of
from tests.unit.audit.audit_story import COMPLETE as LOOKED
from tests.unit.audit.audit_story import Records, Story, manifest, policy
from tracer.audit.evidence import EXACT, load
from tracer.audit.policy import parse
from tracer.record import EVENT, HEAD
from tracer.recording.format import Limits
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter

ROOT = Path(__file__).parents[3]
ONLY = 'claim = "mapped-only-by"\nby = { pid = 100 }'
READ_BY = 'claim = "never-read-or-written"\nby = "creator"'
AUDIT = """
import resource, sys
from tracer.audit.evaluate import audit
from tracer.audit.policy import parse
from tracer.recording.reader import Recording
recording, policy = sys.argv[1:]
with Recording.open(recording) as opened:
    found = audit(parse(policy.encode()), [opened], "test")
print(found.result.value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def templates(story: Story, *make: Callable[[], None]) -> Records:
    """The events that ``make`` tells, one row each."""
    rows = []
    for step in make:
        step()
        rows.append(np.frombuffer(story.records.pop(), EVENT))
        story.seqs[0] -= 1
    return np.concatenate(rows)


def flood(path: Path, story: Story, of: Records, count: int, vary: str = "") -> Path:
    """A recording of a story with ``of`` over and over behind it, ``count`` rows in all."""
    chunk = 100_000
    with RecordingWriter(path, manifest(), limits=Limits()) as writer:
        writer.append(np.frombuffer(bytearray(b"".join(story.records)), HEAD))
        for start in range(0, count, chunk):
            place = np.arange(start, start + chunk)
            rows = of[place % len(of)]
            rows["seq"] = story.seqs[0] + place
            rows["time_ns"] = story.now_ns + 1000 * (place + 1)
            if vary:
                rows[vary] += 4096 * (place // len(of)).astype(rows[vary].dtype)
            writer.append(rows.view(HEAD))
        story.seqs[0] += count
        writer.close("done", story.seqs, baseline=LOOKED, in_flight=0)
    return path


def told(recording: Path, claim: str) -> tuple[str, int]:
    """The result, and the most memory that the audit took, in MB."""
    words = [sys.executable, "-c", AUDIT, str(recording), policy(claim).decode()]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    result, most = done.stdout.split()
    return result, int(most)


FLOODS: dict[str, tuple[Callable[[Story], Records], str, str, str]] = {
    "mappings at one place": (
        lambda story: templates(story, lambda: story.map(7), lambda: story.unmap(7)),
        "", ONLY, "indeterminate",  # a pid is assumed
    ),
    "mappings at many places": (
        lambda story: templates(story, lambda: story.map(7), lambda: story.unmap(7)),
        "answer", ONLY, "indeterminate",
    ),
    "accesses by address": (
        lambda story: templates(
            story, lambda: story.event("remote_read", 0, 300, answer=5, length=5, mm=0xAAAA)
        ),
        "size_after", READ_BY, "pass",
    ),
    "descriptors sent": (
        lambda story: templates(story, lambda: story.event("receive", 7, 300, answer=9)),
        "fd", NEVER_MAPPED, "pass",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_takes_no_memory(name: str, tmp_path: Path) -> None:
    make, vary, claim, result = FLOODS[name]
    most = {}
    counts = (100_000, 2_000_000 if name == "mappings at one place" else 500_000)
    for place, count in enumerate(counts):
        story = Story()
        story.create(7)
        path = flood(tmp_path / f"{place}.seal", story, make(story), count, vary)
        found, most[count] = told(path, claim)
        assert found == result
    assert most[counts[1]] < most[counts[0]] + 300, most


def story_of(pairs: int, gap: Callable[[Story], None], pid: int = 200) -> Story:
    """Somebody else maps a file again and again; ``gap`` is told in the middle."""
    story = Story()
    story.create(7)
    for number in range(pairs):
        story.map(7, pid, 0x10000 + 0x1000 * number)
        if number == pairs // 2:
            gap(story)
        story.unmap(7, pid, 0x10000 + 0x1000 * number)
    return story


@pytest.mark.parametrize("pairs", [1, EXACT, EXACT + 1, 3 * EXACT])
def test_mappings_put_together_are_still_violations(pairs: int, tmp_path: Path) -> None:
    found = of(story_of(pairs, lambda story: None).write(tmp_path / "s.seal"), ONLY)
    [finding] = found.findings
    assert found.result == FAIL
    assert sum(one.count for one in finding.violations) + finding.more == pairs
    assert {one.asked.split(" at ")[0] for one in finding.violations} <= {
        "rw-s 0+4096", f"rw-s 0+{4096 * (pairs - EXACT)}",
    }  # fmt: skip


def test_accesses_put_together_are_still_violations(tmp_path: Path) -> None:
    """Each place is told as a whole number, also beside those of which none is kept."""
    story = Story()
    story.create(7)
    for number in range(3 * EXACT):
        story.event("remote_read", 7, 300, answer=5, length=5, mm=0xFF00 + 100,
                    size_after=0x10000 + 8 * number)  # fmt: skip
    found = of(story.write(tmp_path / "s.seal"), READ_BY)
    [finding] = found.findings
    assert found.result == FAIL
    assert [one.asked for one in finding.violations] == [
        *(f"{0x10000 + 8 * number:#x}+5" for number in range(EXACT)), "0x0+0",
    ]  # fmt: skip
    assert sum(one.count for one in finding.violations) == 3 * EXACT


@pytest.mark.parametrize("who", [100, 200])
def test_nobodys_mapping_hides_in_anothers(who: int, tmp_path: Path) -> None:
    """One row of another process among many of one who may."""
    story = story_of(3 * EXACT, lambda story: story.map(7, who, 0x9000), pid=100)
    assert of(story.write(tmp_path / "s.seal"), ONLY).result == (OPEN if who == 100 else FAIL)


def test_what_lies_in_the_gaps_is_a_doubt(tmp_path: Path) -> None:
    """Of many mappings it is not kept where which was when: an access there may have met one."""

    def access(story: Story) -> None:
        story.event("remote_read", 0, 300, answer=5, length=5, mm=0xFF00 + 100,
                    size_after=0x10000 + 0x1000 * 2 * EXACT)  # fmt: skip

    claim = READ_BY
    exact = of(story_of(EXACT, access, pid=100).write(tmp_path / "a.seal"), claim)
    many = of(story_of(4 * EXACT, access, pid=100).write(tmp_path / "b.seal"), claim)
    assert exact.result == PASS, "nothing was mapped there then"
    assert many.result == OPEN


def test_ranges_of_many_hold_them_all(tmp_path: Path) -> None:
    path = story_of(3 * EXACT, lambda story: None).write(tmp_path / "s.seal")
    with Recording.open(path) as recording:
        evidence = load(recording, parse(policy(ONLY)).claims)
    file = evidence.known[1, 7, 7]
    found = file.ranges
    assert sum(not one.blurred for one in found) == EXACT
    [many] = [one for one in found if one.blurred]
    assert many.row.times == 2 * EXACT
    assert (many.start, many.end) == (0x10000 + 0x1000 * EXACT, 0x10000 + 0x1000 * 3 * EXACT)
    last = max(row.time_ns for row in file.rows if row.op == "unmap")
    assert many.since_ns < last <= many.until_ns
