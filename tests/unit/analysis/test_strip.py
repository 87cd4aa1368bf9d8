"""Pictures of guest memory: each field against the state of its pages at its moments."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.analysis.test_copies import AT, PAGES, VM, Vmm
from tests.unit.analysis.test_private import convert, frame, memslot
from tracer.analysis import private, strip
from tracer.analysis.private import Privacy
from tracer.output import html
from tracer.output.report import Request, build
from tracer.recording.reader import Recording

PAGE = 4096


def drawn(*conversions: tuple[int, int, int, bool], slots: Any = ((0, 8),)) -> strip.Strip:
    """Of one machine from time 0 to 256: when, first page, pages, private."""
    rows = [memslot(1, 0, 0, place, first, pages, None) for place, (first, pages) in
            enumerate(slots)]  # fmt: skip
    rows += [
        convert(1, when, when, first, pages, private=private, number=number)
        for number, (when, first, pages, private) in enumerate(conversions, 1)
    ]
    found = strip.of(Privacy(frame(rows)), 1, 256)
    assert found is not None
    return found


def text(found: strip.Strip, bands: int, steps: int) -> list[str]:
    return ["".join(map(strip.mark, row)) for row in found.fields(bands, steps)]


def test_from_top_to_bottom_and_from_left_to_right() -> None:
    found = drawn((64, 0, 2, True), (128, 4, 4, True), (192, 0, 2, False))
    assert text(found, 4, 4) == ["░██░", "░░░░", "░░██", "░░██"]
    assert text(found, 1, 4) == ["░▒▓▓"]
    assert [found.address(share) for share in (0, 0.5, 1)] == [0, 4 * PAGE, 8 * PAGE - 4096]


def test_there_are_no_gaps_between_memslots() -> None:
    found = drawn((128, 0x1000, 4, True), slots=((0, 4), (0x1000, 4)))
    assert text(found, 4, 2) == ["░░", "░░", "░█", "░█"]
    assert found.address(0.5) == 0x1000 * PAGE


def test_what_is_not_known_is_no_shade() -> None:
    rows = [memslot(1, 0, 0, 0, 0, 8, None, born=False)]
    rows.append(convert(1, 128, 128, 0, 4, private=False, number=1, born=False))
    found = strip.of(Privacy(frame(rows)), 1, 256)
    assert found is not None
    assert text(found, 2, 2) == ["?░", "??"]


def test_no_memory_is_no_picture() -> None:
    rows = [convert(1, 10, 10, 0, 4, private=True, number=1)]
    assert strip.of(Privacy(frame(rows)), 1) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 7), st.integers(1, 8),
                          st.booleans()), max_size=30))  # fmt: skip
def test_fields_are_as_their_pages(made: Any) -> None:
    made = sorted(made, key=lambda one: one[0])
    found = drawn(*made)
    assert found.weights.sum() == pytest.approx(8 * 256)
    for page in range(8):
        band = found.weights[:, page * 8 : page * 8 + 8].sum(axis=1)
        truth = np.zeros(256)
        for when, first, pages, private_ in made:
            if first <= page < first + pages:
                truth[when:] = private_
        assert band[2] == pytest.approx(truth)
        assert band[0] == pytest.approx(1 - truth)


def test_a_page_has_a_picture_of_each_machine(tmp_path: Path) -> None:
    vmm = Vmm()
    vmm.begin()
    vmm.convert(0, 4)
    end = {"baseline": {"start": {"problems": [], "machines": 2, "machines_problem": "one moved"}}}
    path = vmm.write(tmp_path / "a.seal", audit=True, end=end)
    with Recording.open(path) as recording:
        shown = strip.of(private.of(recording), VM, recording.last_ns())
    assert shown is not None
    assert [*(shown.starts << 12), *(shown.ends << 12)] == [AT, AT + PAGES * PAGE]
    report = build([str(path)], Request(), lambda *_: None, lambda _: None)
    page = "".join(html.page(report, 20))
    assert page.count("private and shared over time</h2>") == 1
    assert page.count('aria-label="memory of vm 77 of vmm/100') == 1
    assert page.count('class="g3"') == 1
    [covered] = report.coverage
    told = "2 virtual machines that ran before read from KVM's own list; there may be others"
    assert f"{told}: one moved" in covered.brief
    assert f"{told}: one moved." in [*covered.remarks()]


def test_however_many_conversions_there_are_a_picture_is_small() -> None:
    chosen = np.random.default_rng(3)
    made = [(when, int(chosen.integers(8)), 1, bool(chosen.integers(2))) for when in range(256)]
    picture = html.memory(drawn(*made), 0, "<b>")
    assert len(picture) < 1 << 17
    assert "&lt;b&gt;" in picture
