"""DataFrame to DataFrame, lists that are bounded, and recordings in two lines."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tests.unit.analysis.analysis_data import (
    HOSTS,
    VARIANTS,
    announcements,
    baseline,
    decided,
    events,
    rows_of,
)
from tests.unit.analysis.test_fold import in_one_go
from tests.unit.recording.store_records import SMALL, killed
from tracer.analysis import api, tables, timeline
from tracer.analysis.decisions import Decisions, Window, summarize
from tracer.analysis.frames import batch_of, frame_of, stacked
from tracer.filter.query import parse
from tracer.record import EVENT, HEAD, LOSS, OBJECT, RECORD_SIZE, RecordType
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter
from tracer.words import Flag, Kind, Op


def test_pure_functions_give_the_tables_of_a_fold() -> None:
    rows = events(11, 120)
    objects = announcements(rows, 11)
    judged = tables.decisions(rows, objects, VARIANTS)
    assert len(judged) == int(decided(rows).sum())
    assert judged.index.tolist() == rows.index[decided(rows)].tolist()
    assert judged["verdict"].notna().all()
    # The announcements as they are: no facts, so nothing that only facts tell.
    found = in_one_go([(HOSTS[0], rows[decided(rows)], objects, baseline(0, 0))])
    real = tables.judge(rows[decided(rows)], objects, VARIANTS)
    assert judged["verdict"].tolist() == real["verdict"].tolist()
    whence = ["host", "boot_id"]
    for name in ("by_fd", "by_process"):
        one = getattr(tables, name)(judged).drop(columns=whence)
        counts = one[["pid", "decisions"]].groupby("pid").sum()
        other = getattr(found, name)[["pid", "decisions"]].groupby("pid").sum()
        assert_frame_equal(counts, other)
    by_op = tables.by_op(judged)
    want = pd.crosstab(judged["op"].astype(str), judged["verdict"].astype(str))
    for row in by_op.to_dict("records"):
        for word in want.columns:
            assert row[word] == want.loc[row["op"], word]
    assert tables.over_time(judged, 10**6)["decisions"].sum() == len(judged)
    assert tables.by_rule(judged)["decisions"].sum() == len(judged)
    by_object = tables.by_object(judged, objects)
    assert by_object["decisions"].sum() == int((judged["ino"] > 0).sum())
    assert "mappings" not in by_object


def test_some_of_the_decisions() -> None:
    rows = events(12, 120)
    judged = tables.decisions(rows, announcements(rows, 12), VARIANTS)
    mine = judged[judged["comm"] == "a"]
    found = tables.by_process(mine)
    assert found["decisions"].sum() == len(mine)
    assert set(found["comm"]) == {"a"}
    assert set(tables.by_object(mine)["name"].dropna()) == set(
        mine.loc[mine["ino"] > 0, "name"].dropna()
    )
    nothing = judged.head(0)
    assert len(tables.by_object(nothing)) == len(tables.by_op(nothing)) == 0
    assert list(tables.by_fd(nothing).columns) == list(tables.by_fd(judged).columns)


def test_decisions_of_several_hosts_in_one_frame() -> None:
    rows = events(13, 80)
    judged = tables.decisions(rows, None, VARIANTS)
    both = pd.concat(
        [judged.assign(boot_id=source.boot_id, host=source.host) for source in HOSTS],
        ignore_index=True,
    )
    found = tables.by_op(both)
    assert set(found["host"]) == {"alpha", "beta"}
    one = found[found["boot_id"] == "boot-b"].drop(columns=["host", "boot_id"])
    alone = tables.by_op(judged).drop(columns=["host", "boot_id"])
    assert_frame_equal(one.reset_index(drop=True), alone, check_categorical=False)


def test_a_batch_as_a_frame_and_back() -> None:
    rows = events(14, 50)
    batch = batch_of(rows, HOSTS[0])
    frame = frame_of(batch)
    again = batch_of(frame, HOSTS[0])
    for name in batch.columns:
        if name == "comm":
            assert frame["comm"].tolist() == rows["comm"].tolist()
        else:
            assert batch[name].tolist() == again[name].tolist(), name
    assert frame["op"].tolist() == rows["op"].tolist()
    with_nan = rows.astype({"fd": "float64"})
    with_nan.loc[3, "fd"] = np.nan
    assert batch_of(with_nan, HOSTS[0])["fd"][3] == -1
    words = stacked([frame, frame])
    assert str(words["op"].dtype) == "category"
    assert words["comm"].tolist() == rows["comm"].tolist() * 2


def test_equal_decisions_are_listed_once_with_the_first_of_them() -> None:
    rows = events(15, 200)
    objects = announcements(rows, 15, 1.0)
    found = in_one_go([(HOSTS[0], rows, objects, baseline(0, 0))])
    listed = found.listed
    worst = listed["verdict"].cat.codes.tolist()
    assert worst == sorted(worst, reverse=True)
    for word in ("breach", "unexplained", "indeterminate", "blocked", "error"):
        assert listed.loc[listed["verdict"] == word, "count"].sum() == found.verdicts[word]
    assert "allowed" not in set(listed["verdict"])
    key = ["pid", "uid", "comm", "fd", "dev", "ino", "gen", "op", "arg", "errno", "expected",
           "reason", "rule", "hole", "verdict"]  # fmt: skip
    assert not listed.duplicated(key).any()
    numbered = rows.assign(row=range(len(rows)))
    for row in listed.to_dict("records"):
        same = numbered[(numbered[["pid", "uid", "fd", "dev", "ino", "gen", "arg"]]
                         == [row[name] for name in ("pid", "uid", "fd", "dev", "ino", "gen", "arg")]
                         ).all(axis=1) & (numbered["op"] == row["op"])
                        & (numbered["comm"] == row["comm"])]  # fmt: skip
        shown = ["seals", "size", "offset", "length", "answer", "duration_ns", "flags", "writable"]
        assert [row[name] for name in shown] in same[shown].to_numpy().tolist()


def test_the_list_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first cases stay, whatever the batches; the rest is counted."""
    monkeypatch.setattr("tracer.analysis.sums.MOST_CASES", 3)
    rows = events(16, 200).assign(row=range(200))
    objects = announcements(rows, 16)
    whole = in_one_go([(HOSTS[0], rows, objects, baseline(0, 0))])
    fold = Decisions()
    fold.objects(objects, HOSTS[0], complete=True)
    for start in range(0, 200, 7):
        fold.add(batch_of(rows.iloc[start : start + 7], HOSTS[0]))
    pieces = fold.tables()
    assert_frame_equal(whole.listed, pieces.listed)
    assert whole.unlisted == pieces.unlisted
    for word in ("breach", "unexplained", "indeterminate", "blocked"):
        mine = whole.listed[whole.listed["verdict"] == word]
        assert len(mine) <= 3
        assert mine["count"].sum() + whole.unlisted.get(word, 0) == whole.verdicts[word]


MANIFEST = {
    "boot_id": "boot",
    "host": "here",
    "kernel": {"release": "6.1"},
    "self_test": {"ran": True, "variants": VARIANTS},
}


def row(op: Op, seq: int, **fields: Any) -> np.ndarray:
    """An event of the store, as the kernel would send it."""
    record = np.zeros(1, EVENT)
    plain = {"type": RecordType.EVENT, "op": op, "seq": seq, "time_ns": 1000 + 10 * seq, "dev": 1,
             "ino": 5, "gen": 7, "kind": Kind.MEMFD, "pid": 9, "tid": 9, "uid": 1000, "fd": 3,
             "size": 4096, "size_after": 4096, "length": 100, "mode": 0o100777, "fmode": 3,
             "comm": np.void(b"vmm".ljust(16, b"\0"))}  # fmt: skip
    for name, value in (plain | fields).items():
        record[name] = value
    return record.view(f"V{RECORD_SIZE}").view(HEAD)


def announced(**fields: Any) -> np.ndarray:
    record = np.zeros(1, OBJECT)
    plain = {"type": RecordType.OBJECT, "op": Op.CREATE, "time_ns": 900, "dev": 1, "ino": 5,
             "gen": 7, "kind": Kind.MEMFD, "mode": 0o100777, "owner_uid": 1000}  # fmt: skip
    for name, value in (plain | fields).items():
        record[name] = value
    return record.view(f"V{RECORD_SIZE}").view(HEAD)


def recorded(path: Path, *records: np.ndarray, manifest: dict[str, Any] = MANIFEST) -> Path:
    with RecordingWriter(path, manifest, limits=SMALL) as writer:
        writer.append(np.concatenate([one.view(f"V{RECORD_SIZE}") for one in records]).view(HEAD))
        writer.close("done")
    return path


STORY = (
    announced(),
    row(Op.WRITE, 1, answer=100),
    row(Op.ADD_SEALS, 2, arg=8, seals_after=8, answer=0),
    row(Op.WRITE, 3, seals=8, seals_after=8, answer=-1, flags=Flag.CHECK_REACHED),
    row(Op.WRITE, 4, seals=8, seals_after=8, answer=100, flags=Flag.CHECK_REACHED, pid=10),
    row(Op.ADD_SEALS, 5, ino=6, arg=8, answer=-16, writable=1),
)
"""Written, sealed, refused as it should be; then written all the same; and one that is mapped."""


def test_two_lines(tmp_path: Path) -> None:
    recorded(tmp_path / "x.seal", *STORY)
    found = api.load(tmp_path / "x.seal")
    decisions = found.decisions
    assert decisions["verdict"].tolist() == ["allowed", "allowed", "blocked", "breach", "blocked"]
    assert decisions["errno"].astype(object).where(decisions["errno"].notna(), None).tolist() == [
        None, None, "EPERM", None, "EBUSY",
    ]  # fmt: skip
    assert decisions["host"].tolist() == ["here"] * 5
    assert found.by_object["worst"].tolist() == ["breach", "blocked"]
    assert rows_of(found.by_process, ["pid"], ["breach", "decisions"]) == {
        (10,): {"breach": 1, "decisions": 1},
        (9,): {"breach": 0, "decisions": 4},
    }
    assert found.listed["verdict"].tolist() == ["breach", "blocked", "blocked"]
    assert found.seals["added"].tolist() == [8]
    assert len(found.late_seals) == 0
    assert found.problems == []
    assert found.unannounced == 1
    assert len(found.losses) == 0
    assert len(found.objects) == 1
    assert found.over_time(10**6)["decisions"].tolist() == [5]
    assert found.events({Op.WRITE})["row"].tolist() == [0, 2, 3]
    assert_frame_equal(tables.by_op(decisions), found.by_op)
    found.close()


def test_errors_tell_decisions_apart_and_what_succeeded_does_not(tmp_path: Path) -> None:
    sealed = {"seals": 8, "seals_after": 8, "flags": Flag.CHECK_REACHED}
    answers = (100, 50, 1, -1, -1, -9, -4096)
    told = [row(Op.WRITE, seq, answer=answer, **sealed) for seq, answer in enumerate(answers, 1)]
    with api.load(recorded(tmp_path / "x.seal", announced(), *told)) as found:
        listed = found.listed.astype(object)
        counts = {
            one["answer"]: (one["verdict"], one["errno"], one["count"])
            for one in listed.where(listed.notna(), None).to_dict("records")
        }
    assert counts[100] == ("breach", None, 4), "-4096 is no error number"
    assert counts[-1] == ("blocked", "EPERM", 2)
    assert counts[-9][1:] == ("EBADF", 1)
    assert sum(count for _, _, count in counts.values()) == len(answers)


def test_who_held_what_is_read_from_the_recording(tmp_path: Path) -> None:
    held = row(Op.MAP, 0, ino=6, pid=77, fd=-1, mm=5, arg=0xA, answer=4096)
    other = row(Op.MAP, 0, ino=5, pid=78, fd=-1, mm=6, arg=0xA, answer=4096)
    scanned = row(Op.MAP, 0, ino=6, gen=0, pid=79, type=RecordType.BASELINE, arg=0xA, answer=8192)
    path = recorded(tmp_path / "x.seal", held, other, scanned, *STORY)
    with api.load(path) as found:
        assert found.busy["holders"].tolist() == ["vmm/77 vmm/79"]
        assert found.busy["held"].tolist() == [2]
    quiet = recorded(tmp_path / "y.seal", *STORY[:2])
    with Recording.open(quiet) as recording:
        none = timeline.holders([recording], summarize([recording]))
    assert list(none.columns) == list(found.busy.columns)


def test_several_recordings_and_a_filter(tmp_path: Path) -> None:
    one = recorded(tmp_path / "x.seal", *STORY)
    other = recorded(tmp_path / "y.seal", *STORY, manifest=MANIFEST | {"boot_id": "other"})
    with api.load(one, other, keep=parse("verdict:breach,blocked comm:vmm").mask) as found:
        assert found.tables.decisions == 6
        assert found.by_op["boot_id"].tolist() == ["boot", "other"] * 2
        assert len(found.by_object) == 4
        assert len(found.decisions) == 10
        assert found.tables.recordings["decisions"].tolist() == [3, 3]


def test_windows_of_time(tmp_path: Path) -> None:
    """Before the window decisions do not count; behind it there is nothing at all."""
    path = recorded(tmp_path / "x.seal", *STORY)
    rows: list[int] = []
    with Recording.open(path) as recording:
        found = summarize(
            [recording],
            windows=[Window(1020, 1040)],
            step=lambda count, last_ns: rows.append(count),
        )
        assert rows == [5]
        assert found.decisions == 2
        assert found.by_object["seals"].tolist() == [8]
        assert found.verdicts["breach"] == 0
        open_ = summarize([recording], windows=[Window()])
        assert open_.decisions == 5


def test_losses_are_summed_by_cause(tmp_path: Path) -> None:
    lost = np.zeros(3, LOSS)
    lost["type"], lost["cpu"], lost["seq"] = RecordType.LOSS, 0xFFFF, np.arange(3)
    lost["cause"], lost["hook"] = [1, 1, 6], [5, 5, 1]
    lost["count"], lost["total"] = [4, 3, 1], [4, 7, 1]
    path = recorded(tmp_path / "x.seal", lost.view(f"V{RECORD_SIZE}").view(HEAD))
    with api.load(path) as found:
        assert rows_of(found.losses, ["cause", "hook"], ["count", "boot_id"]) == {
            ("ring_full", "write"): {"count": 7, "boot_id": "boot"},
            ("missed", "mmap"): {"count": 1, "boot_id": "boot"},
        }


def test_empty_and_cut_recordings(tmp_path: Path) -> None:
    RecordingWriter(tmp_path / "empty.seal", {"boot_id": "b"}).close("done")
    with api.load(tmp_path / "empty.seal") as found:
        assert len(found.decisions) == len(found.by_object) == len(found.busy) == 0
        assert found.tables.decisions == 0
        assert "verdict" not in found.decisions or found.decisions["verdict"].empty
    path = recorded(tmp_path / "x.seal", *STORY)
    killed(path)
    os.utime(path / "lock", (0, 0))  # another machine wrote it, and has long been silent
    with (path / "chain.jsonl").open("a") as chain:
        chain.write("half a li")
    with api.load(path) as found:
        assert found.tables.decisions == 5
        assert any("killed" in problem for problem in found.problems)
    (path / "events" / "000000.parquet").unlink()
    with api.load(path) as found:
        assert found.tables.decisions == 0
        assert any("not there" in problem for problem in found.problems)


def test_without_a_self_test_nothing_is_guessed(tmp_path: Path) -> None:
    """Two kernels answer a shared read-only mapping of a WRITE-sealed file differently."""
    mmap = row(Op.MMAP, 6, seals=8, seals_after=8, arg=1 | 1 << 32, answer=4096)
    bare = {key: value for key, value in MANIFEST.items() if key != "self_test"}
    path = recorded(tmp_path / "x.seal", announced(), mmap, manifest=bare)
    with api.load(path) as found:
        assert found.decisions["verdict"].tolist() == ["indeterminate"]
        assert found.tables.verdicts["indeterminate"] == 1
    known = recorded(tmp_path / "y.seal", announced(), mmap)
    with api.load(known) as found:
        assert found.tables.verdicts["allowed"] == 1
    # Two hosts at once: each is judged by what its own kernel does.
    with api.load(path, known) as found:
        assert found.tables.recordings[["indeterminate", "allowed"]].to_numpy().tolist() == [
            [1, 0],
            [0, 1],
        ]


SAMPLES = Path(__file__).parents[3] / "samples" / "recordings"


@pytest.mark.parametrize("name", ["debian-6.1.seal", "debian-7.3.seal"])
def test_real_recordings(name: str) -> None:
    """What the kernel itself counted is what the events add up to."""
    with api.load(SAMPLES / name) as found:
        verdicts = found.decisions["verdict"].value_counts()
        assert {str(word): int(count) for word, count in verdicts.items()} == found.tables.verdicts
        busy = found.busy
        assert len(busy) > 5
        assert busy["held"].tolist() == busy["writable"].tolist()
        # Everything was unmapped and closed before the end.
        assert found.by_object["mappings"].sum() == 0
        assert found.by_object["evicted_ns"].notna().all()
        assert (found.by_object["age_ns"] > 0).all()
        assert found.by_object["created_ns"].notna().all()
        late = found.late_seals
        assert (late["writable"] > 0).all()
        assert late["mapped"].all()
        assert found.unannounced == 0
