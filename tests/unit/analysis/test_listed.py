"""What a report counts and lists: every decision that was not allowed, and no fact."""

import json
from pathlib import Path

import pytest

from tests.unit.audit.audit_story import Story, manifest, self_test
from tracer.analysis.decisions import summarize
from tracer.cli.main import main
from tracer.live.cells import because
from tracer.recording.reader import Recording
from tracer.rules.verdicts import Verdict
from tracer.words import Kind
from ui.explain import why

Capture = pytest.CaptureFixture[str]
EPERM, EAGAIN, EFBIG, EINVAL = -1, -11, -27, -22
NOEXEC_SEAL = 8
MAP_SHARED, MAP_LOCKED = 1 << 32, 0x2000 << 32


def facts() -> Story:
    """What QEMU does with guest memory, and one write to a memfd."""
    story = Story()
    story.create(5, arg=2)
    story.event("write", 5, length=9, answer=9, fmode=3)
    story.memslot(5)
    story.event("receive", 5, fd=-1)
    story.event("pin", 5, fd=-1, length=4096, answer=1)
    story.event("remote_read", 5, fd=-1, length=9, answer=9)
    story.create(6, "gmem", kind=Kind.GUEST_MEMFD)
    story.event("fault", 6, kind=Kind.GUEST_MEMFD, fd=-1, length=4096)
    story.event("punch_hole", 6, kind=Kind.GUEST_MEMFD, arg=3, length=4096)
    story.event("create", 0, kind=Kind.GUEST_MEMFD, fd=-1, arg=NOEXEC_SEAL, answer=EINVAL)
    story.create(7, "secret", kind=Kind.SECRETMEM)
    story.event("mmap", 7, kind=Kind.SECRETMEM, arg=3 | MAP_SHARED, answer=0x1000)
    story.event("mmap", 7, kind=Kind.SECRETMEM, arg=3 | MAP_SHARED, answer=EPERM)
    return story


def test_facts_are_counted_nowhere(tmp_path: Path) -> None:
    with Recording.open(facts().write(tmp_path / "r.seal")) as recording:
        found = summarize([recording])
    assert found.verdicts == {**dict.fromkeys(found.verdicts, 0), "allowed": 2}
    assert found.listed.empty
    assert set(found.by_op["op"]) == {"create", "write"}
    assert found.by_object["decisions"].tolist() == [2, 0, 0]


@pytest.mark.parametrize("unsealable", [False, True])
def test_a_lone_create_is_explained(tmp_path: Path, capsys: Capture, unsealable: bool) -> None:
    story = Story()
    story.create(5, "plain", arg=0, seals=1, seals_after=1)
    story.create(6, "sealable", arg=2)
    filters = manifest()["filters"] | {"unsealable": unsealable}
    path = str(story.write(tmp_path / "r.seal", filters=filters))
    assert main(["report", path, "--html", f"{path}.html"]) == 0
    capsys.readouterr()
    assert main(["report", path]) == 0
    said = (
        "1 memory file can never be sealed (made without MFD_ALLOW_SEALING, or sealed SEAL alone)"
    )
    for text in (capsys.readouterr().out, Path(f"{path}.html").read_text()):
        assert (said in " ".join(text.split())) is not unsealable
    assert main(["report", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == (not unsealable)


def test_errors_are_listed_with_their_reasons(tmp_path: Path, capsys: Capture) -> None:
    story = Story()
    story.create(5, arg=2)
    story.event("create", 0, kind=Kind.UNKNOWN, fd=-1, arg=NOEXEC_SEAL, answer=EINVAL)
    story.event("write", 5, length=1 << 20, answer=EFBIG, fmode=3)
    story.event("write", 5, length=1 << 21, answer=EFBIG, fmode=3)
    locked = 3 | MAP_SHARED | MAP_LOCKED
    story.event("mmap", 5, arg=locked, length=1 << 20, answer=EAGAIN, fmode=3)
    story.event("mmap", 5, arg=3 | MAP_SHARED, length=4096, answer=-13, fmode=1)
    path = story.write(tmp_path / "r.seal", self_test=self_test(bit_0x20="none", variants={
        "bit_0x20": "none"}))  # fmt: skip
    reasons = {
        ("create", "EINVAL", 1): "this kernel has no MFD_NOEXEC_SEAL",
        ("write", "EFBIG", 2): "larger than RLIMIT_FSIZE or the file system allows",
        ("mmap", "EAGAIN", 1): "more locked memory than RLIMIT_MEMLOCK allows",
        ("mmap", "EACCES", 1): "descriptor not open for writing",
    }
    assert main(["report", str(path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["listed"]
    assert {(r["op"], r["errno"], r["count"]): r["reason"] for r in listed} == reasons
    assert {row["verdict"] for row in listed} == {"error"}
    assert main(["report", str(path)]) == 0
    text = capsys.readouterr().out
    assert "ERROR: 5 decisions, 4 different" in text
    assert main(["report", str(path), "--html", str(tmp_path / "r.html")]) == 0
    html = (tmp_path / "r.html").read_text()
    for reason in reasons.values():
        assert reason in " ".join(text.split())
        assert reason in html


@pytest.mark.parametrize(
    ("verdict", "reason", "said"),
    [
        (Verdict.ERROR, "", "larger than RLIMIT_FSIZE or the file system allows"),
        (Verdict.ERROR, "another", "another"),
        (Verdict.ALLOWED, "", ""),
    ],
)
def test_the_view_gives_the_same_reasons(verdict: Verdict, reason: str, said: str) -> None:
    event = {"verdict": verdict, "reason": reason, "op": "write", "answer": EFBIG}
    shown = [line.value for line in why(event) if line.label == "because"]
    assert shown == ([said] if said else [])
    assert because(event.get) == said
