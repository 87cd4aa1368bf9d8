"""From rows to records: pairing, races, filters, and what a loss makes of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.capture.ftrace_rows import INO, INODE, KEY, Story, events, maker
from tracer.capture.bpf_source import Filters
from tracer.capture.ftrace import calls as pair_module
from tracer.capture.ftrace.calls import NOWHERE, pair
from tracer.capture.ftrace.decode import THREAD_BIT
from tracer.capture.ftrace.pages import What
from tracer.record import NAME, OBJECT, RecordType
from tracer.words import Flag, Hook, LossCause, Op


def test_an_entry_takes_the_first_return_of_its_hook() -> None:
    story = Story()
    story.entry(7, Op.WRITE)
    story.entry(8, Op.WRITE)
    story.exit(7, Op.MMAP, 1)  # of a file that the filter kept back
    story.exit(8, Op.WRITE, -1)
    story.exit(7, Op.WRITE, 3)
    story.exit(7, Op.WRITE, 99)  # another such file's
    rows = story.take()
    paired = pair(rows)
    found = {
        int(rows["tid"][a]): int(rows["ret"][b])
        for a, b in zip(paired.entry, paired.exit, strict=True)
    }
    assert found == {7: 3, 8: -1}
    assert not paired.open.any()
    assert len(paired.abandoned) == 0


def test_what_happens_inside_belongs_to_the_call() -> None:
    story = Story()
    story.inside(What.CHECK, 7, Hook.WRITE_CHECK, ret=-5)  # nobody's
    story.entry(7, Op.WRITE)
    story.inside(What.CHUNK, 7, Hook.WRITE_CHECK, offset=100)
    story.inside(What.CHECK, 7, Hook.WRITE_CHECK, ret=0)
    story.inside(What.CHUNK, 7, Hook.WRITE_CHECK, offset=4096)
    story.inside(What.CHECK, 8, Hook.WRITE_CHECK, ret=-9)  # another thread's
    story.inside(What.CHECK, 7, Hook.WRITE_CHECK, ret=-1)
    story.inside(What.CHECK, 7, Hook.MMAP_CHECK, ret=-7)  # of another operation
    story.exit(7, Op.WRITE, 3996)
    story.inside(What.CHECK, 7, Hook.WRITE_CHECK, ret=-6)  # too late
    rows = story.take()
    paired = pair(rows)
    assert paired.checks.tolist() == [2]
    assert rows["ret"][paired.last_check].tolist() == [-1]
    assert rows["offset"][paired.first_chunk].tolist() == [100]
    assert paired.file_mmap.tolist() == [NOWHERE]


def test_an_entry_without_return_is_lost_when_its_thread_goes_on_or_ends() -> None:
    story, made = Story(), maker()
    story.entry(7, Op.WRITE)
    story.call(7, Op.MMAP, 4096)
    story.entry(8, Op.TRUNCATE)
    story.inside(What.EXIT, 8, Hook.NONE)
    story.entry(9, Op.ALLOCATE)
    found = events(made.make(story.take()))
    assert found["tid"].tolist() == [7]
    lost = made.lost[:, LossCause.NO_RETURN]
    assert lost[Hook.WRITE] == lost[Hook.SETATTR] == 1
    assert lost.sum() == 2
    assert made.in_flight == 1
    story.exit(9, Op.ALLOCATE, -28)
    assert events(made.make(story.take()))["answer"].tolist() == [-28]
    assert made.in_flight == 0


def test_only_threads_with_nested_calls_are_gone_through_row_by_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That takes many times as long as all others together."""
    looked: list[int] = []

    def by_stack(told: Any, thread: slice, *_: object) -> None:
        looked.extend(set(told.tid[thread].tolist()))

    monkeypatch.setattr(pair_module, "_by_stack", by_stack)
    story = Story()
    for tid in (7, 8, 8):
        story.call(tid, Op.WRITE, 1)
    story.inside(What.EXIT, 8, Hook.NONE)
    story.call(8, Op.WRITE, 1)  # the number is used again
    story.entry(9, Op.WRITE)  # and goes on
    story.entry(10, Op.WRITE)
    story.call(10, Op.CHMOD)
    story.exit(10, Op.WRITE, 1)
    story.entry(11, Op.WRITE)
    pair(story.take())
    assert looked == [10]


def test_a_doubt_is_kept_for_the_calls_that_it_may_be_about() -> None:
    story, made = Story(), maker()
    story.entry(7, Op.WRITE)
    made.doubts.append((story.now + 1, story.now + 5))
    assert len(events(made.make(story.take()))) == 0
    story.call(8, Op.WRITE, 1)
    story.exit(7, Op.WRITE, 5)
    found = events(made.make(story.take()))
    doubtful = {int(one["tid"]): bool(one["flags"] & Flag.RETURN_MISSING) for one in found}
    assert doubtful == {7: True, 8: False}
    story.call(8, Op.WRITE, 1)
    assert not (events(made.make(story.take()))["flags"] & Flag.RETURN_MISSING).any()
    assert made.doubts == []


def nested() -> Story:
    """A write changes the mode on its way (file_remove_privs), between two looks at the seals."""
    story = Story()
    story.entry(7, Op.WRITE, sp=1000)
    story.entry(7, Op.CHMOD, sp=600)
    story.inside(What.CHUNK, 7, Hook.WRITE_CHECK, offset=3)  # not this one's
    story.exit(7, Op.WRITE, 99, sp=308)  # of another file, deeper still
    story.exit(7, Op.CHMOD, 0, sp=608)
    story.exit(7, Op.WRITE, 98, sp=708)
    story.inside(What.CHECK, 7, Hook.WRITE_CHECK, ret=-1)
    story.exit(7, Op.WRITE, -1, sp=1008)
    return story


def test_calls_are_nested() -> None:
    rows = nested().take()
    paired = pair(rows)
    found = [
        (Op(rows["op"][a]).name, int(rows["ret"][b]))
        for a, b in zip(paired.entry, paired.exit, strict=True)
    ]
    assert sorted(found) == [("CHMOD", 0), ("WRITE", -1)]
    place = [one[0] for one in found].index("WRITE")
    assert paired.checks[place] == 1
    assert rows["offset"][paired.first_chunk[place]] == 3
    assert not paired.open.any()
    assert len(paired.abandoned) == 0


def test_a_nested_call_s_records_do_not_depend_on_the_batch() -> None:
    rows = nested().take()
    whole = maker()
    expected = whole.make(rows)
    assert events(expected)["op"].tolist() == [Op.CHMOD, Op.WRITE]
    assert whole.lost.sum() == 0
    for cut in range(len(rows) + 1):
        made = maker()
        parts = np.concatenate([made.make(part) for part in np.split(rows, [cut])])
        assert parts.tobytes() == expected.tobytes(), cut
        assert made.in_flight == 0


def test_a_call_is_over_when_its_thread_is_seen_above_it() -> None:
    """Its return was lost: the next one at its height, or the return of what it was called by."""
    story, made = Story(), maker()
    story.entry(7, Op.WRITE, sp=1000)
    story.entry(7, Op.TRUNCATE, sp=600)  # its return is lost
    story.exit(7, Op.WRITE, 5, sp=1008)
    story.entry(8, Op.WRITE, sp=1000)  # lost as well
    story.call(8, Op.TRUNCATE, -1, sp=600)  # may be inside it
    story.call(8, Op.WRITE, 6, sp=1000)
    found = events(made.make(story.take()))
    told = [(int(one["tid"]), Op(one["op"]).name, int(one["answer"])) for one in found]
    assert told == [(7, "WRITE", 5), (8, "TRUNCATE", -1), (8, "WRITE", 6)]
    lost = made.lost[:, LossCause.NO_RETURN]
    assert (lost[Hook.SETATTR], lost[Hook.WRITE], int(lost.sum())) == (1, 1, 2)


def test_a_return_from_elsewhere_in_the_stack_is_not_taken() -> None:
    story = Story()
    story.entry(7, Op.WRITE, sp=1000)
    story.exit(7, Op.WRITE, 9, sp=900)
    story.exit(7, Op.WRITE, 5, sp=1008)
    rows = story.take()
    assert rows["ret"][pair(rows).exit].tolist() == [5]


@pytest.mark.slow
@settings(deadline=None)
@given(st.data())
def test_batches_make_no_difference(data: st.DataObject) -> None:
    """Cut anywhere, the same events with the same numbers come out."""
    story = Story()
    open_ops: dict[int, Op] = {}
    ops = (Op.MMAP, Op.WRITE, Op.TRUNCATE, Op.ADD_SEALS)
    for _ in range(data.draw(st.integers(0, 40))):
        tid = data.draw(st.integers(2, 4))
        if tid in open_ops and data.draw(st.booleans()):
            story.exit(tid, open_ops.pop(tid), data.draw(st.sampled_from((0, -1, -16))))
        elif tid not in open_ops:
            open_ops[tid] = data.draw(st.sampled_from(ops))
            story.entry(tid, open_ops[tid], arg=8, seals=data.draw(st.sampled_from((0, 8))))
        else:
            story.inside(What.CHECK, tid, Hook.WRITE_CHECK, ret=data.draw(st.integers(-2, 0)))
    rows = story.take()
    whole = maker()
    expected = whole.make(rows)
    cut = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    parts = maker()
    found = [parts.make(piece) for piece in np.split(rows, cut)]
    joined = np.concatenate(found)
    same = [name for name in joined.dtype.names or () if name != "flags"]
    # A seal that is still being added when a call is told may turn out to fail: then it is
    # flagged as raced by one and not by the other, which is on the safe side.
    assert joined[same[:-1]].tolist() == expected[same[:-1]].tolist()
    raced = int(Flag.RACED_SEALS)
    assert (joined["flags"] | raced).tolist() == (expected["flags"] | raced).tolist()
    assert parts.in_flight == whole.in_flight
    assert (parts.decided == whole.decided).all()


def test_a_seal_added_meanwhile_is_a_race() -> None:
    story, made = Story(), maker()
    story.entry(7, Op.WRITE)
    story.entry(8, Op.ADD_SEALS, arg=8)
    story.exit(8, Op.ADD_SEALS, 0)
    story.exit(7, Op.WRITE, -1)
    story.call(7, Op.WRITE, -1, seals=8)
    found = {int(row["time_ns"]): row for row in events(made.make(story.take()))}
    raced, seal, later = (found[time] for time in sorted(found))
    assert raced["flags"] & Flag.RACED_SEALS
    assert (raced["seals"], raced["seals_after"]) == (0, 8)
    assert not (seal["flags"] | later["flags"]) & Flag.RACED_SEALS
    assert (seal["seals"], seal["seals_after"]) == (0, 8)
    assert later["seals_after"] == 8


def test_seals_seen_on_the_way_are_the_call_s() -> None:
    """Between the pages of a write somebody else added some."""
    story, made = Story(), maker()
    story.entry(7, Op.WRITE, seals=2)
    story.inside(What.CHUNK, 7, Hook.WRITE_CHECK, seals=2 | 8)
    story.exit(7, Op.WRITE, -1)
    (told,) = events(made.make(story.take()))
    assert (told["seals"], told["seals_after"]) == (2, 2 | 8)
    assert told["flags"] & Flag.RACED_SEALS


@pytest.mark.parametrize(("inode", "answer"), [(INODE, -16), (INODE + 1, 0)])
def test_a_seal_that_failed_or_is_another_file_s_is_none(inode: int, answer: int) -> None:
    story, made = Story(), maker()
    story.entry(7, Op.WRITE)
    story.entry(8, Op.ADD_SEALS, arg=8, inode=inode)
    story.exit(8, Op.ADD_SEALS, answer)
    story.exit(7, Op.WRITE, 5)
    found = events(made.make(story.take()))
    assert not (found["flags"] & Flag.RACED_SEALS).any()


def test_a_mapping_refused_while_a_seal_is_tried_is_raced_though_it_fails() -> None:
    story, made = Story(), maker()
    story.entry(8, Op.ADD_SEALS, arg=8)
    story.call(7, Op.MMAP, -1, length=4096)
    story.exit(8, Op.ADD_SEALS, -16)
    story.call(7, Op.MMAP, -1, length=4096)
    found = events(made.make(story.take()))
    mmaps = found[found["op"] == Op.MMAP]
    assert [bool(flags & Flag.RACED_SEALS) for flags in mmaps["flags"]] == [True, False]


def test_seals_beyond_32_bits_are_not_added() -> None:
    """Where the kernel takes so many it refuses them, and meanwhile nobody is raced."""
    story, made = Story(), maker()
    story.entry(8, Op.ADD_SEALS, arg=1 << 32 | 8)
    story.call(7, Op.WRITE, 5)
    assert not (events(made.make(story.take()))["flags"] & Flag.RACED_SEALS).any()
    story.exit(8, Op.ADD_SEALS, -22)
    (told,) = events(made.make(story.take()))
    assert (told["arg"], told["answer"], told["seals_after"]) == (1 << 32 | 8, -22, 0)


def test_what_an_inode_refuses_by_itself_is_told_of_refusals() -> None:
    story, made = Story(), maker()
    for answer in (5, -1, -13, -14):
        story.call(7, Op.WRITE, answer, bound=Flag.APPEND_ONLY)
    found = events(made.make(story.take()))["flags"] & int(Flag.APPEND_ONLY) != 0
    assert found.tolist() == [False, True, True, False]


def test_executable_files_get_the_seals_that_exec_brings() -> None:
    story, made = Story(), maker()
    story.call(7, Op.ADD_SEALS, 0, arg=0x20, mode=0o100777)
    story.call(7, Op.ADD_SEALS, 0, arg=0x20, mode=0o100666)
    assert events(made.make(story.take()))["seals_after"].tolist() == [0x3E, 0x20]


def test_sizes_follow_from_what_was_done() -> None:
    story, made = Story(), maker()
    story.call(7, Op.TRUNCATE, 0, size=10, length=99)
    story.call(7, Op.TRUNCATE, -1, size=10, length=99)
    story.call(7, Op.WRITE, 30, size=10, offset=5, length=40)
    story.call(7, Op.ALLOCATE, 0, size=10, offset=5, length=40)
    story.call(7, Op.ALLOCATE, 0, size=10, offset=5, length=40, arg=1)  # KEEP_SIZE
    story.entry(7, Op.MMAP, size=10, length=4096)
    story.inside(What.FACT, 7, Hook.MAP, op=Op.MAP, inode=INODE, size=4096, key=KEY)
    story.exit(7, Op.MMAP, 0x7000)
    found = events(made.make(story.take()))
    assert found[found["op"] != Op.MAP]["size_after"].tolist() == [99, 10, 35, 45, 10, 4096]


def test_a_return_that_tells_seals_and_size_is_believed() -> None:
    story, made = Story(), maker()
    story.entry(7, Op.ADD_SEALS, arg=8)
    story.exit(7, Op.ADD_SEALS, 0, later=1, inode=INODE, seals=0, size=3, writable=0)
    story.entry(7, Op.WRITE)
    story.exit(7, Op.WRITE, 5, later=1, inode=INODE + 1, seals=9)  # not this file's: filtered
    story.exit(7, Op.WRITE, 4, later=1, inode=INODE, seals=0, size=9, offset=9)
    found = events(made.make(story.take()))
    assert found["seals_after"].tolist() == [0, 0]
    assert found["flags"][0] & Flag.RACED_SEALS  # the seal is not there: something came between
    assert (found["answer"][1], found["offset"][1], found["size_after"][1]) == (4, 5, 9)


def test_decisions_while_events_were_dropped_are_marked() -> None:
    story, made = Story(), maker()
    story.call(7, Op.WRITE, 5)  # 10 to 20
    story.entry(7, Op.WRITE)  # 30
    story.exit(7, Op.WRITE, 5)  # 40
    story.call(7, Op.WRITE, 5)  # 50 to 60
    made.doubts.append((35, 36))
    found = events(made.make(story.take()))
    assert [bool(flags & Flag.RETURN_MISSING) for flags in found["flags"]] == [False, True, False]


def test_an_announcement_comes_once_and_first() -> None:
    story, made = Story(), maker(name=b"memfd:" + b"n" * 200)
    story.call(7, Op.WRITE, 5, size=0, mode=0o100600)
    story.call(7, Op.WRITE, 5)
    story.inside(What.FACT, 9, Hook.EVICT, op=Op.EVICT, key=KEY, ino=5, dev=1)
    story.inside(What.FACT, 9, Hook.EVICT, op=Op.EVICT, key=KEY + 1, ino=6, dev=1)
    found = made.make(story.take())
    kinds = [RecordType.OBJECT, *[RecordType.NAME] * 2, *[RecordType.EVENT] * 3]
    assert found["type"].tolist() == kinds
    assert found["seq"].tolist() == list(range(6))
    assert found[:1].view(OBJECT)["name_len"].tolist() == [206]
    assert found[1:3].view(NAME)["length"].tolist() == [172, 34]
    assert found["ino"].tolist() == [5] * 6
    assert events(found)["op"].tolist() == [Op.WRITE, Op.WRITE, Op.EVICT]


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(), [5, -1, 5, 5]),
        (Filters(denied=True), [-1]),
        (Filters(seals=2), [5]),
        (Filters(pids=(8,)), [5]),
        (Filters(name=b"x"), [5, -1, 5, 5]),
        (Filters(name=b"y"), []),
        (Filters(uids=(3,)), []),
    ],
)
def test_filters(filters: Filters, kept: list[int]) -> None:
    story, made = Story(), maker(filters)
    story.call(7, Op.WRITE, 5)
    story.call(7, Op.WRITE, -1)
    story.call(7, Op.WRITE, 5, seals=6)
    story.call(8, Op.WRITE, 5)
    story.call(1, Op.WRITE, 5)  # the recorder's own
    found = events(made.make(story.take()))
    assert found["answer"].tolist() == kept
    assert int(made.decided.sum() - made.dropped.sum()) == len(kept)


@pytest.mark.parametrize("batches", [1, 4])
def test_what_others_do_to_a_commands_file_is_told_from_its_first_act_on(batches: int) -> None:
    """In one batch as in several, and no more when the file is gone."""
    story, made = Story(), maker(Filters(follow_command=True))
    made.tasks.follow(7)
    found: list[int] = []

    def told() -> None:
        found.extend(events(made.make(story.take()))["answer"].tolist())

    story.call(8, Op.WRITE, 1)  # not the command's file yet
    told() if batches > 1 else None
    story.call(7, Op.MMAP, 2)
    told() if batches > 1 else None
    story.call(8, Op.WRITE, 3)
    story.call(1, Op.WRITE, 4)  # the recorder's own
    story.call(8, Op.WRITE, 5, key=99)  # another file
    told() if batches > 1 else None
    story.call(7, Op.WRITE, 6)
    told()
    assert found == [2, 3, 6]
    made.objects.forget(np.array([KEY], np.uint64))
    story.call(8, Op.WRITE, 7)
    told()
    assert found == [2, 3, 6]


def test_one_file_alone() -> None:
    story, made = Story(), maker(Filters(files=(f"0:1/{INO}/0",)))
    story.call(7, Op.WRITE, 1)
    story.call(8, Op.WRITE, 2)
    story.call(8, Op.WRITE, 3, ino=INO + 1)
    story.call(8, Op.WRITE, 4, gen=1)
    assert events(made.make(story.take()))["answer"].tolist() == [1, 2]
    assert made.lost.sum() == 0


def test_children_are_followed_from_their_birth_on() -> None:
    story, made = Story(), maker(Filters(pids=(7,)))
    story.call(70, Op.WRITE, 1)  # nobody's child yet
    story.inside(What.NEWTASK, 7, Hook.NONE, number=70)
    story.call(70, Op.WRITE, 2)
    story.inside(What.NEWTASK, 70, Hook.NONE, number=71 | THREAD_BIT)
    story.inside(What.CREDS, 71, Hook.NONE, number=1000)
    story.call(71, Op.WRITE, 3)
    story.inside(What.NEWTASK, 9, Hook.NONE, number=70)  # the number comes again
    story.call(70, Op.WRITE, 4)
    found = events(made.make(story.take()))
    assert found["answer"].tolist() == [2, 3]
    assert found["pid"].tolist() == [70, 70]
    assert found["uid"].tolist() == [0, 1000]


def test_a_new_file_is_what_got_its_descriptor_inside() -> None:
    story, made = Story(), maker()
    story.entry(7, Op.CREATE, key=0, inode=0, ino=0, dev=0, kind=0, arg=2)
    file = {"key": KEY, "inode": INODE, "ino": 5, "dev": 1, "kind": 3, "mode": 0o100777}
    story.inside(What.INSTALL, 7, Hook.CREATE, seals=0, **file)
    story.exit(7, Op.CREATE, 4)
    story.call(7, Op.CREATE, -22, key=0, inode=0, ino=0, dev=0, kind=0, arg=1 << 20)
    made_one, failed = events(made.make(story.take()))
    assert (made_one["ino"], made_one["kind"], made_one["fd"]) == (5, 1, 4)
    assert (made_one["time_ns"], made_one["duration_ns"]) == (30, 0)
    assert (failed["ino"], failed["kind"], failed["fd"], failed["answer"]) == (0, 0, -1, -22)


def test_the_end_of_a_mapping_says_what_the_file_is_then() -> None:
    """There is no return: before and after are the same."""
    story, made = Story(), maker()
    story.inside(What.FACT, 9, Hook.UNMAP, op=Op.UNMAP, key=KEY, ino=5, size=4096, seals=8, ret=77)
    [event] = events(made.make(story.take()))
    assert (event["size"], event["size_after"]) == (4096, 4096)
    assert (event["seals"], event["seals_after"]) == (8, 8)
    assert event["answer"] == 77
