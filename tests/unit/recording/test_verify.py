"""``verify`` finds what was lost, changed, removed or added, and which losses were declared."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.recording.store_records import (
    SMALL,
    Records,
    end_changed,
    killed,
    mixed,
    numbered,
    pick,
    rechained,
    seqs,
    write,
)
from tracer.cli.verify import Verify
from tracer.errors import UserError
from tracer.record import HEAD, LOSS, USER_CPU
from tracer.recording.chain import Link
from tracer.recording.folder import Folder
from tracer.recording.reader import KILLED, Recording
from tracer.recording.tail import Hole, Sequences, TailWriter
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter


def _flip(path: Path) -> None:
    part = path / "events" / "000001.parquet"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)


def _truncate(path: Path) -> None:
    part = path / "events" / "000001.parquet"
    part.write_bytes(part.read_bytes()[:-1])


def _remove(path: Path) -> None:
    (path / "events" / "000001.parquet").unlink()


def _add(path: Path) -> None:
    (path / "events" / "000009.parquet").write_bytes(b"x")


def _more(path: Path) -> None:
    (path / "more").write_text("x")


def _chain(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        file = path / "chain.jsonl"
        file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))

    return apply


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        text = (path / name).read_text()
        assert old in text
        (path / name).write_text(text.replace(old, new, 1))

    return apply


def _without(name: str) -> Callable[[Path], None]:
    """A chain that fits, of which a line does not name the file that it is there for."""

    def apply(path: Path) -> None:
        def change(link: Link) -> Link:
            files = {path: said for path, said in link.files.items() if path != name}
            return replace(link, files=files)

        rechained(path, change)

    return apply


def _tail_added(path: Path) -> None:
    with Folder.open(path / "tail") as where:
        tail = TailWriter(where, 4)
        tail.append(numbered(3, first=150))
        tail.close()


_DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped byte": (_flip, "000001.parquet was changed"),
    "truncated part": (_truncate, "bytes long"),
    "removed part": (_remove, "is missing"),
    "added part": (_add, "000009.parquet is not in the chain"),
    "last segment removed": (_chain(lambda lines: [*lines[:-2], lines[-1]]), "does not follow"),
    "first segment removed": (_chain(lambda lines: [lines[0], *lines[2:]]), "lines were removed"),
    "begin removed": (_chain(lambda lines: lines[1:]), "lines were removed"),
    "lines swapped": (_chain(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]), "exchang"),
    "byte behind the end": (_chain(lambda lines: [*lines, b"\0"]), "there is more"),
    "line doubled": (_chain(lambda lines: [*lines, lines[-1]]), "stands behind the end"),
    "line changed": (_edit("chain.jsonl", '"rows":40', '"rows":41'), "its digest is wrong"),
    "line unreadable": (_edit("chain.jsonl", '{"segment":1', '{"segment":"x"'), "cannot be read"),
    "line names another file": (_edit("chain.jsonl", "events/000001", "../x/000001"), "be read"),
    "manifest changed": (_edit("manifest.json", "test", "TEST"), "manifest.json is not the one"),
    "lines joined": (_edit("chain.jsonl", "}\n", "}"), "cannot be read"),
    "blank in a line": (_edit("chain.jsonl", '"unknown":', '"unknown": '), "cannot be read"),
    "key twice": (_edit("chain.jsonl", '"unknown":0', '"unknown":9,"unknown":0'), "cannot be read"),
    "end changed": (_edit("end.json", '"done"', '"DONE"'), "end.json was changed"),
    "end removed": (lambda p: (p / "end.json").unlink(), "end.json is missing"),
    "end without its file": (_without("end.json"), "Line 6 of chain.jsonl cannot be read"),
    "begin without its file": (_without("manifest.json"), "Line 1 of chain.jsonl cannot be read"),
    "tail added": (_tail_added, "tail/000004.records is not in the chain"),
    "another file": (_more, "more is not in the chain"),
}


@pytest.mark.parametrize("what", _DAMAGE)
def test_damage_is_found(tmp_path: Path, what: str) -> None:
    path = write(tmp_path / "r.seal", numbered(150))
    assert verify(path).ok
    change, sentence = _DAMAGE[what]
    change(path)
    report = verify(path)
    assert report.exit_code == 2
    assert not report.ok
    assert sentence in " ".join(report.damage)
    with Recording.open(path) as recording:  # and it still reads
        assert set(seqs(recording)) <= set(range(150))
        followed = [n for table in recording.follow() for n in table["seq"].to_pylist()]
        assert set(followed) <= set(range(150))


@pytest.mark.parametrize("what", ["end.json", "chain.jsonl", "the last line"])
def test_without_its_end_it_is_cut_off(tmp_path: Path, what: str) -> None:
    """As a recorder leaves it that is killed while it ends: nobody vouches for what is there."""
    path = write(tmp_path / "r.seal", numbered(150))
    if what == "the last line":
        _chain(lambda lines: lines[:-1])(path)
    elif what == "end.json":
        killed(path)
    else:
        (path / what).unlink()
    report = verify(path)
    assert (report.exit_code, report.damage) == (3, [])
    assert report.incomplete[0] == KILLED
    with Recording.open(path) as recording:
        assert recording.end is None


@pytest.mark.parametrize(
    ("cpus", "wrong"),
    [
        (lambda first, last, count: {0: (first, last, count)}, False),
        (lambda first, last, count: {0: (first, last, count - 1)}, True),
        (lambda first, last, count: {0: (first + 1, last, count)}, True),
        (lambda first, last, count: {0: (first, last + 1, count)}, True),
        (lambda first, last, count: {1: (first, last, count)}, True),
        (lambda *_: {}, True),
    ],
)
def test_each_cpu_has_the_numbers_that_the_chain_says(
    tmp_path: Path, cpus: Callable[[int, int, int], dict[int, tuple[int, int, int]]], wrong: bool
) -> None:
    path = write(tmp_path / "r.seal", numbered(50))
    rechained(path, lambda link: replace(link, cpus=cpus(*link.cpus[0])) if link.cpus else link)
    said = [f"Segment {n} holds other sequence numbers than the chain says." for n in (0, 1)]
    assert verify(path).damage == (said if wrong else [])


_NEXT, _TEMPORARY, _BEFORE = "000002.parquet", ".000002.parquet.tmp", "000001.parquet"
_UNFINISHED, _LATER = "belongs to a segment that was not finished", "it was put there later"


@pytest.mark.parametrize("name", [_NEXT, _TEMPORARY, _BEFORE])
@pytest.mark.parametrize("state", ["alive", "killed", "failed", "ended"])
def test_files_that_the_chain_does_not_name(tmp_path: Path, state: str, name: str) -> None:
    """Of a segment that is being made, or was when the recorder died; else they are added."""
    path = tmp_path / "r.seal"
    with RecordingWriter(path, {}, limits=SMALL) as writer:
        writer.append(numbered(80))
        (path / "mappings").mkdir()
        (path / "mappings" / name).write_bytes(b"x")
        alive = verify(path)
    if state == "killed":
        killed(path)
    if state == "failed":
        end_changed(path, error="disk full")
    report = alive if state == "alive" else verify(path)
    assert report.segments == 2
    added = name == _BEFORE or state == "ended"
    assert report.damage == ([f"mappings/{name} is not in the chain: {_LATER}."] if added else [])
    left = [text for text in report.incomplete if _UNFINISHED in text]
    assert len(left) == (not added and state != "alive")


def test_exchanged_contents_are_found_even_with_good_digests(tmp_path: Path) -> None:
    """Somebody who rewrites the chain too leaves holes, which need no digest."""
    path = write(tmp_path / "r.seal", pick(numbered(150), np.arange(150) != 70), final={0: 150})
    report = verify(path)
    assert report.damage == []
    assert report.holes == [Hole(0, 70, 70)]
    assert (report.missing, report.unexplained, report.exit_code) == (1, 1, 2)


def _loss(count: int, cause: int = 1) -> Records:
    loss = np.zeros(1, LOSS)
    loss["type"], loss["cause"], loss["count"], loss["total"] = 5, cause, count, count
    loss["cpu"] = USER_CPU
    return loss.view(f"V{HEAD.itemsize}").view(HEAD)


@pytest.mark.parametrize(("declared", "unexplained"), [(0, 7), (5, 2), (7, 0), (9, 0)])
def test_declared_losses_explain_holes(tmp_path: Path, declared: int, unexplained: int) -> None:
    kept = pick(numbered(150), [n for n in range(150) if not 10 <= n < 15 and n not in (60, 80)])
    raw = [one.view(f"V{HEAD.itemsize}") for one in (kept, _loss(declared))]
    report = verify(write(tmp_path / "r.seal", np.concatenate(raw).view(HEAD)))
    assert report.holes == [Hole(0, 10, 14), Hole(0, 60, 60), Hole(0, 80, 80)]
    assert report.missing == 7
    assert report.unexplained == unexplained
    assert report.accounted == ({"ring_full": declared} if declared else {})
    said = f"{declared} ring_full" if declared else "none"
    assert f"declared {said}; unexplained {unexplained}" in "\n".join(report.lines())
    assert report.ok is (unexplained == 0)


def test_other_losses_explain_no_hole(tmp_path: Path) -> None:
    kept = pick(numbered(20), [n for n in range(20) if n != 5])
    raw = [one.view(f"V{HEAD.itemsize}") for one in (kept, _loss(4, cause=6))]
    assert verify(write(tmp_path / "r.seal", np.concatenate(raw).view(HEAD))).unexplained == 1


def test_losses_at_both_ends_cannot_hide(tmp_path: Path) -> None:
    report = verify(write(tmp_path / "r.seal", numbered(10, first=3), final={0: 15, 4: 2}))
    assert report.holes == [Hole(0, 0, 2), Hole(0, 13, 14), Hole(4, 0, 1)]


def test_local_disorder_is_no_hole_and_repetition_is_damage(tmp_path: Path) -> None:
    order = np.arange(150)
    order[38:42] = [41, 40, 39, 38]  # across the cut at 40
    assert verify(write(tmp_path / "a.seal", pick(numbered(150), order))).ok
    order[100] = 3
    report = verify(write(tmp_path / "b.seal", pick(numbered(150), order)))
    assert "already" in " ".join(report.damage)
    assert report.holes == [Hole(0, 100, 100)]


@pytest.mark.slow
def test_all_tables_count(tmp_path: Path) -> None:
    records = mixed(400)
    report = verify(write(tmp_path / "r.seal", records))
    assert report.ok, report.lines()
    assert sum(report.rows.values()) == 400


def test_unknown_record_types_are_told(tmp_path: Path) -> None:
    records = numbered(50)
    records["type"][7] = 99
    report = verify(write(tmp_path / "r.seal", records))
    assert report.accounted == {"unknown_type": 1}
    assert report.ok


def test_a_recording_without_end(tmp_path: Path) -> None:
    path = write(tmp_path / "r.seal", numbered(150))
    report = verify(killed(path))
    assert (report.exit_code, report.damage, report.unexplained) == (3, [], 0)
    assert "killed" in report.incomplete[0]


def test_a_live_recording_is_incomplete_not_damaged(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        writer.tick(0)
        writer.append(numbered(50))
        writer.tick(1)
        report = verify(tmp_path / "r.seal")
        assert report.alive
        assert (report.exit_code, report.rows) == (3, {"events": 50})


def _run(*args: str) -> int:
    verb = Verify()
    return verb.run(verb.parser().parse_args(args))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "r.seal", pick(numbered(150), np.arange(150) != 70))
    assert _run(str(path)) == 2
    assert "CPU 0: 70-70 (1)" in capsys.readouterr().out
    assert _run(str(path), "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert found["holes"] == [{"cpu": 0, "first": 70, "last": 70, "count": 1}]


def test_whoever_holds_the_final_digest_sees_any_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that a good chain was made for."""
    path = write(tmp_path / "r.seal", numbered(50))
    assert _run(str(path)) == 0
    [held] = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "digest" in line]
    assert _run(str(path), "--digest", held.upper()) == 0
    for typo in (held[:-1], held + "0", held[:-1] + "g", ""):
        with pytest.raises(UserError, match="64 hex digits") as caught:
            _run(str(path), "--digest", typo)
        assert caught.value.exit_code == 1
    capsys.readouterr()
    end_changed(path, in_flight=0)
    assert _run(str(path)) == 0
    capsys.readouterr()
    assert _run(str(path), "--digest", held) == 2
    assert "not the one that was given" in capsys.readouterr().out


def test_a_recording_without_records(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.seal", {}, limits=SMALL) as writer:
        writer.close("done")
    report = verify(tmp_path / "r.seal")
    assert report.lines() == [
        f"OK: {tmp_path / 'r.seal'}: whole, and nothing was changed",
        "  0 segments; rows: none", "  stopped: done",
        f"  digest: {report.digest}",
    ]  # fmt: skip


def test_each_cpu_counts_for_itself() -> None:
    """Where the numbers of one CPU end, those of another one that are there do not go on."""
    found = Sequences()
    found.add(np.array([0, 0, 1, 1], np.uint16), np.array([0, 1, 2, 3], np.uint64))
    assert found.holes({1: 6}) == [Hole(1, 0, 1), Hole(1, 4, 5)]
    assert found.highest() == {0: 1, 1: 3}
