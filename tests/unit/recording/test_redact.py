"""Copies without names: nothing of the texts is left, and all else says the same."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.audit.audit_story import Story, killed
from tests.unit.cgroup_forms import ID
from tests.unit.recording.test_places import ROOT, SLICE, row
from tests.unit.recording.test_tasks import row as task
from tracer.analysis.decisions import summarize
from tracer.cli.main import main
from tracer.record import CGROUP, TASK, USER_CPU, TaskText
from tracer.recording import redact as module
from tracer.recording.errors import AlreadyExists, StoreError
from tracer.recording.format import TABLES, Limits
from tracer.recording.manifest import End, Manifest
from tracer.recording.places import Places
from tracer.recording.reader import Recording
from tracer.recording.redact import KEYS, Pseudonyms, leaves, redact, undecided
from tracer.recording.tasks import Actor, Tasks
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter

SAMPLES = Path(__file__).parents[3] / "samples" / "recordings"
SECRET = "Zanzibar"
LONG = f"{SECRET}-{'w' * 200}"


def named(*rows: np.ndarray) -> Iterator[np.ndarray]:
    for one in rows:
        yield one.copy().view(CGROUP)


def story() -> Story:
    """A file, two processes, units and containers: their texts have the secret."""
    told = Story()
    unit, wide = f"{SECRET}.service".encode(), f"{SECRET}{'y' * 190}.service".encode()
    rows = (
        ROOT,
        SLICE,
        row(3, 2, unit),
        row(4, 2, f"docker-{ID}.scope".encode()),
        row(5, 2, wide[:143], more=True),
        row(5, 2, wide[143:], part=1),
        row(6, 1, b"machine.slice"),
        row(7, 6, f"machine-qemu\\x2d1\\x2d{SECRET}.scope".encode()),
        row(8, 3, f"docker-{ID}.scope".encode(), user=1000),
    )
    for one in named(*rows):
        told._add(one, USER_CPU)
    who = Actor(200, 5, 1)
    for one in (
        task(text=f"/opt/{SECRET}/bin".encode(), actor=who),
        task(TaskText.CMDLINE, f"{SECRET}\0--key\0".encode(), actor=who, more=True),
        task(TaskText.CMDLINE, SECRET.encode(), part=1, actor=who),
    ):
        told._add(one.copy().view(TASK), USER_CPU)
    told.create(5, SECRET, cgroup=3, comm=SECRET.encode())
    told.create(6, LONG, cgroup=4, comm=SECRET.encode())
    told.create(7, "other", cgroup=5, comm=b"other")
    told.create(8, SECRET, cgroup=7)
    told.event("write", 5, 200, SECRET.encode(), answer=-1, seals=8, cgroup=8)
    told.event("open", 5, 200, SECRET.encode(), baseline=True)
    told.map(5, 200, comm=b"other", cgroup=99)
    return told


TEXTS: dict[str, Any] = {
    "host": SECRET,
    "command": [SECRET, "--key", f"/home/{SECRET}"],
    "command_line": ["record", "--", SECRET],
    "kernel": {"release": "9.9.9", "command_line": f"root=/dev/{SECRET}"},
    "filters": {"name": SECRET, "files": [f"/dev/shm/{SECRET}"], "cgroups": [3]},
    "self_test": {"ran": False, "failed": f"no {SECRET}", "hooks_note": SECRET},
    "of_a_later_version": SECRET,
}
END: dict[str, Any] = {"baseline": {"start": {"problems": [f"/proc/1/{SECRET}"]}, "final": None}}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return story().write(tmp_path / "x.seal", end=END, **TEXTS)


def everything(path: Path) -> str:
    """All texts of a recording: its files as they are, and each value of each table."""
    found = [file.read_bytes().decode("latin-1") for file in path.rglob("*") if file.is_file()]
    with Recording.open(path) as recording:
        for name in TABLES:
            for table in recording.tables(name):
                found += [str(value) for column in table.columns for value in column.to_pylist()]
    return "\n".join(found)


def test_nothing_of_the_texts_is_left(recording: Path, tmp_path: Path) -> None:
    assert everything(recording).count(SECRET) > 20, "the control: they are there before"
    redact(str(recording), str(tmp_path / "copy.seal"))
    left = everything(tmp_path / "copy.seal")
    for text in (SECRET, "other", ID, "wwww", "yyyy", "later_version"):
        assert text not in left, text
    report = verify(tmp_path / "copy.seal")
    assert report.ok, report.damage
    assert report.redacted_from == verify(recording).digest
    assert report.redacted_from in "\n".join(report.lines())


def test_equal_texts_are_equal_and_others_are_not(recording: Path, tmp_path: Path) -> None:
    redact(str(recording), str(tmp_path / "copy.seal"))
    with Recording.open(tmp_path / "copy.seal") as copy:
        names = copy.frame("objects").set_index("ino")["name"].to_dict()
        events = copy.frame("events", ["pid", "comm"], names=False)
    assert names[5] == names[8]
    assert len({names[5], names[6], names[7]}) == 3
    assert all(name.startswith("memfd:name-") for name in names.values())
    assert set(events["comm"]) == {"comm-1", "comm-2", "comm-3"}


def test_a_program_is_a_pseudonym(recording: Path, tmp_path: Path) -> None:
    redact(str(recording), str(tmp_path / "copy.seal"))
    with Recording.open(tmp_path / "copy.seal") as copy:
        found = Tasks.of_tables(copy.tables("tasks")).of(Actor(200, 5, 1))
    assert found.exe.startswith("path-")
    assert found.cmdline.startswith("cmdline-")


def test_who_is_a_container_still_is_one(recording: Path, tmp_path: Path) -> None:
    redact(str(recording), str(tmp_path / "copy.seal"))
    with Recording.open(tmp_path / "copy.seal") as copy:
        places = Places.of_tables(copy.tables("cgroups"))
    assert places.of(3).path.startswith("/system.slice/x")
    assert places.of(3).place.unit.endswith(".service")
    assert (places.of(4).place.runtime, len(places.of(4).place.container)) == ("docker", 64)
    assert places.of(5).place.unit not in ("", places.of(3).place.unit)
    assert places.of(7).place.vm.startswith("x")
    forged = places.of(8).place
    assert forged.container == "", "whom nobody believed is not believed now"
    assert forged.inner is not None
    assert forged.inner.container == places.of(4).place.container


@pytest.mark.parametrize("sample", ["debian-6.1", "debian-7.3"])
def test_a_report_says_the_same(sample: str, tmp_path: Path) -> None:
    redact(str(SAMPLES / f"{sample}.seal"), str(tmp_path / "copy.seal"))
    tables = []
    for path in (SAMPLES / f"{sample}.seal", tmp_path / "copy.seal"):
        with Recording.open(path) as one:
            tables.append(summarize([one]))
    old, new = tables
    assert new.verdicts == old.verdicts
    plain = ["verdict", "op", "expected", "reason", "rule", "hole", "decisions", "first_ns"]
    assert new.by_rule[plain].equals(old.by_rule[plain])
    numbers = ["dev", "ino", "gen", "seals", "size", "mappings", "decisions", "last_ns"]
    assert new.by_object[numbers].equals(old.by_object[numbers])
    assert new.by_object["name"].nunique() == old.by_object["name"].nunique()


def test_many_segments_and_a_name_between_two(tmp_path: Path) -> None:
    told = story()
    rows = np.frombuffer(bytearray(b"".join(told.records)), "V224")
    from tests.unit.audit.audit_story import manifest
    from tracer.record import HEAD

    limits = Limits(threads=False, rows=5)
    with RecordingWriter(tmp_path / "x.seal", manifest(**TEXTS), limits=limits) as writer:
        writer.append(rows.view(HEAD))
        writer.close("done", told.seqs)
    redact(str(tmp_path / "x.seal"), str(tmp_path / "copy.seal"))
    assert verify(tmp_path / "copy.seal").ok
    assert verify(tmp_path / "copy.seal").segments == verify(tmp_path / "x.seal").segments > 3
    left = everything(tmp_path / "copy.seal")
    assert SECRET not in left
    assert "wwww" not in left
    with Recording.open(tmp_path / "copy.seal") as copy:
        objects = copy.frame("objects")
    assert objects["name_complete"].all()
    assert objects["name"].nunique() == 3


def test_of_a_killed_recorder_there_is_no_end(recording: Path, tmp_path: Path) -> None:
    killed(recording)
    redact(str(recording), str(tmp_path / "copy.seal"))
    with Recording.open(tmp_path / "copy.seal") as copy, Recording.open(recording) as old:
        assert (copy.end, copy.alive) == (None, False)
        assert len(copy.frame("events")) == len(old.frame("events")) > 0
    assert verify(tmp_path / "copy.seal").incomplete
    assert not verify(tmp_path / "copy.seal").damage


def test_what_cannot_be_copied(recording: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "copy.seal")
    redact(str(recording), out)
    with pytest.raises(AlreadyExists):
        redact(str(recording), out)
    redact(str(recording), out, force=True)
    part = next(recording.glob("events/*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(StoreError, match="is damaged"):
        redact(str(recording), str(tmp_path / "other.seal"))
    assert not (tmp_path / "other.seal").exists()


def test_one_that_is_being_written_is_not_copied(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "x.seal", {}) as writer:
        with pytest.raises(StoreError, match="is still being written"):
            redact(str(tmp_path / "x.seal"), str(tmp_path / "copy.seal"))
        writer.close("done", {})
    assert not os.path.lexists(tmp_path / "copy.seal")


# What has no decision


def test_each_text_has_a_decision() -> None:
    assert undecided() == []
    assert {*leaves(Manifest), *leaves(End)} == {*KEYS}, "none of a key that is not there"


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.binary(), pa.dictionary(pa.int32(), pa.string()), pa.large_string()]
)
def test_a_new_column_of_text_needs_one(
    monkeypatch: pytest.MonkeyPatch, recording: Path, tmp_path: Path, kind: pa.DataType
) -> None:
    wider = TABLES["clocks"].append(pa.field("zone", kind))
    monkeypatch.setattr(module, "TABLES", {**TABLES, "clocks": wider})
    assert undecided() == ["clocks.zone"]
    with pytest.raises(StoreError, match=r"clocks\.zone"):
        redact(str(recording), str(tmp_path / "copy.seal"))


def test_a_new_key_of_a_document_needs_one() -> None:
    @dataclasses.dataclass(frozen=True)
    class Wider:
        plain: int = dataclasses.field(default=0, metadata={"meaning": "", "null": True})
        text: str = dataclasses.field(default="", metadata={"meaning": "", "null": True})
        list_: tuple[str, ...] = dataclasses.field(
            default=(), metadata={"meaning": "", "null": True}
        )

    assert [*leaves(Wider)] == ["text", "list_[]"]


def test_a_column_is_hidden_by_its_decision(recording: Path, tmp_path: Path) -> None:
    with Recording.open(recording) as one:
        copy = module._Copy(one, Pseudonyms())
    coded = pa.array([SECRET, "b", SECRET]).dictionary_encode()
    found = copy.of("mappings", pa.table({"comm": coded}))
    assert found.column("comm").to_pylist() == ["comm-1", "comm-2", "comm-1"]
    words = pa.array(["kernel", "kernel", "jit"]).dictionary_encode()
    names = pa.array([b"vfs_write", b"f [their_module]", SECRET.encode()], pa.binary())
    found = copy.of("stacks", pa.table({"function": names}).append_column("what", words))
    assert found.column("function").to_pylist() == [b"vfs_write", b"symbol-1", b"symbol-2"]
    copy._wholes["modules"] = {1: copy._path(f"/{SECRET}".encode()), 2: copy._path(b"")}
    table = pa.table(
        {
            "module": [1, 1, 2],
            "part": [0, 1, 0],
            "build_id": ["abcd", "abcd", ""],
            "text": pa.array([SECRET.encode()] * 3, pa.binary()),
        }
    )
    found = copy.of("modules", table)
    assert found.column("build_id").to_pylist() == ["", "", ""]
    assert found.column("text").to_pylist() == [b"path-2", b"", b""]


def test_words_that_no_version_has_do_not_pass() -> None:
    hide = module._known_words("op")
    assert (hide("write"), hide("op_77")) == ("write", "op_77")
    assert hide(SECRET.lower()) == "op_65535"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"system.slice", b"system.slice"),
        (b"ssh.service", b"x1.service"),
        (b"user-1000.slice", b"user-1000.slice"),
        (b"user@1000.service", b"user@1000.service"),
        (b"session-3.scope", b"session-3.scope"),
        (b"app-4711.scope", b"app-x1.scope"),
        (b"machine-qemu\\x2d1\\x2dbank.scope", b"machine-qemu\\x2d1\\x2dx1.scope"),
        (b"kubepods-besteffort-podacme.slice", b"kubepods-besteffort-x1.slice"),
        (b"getty@tty1.service", b"x1@x2.service"),
        (b"", b""),
        (b"\xff\n", b"x1"),
        (b"a-" * 100, b"x2"),
    ],
)
def test_a_cgroup_s_name(name: bytes, shown: bytes) -> None:
    assert Pseudonyms().folder(name) == shown


def test_ids_keep_their_form() -> None:
    names = Pseudonyms()
    uid = "214f3ba8-0a3c-4a43-8c2d-0123456789ab"
    made = names.folder(f"pod{uid}".encode()).decode()
    assert len(made) == len(f"pod{uid}")
    other = names.folder(f"kubepods-pod{uid.replace('-', '_')}.slice".encode()).decode()
    assert made.removeprefix("pod").replace("-", "_") in other, "the same in either form"


def test_the_verb(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "copy.seal")
    assert main(["redact", str(recording), out]) == 0
    assert "3 file names, 3 command names" in capsys.readouterr().err
    assert main(["redact", str(recording), out]) == 1
    assert main(["report", out]) in (0, 2, 3)
    assert "a redacted copy: names are pseudonyms" in capsys.readouterr().out.replace("\n", " ")
