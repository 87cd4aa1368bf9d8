"""Pages of the tracing ring: made up ones, and those that real kernels wrote."""

import gzip
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.capture.ftrace_rows import NoTasks, events, maker
from tracer.capture.bpf_source import Filters
from tracer.capture.ftrace import pages as formats
from tracer.capture.ftrace import program as source_module
from tracer.capture.ftrace.decode import Decoder, Kinded
from tracer.capture.ftrace.pages import HEADER, What, cut, has_gaps
from tracer.capture.ftrace.probes import Probe
from tracer.capture.ftrace.program import FtraceSource
from tracer.capture.ftrace.records import Maker, Objects, Window
from tracer.record import NAME, OBJECT, RecordType
from tracer.words import Flag, Hook, Kind, LossCause, Op

SIZE = 4096
SAMPLES = sorted((Path(__file__).parent / "ftrace_pages").glob("*.json.gz"))
LATER_NS = 10**18
"""Behind every sample's end."""
_PADDING, _EXTEND, _STAMP = 29, 30, 31


class Page:
    """One page, as kernel/trace/ring_buffer.c lays it out."""

    def __init__(self, time_ns: int) -> None:
        self.now = self._first = time_ns
        self.data = b""

    def _words(self, *words: int) -> None:
        self.data += b"".join(word.to_bytes(4, "little") for word in words)

    def room(self, length: int) -> bool:
        return HEADER + len(self.data) + length + 24 <= SIZE

    def event(self, data: bytes, after_ns: int) -> tuple[int, bytes]:
        """Its time, and its data as they are padded."""
        if after_ns >= 1 << 27:
            self._words(_EXTEND | (after_ns & (1 << 27) - 1) << 5, after_ns >> 27)
            delta = 0
        else:
            delta = after_ns
        self.now += after_ns
        data = data.ljust(-(-max(len(data), 1) // 4) * 4, b"\0")
        if len(data) <= 28 * 4:
            self._words(len(data) // 4 | delta << 5)
        else:
            self._words(delta << 5, len(data) + 4)
        self.data += data
        return self.now, data

    def discarded(self, length: int, after_ns: int) -> None:
        self._words(_PADDING | after_ns << 5, length + 4)
        self.data += b"\xee" * length
        self.now += after_ns

    def stamp(self, time_ns: int) -> None:
        self._words(_STAMP | (time_ns & (1 << 27) - 1) << 5, time_ns >> 27 & (1 << 32) - 1)
        self.now = time_ns

    def bytes(self, marks: int = 0, behind: bytes = b"") -> bytes:
        head = self._first.to_bytes(8, "little")
        head += (len(self.data) | marks).to_bytes(8, "little")
        return (head + self.data + behind).ljust(SIZE, b"\0")


def pages(*one: bytes) -> Any:
    return np.frombuffer(bytearray(b"".join(one)), np.uint8).reshape(-1, SIZE)


def found(raw: Any) -> list[tuple[int, bytes]]:
    events_ = cut(raw)
    flat = raw.reshape(-1).tobytes()
    return [
        (int(time), flat[start : start + length])
        for time, start, length in zip(
            events_.time_ns, events_.start.tolist(), events_.length.tolist(), strict=True
        )
    ]


@settings(deadline=None)
@given(st.data())
def test_what_was_written_is_read(data: st.DataObject) -> None:
    expected, made = [], []
    for _ in range(data.draw(st.integers(1, 3))):
        page = Page(data.draw(st.integers(0, 1 << 60)))
        for _ in range(data.draw(st.integers(0, 20))):
            body = data.draw(st.binary(min_size=1, max_size=400))
            after_ns = data.draw(st.integers(1, 1 << 40))
            if not page.room(len(body)):
                break
            if data.draw(st.integers(0, 4)):
                expected.append(page.event(body, after_ns))
            else:
                page.discarded(len(body) // 4 * 4, after_ns & 0xFFFF | 1)
        made.append(page.bytes())
    assert found(pages(*made)) == expected


def test_absolute_times_and_the_padding_at_a_page_s_end() -> None:
    page = Page((0xF8 << 56) + 5)
    page.stamp((0xF8 << 56) + (7 << 40) + 9)
    first = page.event(b"abcd", 1)
    page._words(_PADDING)  # without a time: nothing comes behind it
    page._words(1, 2, 3)
    assert found(pages(page.bytes())) == [first]
    assert first[0] == (0xF8 << 56) + (7 << 40) + 10


def test_nothing_at_all() -> None:
    assert found(pages(Page(3).bytes())) == []
    assert len(cut(np.zeros((0, SIZE), np.uint8)).start) == 0
    assert not has_gaps(np.zeros((0, SIZE), np.uint8))


def test_an_event_that_leaves_its_page_is_not_read() -> None:
    page = Page(1)
    good = page.event(b"abcd", 1)
    page._words(0, 5000)  # longer than what is left
    assert found(pages(page.bytes())) == [good]


@pytest.mark.parametrize("length", [0, 1])
def test_an_event_without_room_for_its_type_is_not_read(length: int) -> None:
    page = Page(1)
    good = page.event(b"x" * (SIZE - HEADER - 16 - 4 * length), 1)
    page._words(0, length + 4)
    page.data += b"\1" * length
    raw = pages(page.bytes())
    assert found(raw) == [good]
    assert [len(rows) for rows in Decoder([], 0).rows(raw, np.zeros(1, np.uint16))] == [0, 0]


@given(st.integers(0, 1 << 32))
@settings(deadline=None, max_examples=50)
def test_any_bytes_can_be_cut(seed: int) -> None:
    raw = np.random.default_rng(seed).bytes(SIZE)
    for _, data in found(pages(raw)):
        assert len(data) < SIZE


def test_marks_of_missed_events() -> None:
    whole, known, unknown = Page(1), Page(2), Page(3)
    for page in (whole, known, unknown):
        page.event(b"abcd", 1)
    raw = pages(
        whole.bytes(),
        known.bytes(1 << 31 | 1 << 30, (41).to_bytes(8, "little")),
        unknown.bytes(1 << 31),
    )
    assert [has_gaps(raw[place : place + 1]) for place in range(3)] == [False, True, True]
    assert has_gaps(raw)
    assert len(found(raw)) == 3


def test_a_format() -> None:
    text = (
        "name: x\nID: 1392\nformat:\n"
        "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
        "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
        "\tfield:__data_loc char[] comm;\toffset:8;\tsize:4;\tsigned:1;\n"
        "\tfield:u64 stk[];\toffset:12;\tsize:16;\tsigned:0;\n"
        "\tfield:char old[16];\toffset:28;\tsize:16;\tsigned:1;\n"
    )
    found_ = formats.parse(text)
    assert found_.number == 1392
    assert found_.dtype.itemsize == 44
    assert found_.dtype["common_pid"] == np.dtype("<i4")
    assert found_.dtype["comm"] == np.dtype("<u4")
    assert found_.dtype["stk"].shape == (2,)
    assert found_.dtype["old"] == np.dtype("V16")
    with pytest.raises(ValueError, match="not the format"):
        formats.parse("nothing")


_CONVERSION = (
    "name: kvm_vm_set_mem_attributes\nID: 1817\nformat:\n"
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
    "\tfield:gfn_t start;\toffset:8;\tsize:8;\tsigned:0;\n"
    "\tfield:gfn_t end;\toffset:16;\tsize:8;\tsigned:0;\n"
    "\tfield:unsigned long attr;\toffset:24;\tsize:8;\tsigned:0;\n"
)
"""Of 7.3.4."""


def _conversion(tid: int, start: int, end: int, attributes: int) -> bytes:
    parts = (1817).to_bytes(4, "little"), tid.to_bytes(4, "little")
    return b"".join((*parts, *(one.to_bytes(8, "little") for one in (start, end, attributes))))


@pytest.mark.parametrize(
    ("filters", "told"),
    [(Filters(), 2), (Filters(denied=True), 0), (Filters(name=b"x"), 0), (Filters(pids=(7,)), 1)],
)
def test_conversions_as_kvm_s_tracepoint_tells_them(filters: Filters, told: int) -> None:
    """Range and wish; of which machine, and with what answer, is not known."""
    page, kind = Page(100), Kinded(formats.parse(_CONVERSION), What.CONVERT, None)
    page.event(_conversion(7, 0x100, 0x104, 8), 10)
    page.event(_conversion(8, 1 << 51, (1 << 51) + 1, 0), 10)
    rows, _ = Decoder([kind], 0).rows(pages(page.bytes()), np.zeros(1, np.uint16))
    records = events(maker(filters).make(rows))
    assert len(records) == told
    if not told:
        return
    assert records["tid"].tolist() == [7, 8][:told]
    assert records["offset"].tolist() == [0x100000, -(1 << 63)][:told]
    assert records["length"].tolist() == [0x4000, 0x1000][:told]
    assert records["arg"].tolist() == [8, 0][:told]
    for record in records:
        assert (record["op"], record["hook"]) == (Op.CONVERT, Hook.CONVERT)
        assert record["flags"] == Flag.RETURN_MISSING
        assert not any(record[name] for name in ("answer", "vm", "ino", "checks", "check_answer"))


class Sample:
    """A sample in place of an instance."""

    def __init__(self, path: Path) -> None:
        self.facts: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        self._left = [(cpu, b64decode(page)) for cpu, page in self.facts["pages"]]
        self.cpus = sorted({cpu for cpu, _ in self._left})
        self.drops = 0
        self.skips: dict[str, int] = {}

    def read(self, cpu: int, size: int) -> bytes:
        for place, (whose, page) in enumerate(self._left):
            if whose == cpu:
                del self._left[place]
                return page
        return b""

    def dropped(self, cpu: int) -> int:
        return self.drops

    def misses(self) -> dict[str, int]:
        return self.skips

    def kinds(self) -> list[Kinded]:
        made = []
        for one in self.facts["events"].values():
            probe = None
            if one["probe"]:
                event, family, hook, op, narrow = one["probe"]
                operation = None if op is None else Op(op)
                probe = Probe(
                    event, family, Hook(hook), What(one["what"]), operation, "", "", (),
                    narrow=narrow,
                )  # fmt: skip
            made.append(Kinded(formats.parse(one["format"]), What(one["what"]), probe))
        return made


def source_of(sample: Sample, *clock_ns: int) -> tuple[FtraceSource, Maker]:
    """``clock_ns``: what the machine's clock says in turn; the last goes on. It is not ours."""
    times = iter(clock_ns)
    last_ns = clock_ns[-1] if clock_ns else LATER_NS
    tasks = NoTasks(None, (), (), own=1, root=Path("/nowhere"))
    maker = Maker(Filters(), tasks, Objects(b""), Window(since=0))
    facts = sample.facts
    kinds = sample.kinds()
    source = FtraceSource(
        sample,  # type: ignore[arg-type]
        facts["page_bytes"],
        kinds,
        facts["alias"],
        maker,
        now_ns=lambda: next(times, last_ns),
    )
    return source, maker


@pytest.mark.parametrize("cause", ["dropped", "missed"])
def test_what_was_lost_makes_the_time_around_it_doubtful(
    cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "_FULL_PAGES", 1)
    flagged = {}
    for lossy in (False, True):
        sample = Sample(SAMPLES[-1])
        first = min(int.from_bytes(page[:8], "little") for _, page in sample._left)
        source, maker = source_of(sample, first - 1, LATER_NS)
        sample.drops = 3 if lossy and cause == "dropped" else 0
        sample.skips = {"mmap_ret_1_0": int(lossy and cause == "missed")}
        told = events(source.poll())
        decisions = told[~np.isin(told["op"], (Op.MAP, Op.UNMAP, Op.EVICT))]
        assert len(decisions) >= 10
        flagged[lossy] = decisions["flags"] & int(Flag.RETURN_MISSING) != 0
        assert maker.lost[Hook.NONE, LossCause.RING_FULL] == sample.drops * len(sample.cpus)
        assert source.misses == sample.skips
    assert not flagged[False].any()
    assert flagged[True].all()


def test_there_are_old_kernels_and_a_new_one() -> None:
    """Without $current and arguments at the return, where a fault is a miss; and with both."""
    fields = [gzip.decompress(path.read_bytes()) for path in SAMPLES]
    assert any(b" w40;" in one and b"stk" not in one for one in fields)
    assert any(b"stk4" in one and b" held;" not in one for one in fields)
    assert any(b" held;" in one and b"regs[]" in one for one in fields)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.partition("-")[0])
def test_a_real_kernel_s_pages(path: Path) -> None:
    """A small program's calls are exactly what its sample says."""
    sample = Sample(path)
    source, _ = source_of(sample)
    records = source.poll()
    assert source.fill == 0
    assert len(source.poll()) == 0
    mine = records[(records["ino"] == sample.facts["ino"])]
    told = events(mine)
    decisions = told[~np.isin(told["op"], (Op.MAP, Op.UNMAP, Op.EVICT))]
    said = [[Op(op).name.lower(), fd, answer]
            for op, fd, answer in zip(decisions["op"], decisions["fd"].tolist(),
                                      decisions["answer"].tolist(), strict=True)]  # fmt: skip
    assert said == sample.facts["calls"]
    assert set(told["pid"].tolist()) == {sample.facts["pid"]}
    assert bytes(told["comm"][0]).rstrip(b"\0").startswith(b"python")
    assert set(told["kind"].tolist()) == {Kind.MEMFD}

    by = {name: decisions[name].tolist() for name in decisions.dtype.names or ()}
    assert by["seals"] == [0, 0, 0, 0, 0, *[10] * 8]
    assert by["seals_after"] == [0, 0, 0, 0, *[10] * 9]
    assert by["size"] == [0, 0, *[8192] * 11]
    assert by["size_after"] == [0, *[8192] * 12]
    assert by["offset"] == [0, 0, 0, 4096, 0, 100, 0, 0, 1, 0, 0, 0, 3]
    assert by["length"] == [0, 8192, 3, 4096, 0, 4, 4096, 4096, 9, 4096, 0, 0, 3]
    assert not any(by["flags"][place] & ~(16 | 32) for place in range(len(said)))
    assert by["nr"] == [319, 77, 1, 9, 72, 18, 9, 77, 17, 285, 91, 1, 1]
    # Its mapping is where mmap said, of what was asked for, and ends as a whole.
    [address] = decisions["answer"][(decisions["op"] == Op.MMAP) & (decisions["answer"] > 0)]
    mapped, unmapped = (told[told["op"] == op] for op in (Op.MAP, Op.UNMAP))
    for one in (mapped, unmapped):
        assert one["answer"].tolist() == [address]
        assert one["offset"].tolist() == one["length"].tolist() == [4096]
        assert (one["arg"] & 0xF).tolist() == [1]  # VM_READ alone: private, and not to be written
    assert mapped["mm"].tolist() == unmapped["mm"].tolist() != [0]
    announced = mine[mine["type"] == RecordType.OBJECT].view(OBJECT)
    assert announced["name_len"].tolist() == [len("memfd:sample")]
    assert announced["create_flags_known"].tolist() == [1]
    (name,) = mine[mine["type"] == RecordType.NAME].view(NAME)
    assert bytes(name["text"])[:12] == b"memfd:sample"
    assert [Op(op) for op in told["op"][-2:]] == [Op.UNMAP, Op.EVICT] or Op.EVICT in told["op"]


def test_a_sample_in_single_pages_gives_the_same() -> None:
    """Whatever is read at a time."""
    sample = Sample(SAMPLES[-1])
    decoder = Decoder(sample.kinds(), sample.facts["alias"])
    size = sample.facts["page_bytes"]
    raw = [(cpu, b64decode(page).ljust(size, b"\0")) for cpu, page in sample.facts["pages"]]
    cpus = np.array([cpu for cpu, _ in raw], np.uint16)
    whole, seen = decoder.rows(pages(*[page for _, page in raw]), cpus)
    parts = [decoder.rows(pages(page), np.array([cpu], np.uint16)) for cpu, page in raw]
    rows = np.concatenate([part for part, _ in parts])
    rows = rows[np.argsort(rows["time_ns"], kind="stable")]
    assert rows.tolist() == whole.tolist()
    assert set(seen["key"].tolist()) == {
        key for _, objects in parts for key in objects["key"].tolist()
    }


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.partition("-")[0])
def test_returns_that_see_the_file_say_so(path: Path) -> None:
    """What such a return saw goes before what follows from the entry."""
    sample = Sample(path)
    kinds, size = sample.kinds(), sample.facts["page_bytes"]
    raw = [(cpu, b64decode(page).ljust(size, b"\0")) for cpu, page in sample.facts["pages"]]
    cpus = np.array([cpu for cpu, _ in raw], np.uint16)
    rows, _ = Decoder(kinds, sample.facts["alias"]).rows(pages(*[page for _, page in raw]), cpus)
    returns = rows[rows["what"] == What.RETURN]
    seeing = [
        kind.probe.hook
        for kind in kinds
        if kind.probe and kind.what == What.RETURN and "held" in (kind.format.dtype.names or ())
    ]
    assert bool(seeing) == (path == SAMPLES[-1])
    assert (returns["later"] != 0).tolist() == np.isin(returns["hook"], seeing).tolist()
    assert not rows["later"][rows["what"] != What.RETURN].any()
