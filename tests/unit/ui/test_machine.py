"""The page of a virtual machine: from each screen, by its keys, in a replay, with hostile names."""

from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.unit.ui.guests import FILES, Guests
from tests.unit.ui.pressed import main_grid, presses
from tests.unit.ui.still import Shown, Still, StillReplay, run, shown, still
from tracer.analysis import private, strip
from tracer.live.guests import GuestBook
from tracer.recording.reader import Recording
from ui.screens.machine import MachineScreen
from ui.screens.main import MainScreen
from ui.screens.object import ObjectScreen
from ui.widgets.grid import Grid
from ui.widgets.memory import MachineTitle, MemoryStrip


def grid(one: Shown, name: str) -> Grid:
    return one.app.screen.query_one(f"#{name}", Grid)


def pane(one: Shown) -> str | None:
    assert one.app.focused is not None
    return one.app.focused.id


async def on_file(one: Shown, ino: int) -> None:
    """Puts the cursor of the main table on a file."""
    rows = main_grid(one).rows
    [place] = [at for at in rows.order.tolist() if rows.value("ino", at) == ino]
    main_grid(one).select(int(rows.ids[place]))
    await one.draw()


@presses("Tables", "machine")
@presses("One object", "machine")
@presses("One machine", "back", "pane('strip')", "pane('slots')", "pane('mapped')")
@presses("One machine", "pane('machines')", "turn(1)", "turn(-1)", "copy")
@presses("One machine", "machine(1)", "machine(-1)")
@run
async def test_the_machine_of_a_file(tmp_path: Path) -> None:
    async with shown(Still(Guests().play().keep(tmp_path)), (120, 40)) as one:
        assert one.app.shot.guests is None, "nobody looks"
        await on_file(one, FILES[78][0])
        await one.press("m")
        assert isinstance(one.app.screen, MachineScreen)
        title = one.app.screen.query_one(MachineTitle)
        assert title.text.startswith(" vm 78 of qemu-system-x86/200")
        assert "private 1M" in title.text
        assert "converted 1  refused 0" in title.text
        await one.press("m")
        assert title.text.startswith(" vm 77 of qemu-system-x86/100")
        assert "converted 301  refused 1" in title.text
        await one.press("M")
        assert "vm 78" in title.text
        for key, name in zip("2341", ("slots", "mapped", "machines", "strip"), strict=True):
            await one.press(key)
            assert pane(one) == name
        await one.press("tab")
        assert pane(one) == "slots"
        await one.press("shift+tab")
        assert pane(one) == "strip"
        await one.press("2", "y")
        cells = one.app.clipboard.split("\t")
        assert cells[:6] == ["1", "100000", "1M", "1M", "[kvm-gmem]", "ram"]
        await one.press("enter")
        assert isinstance(one.app.screen, ObjectScreen)
        assert one.app.screen.key[1] == FILES[78][1]
        await one.press("m")
        assert "vm 78" in one.app.screen.query_one(MachineTitle).text
        await one.press("escape", "escape", "4", "home", "enter")
        assert pane(one) == "strip"
        await one.press("escape")
        assert isinstance(one.app.screen, MainScreen)
        assert one.app.shot.guests is None


@run
async def test_who_maps_what(tmp_path: Path) -> None:
    async with shown(Still(Guests().play().keep(tmp_path)), (160, 50)) as one:
        await on_file(one, FILES[77][1])
        await one.press("m", "3")
        rows = grid(one, "mapped").rows
        told = {(rows.value("comm", at), rows.value("name", at)) for at in rows.order.tolist()}
        assert told == {("qemu-system-x86", "memfd:ram"), ("vhost-user-blk", "memfd:ram")}
        assert "no memory file" not in one.text()


@run
async def test_the_strip_is_what_the_recording_tells(tmp_path: Path) -> None:
    """In each size; by signs alone, for who sees no colours."""
    path = Guests().play().keep(tmp_path)
    with Recording.open(path) as recording:
        truth = strip.of(private.of(recording), 77, recording.last_ns())
    assert truth is not None
    async with shown(Still(path), (80, 24)) as one:
        await on_file(one, FILES[77][0])
        await one.press("m")
        for size in ((80, 24), (120, 40), (200, 50)):
            await one.pilot.resize_terminal(*size)
            await one.draw()
            widget = one.app.screen.query_one(MemoryStrip)
            width, height = widget.size
            lines = widget.text.split("\n")
            marks = truth.fields(height - 2, width - 15)
            assert len(lines) == len(marks) + 2
            for line, row in zip(lines[1:-1], marks, strict=True):
                assert line[14:] == "".join(map(strip.mark, row))
            assert " 100000 " in lines[1]
            for word in ("shared", "private", "not known"):
                assert word in lines[0]


@run
async def test_a_replay_knows_nothing_of_what_comes(tmp_path: Path) -> None:
    feed = StillReplay(Guests().play().keep(tmp_path), playing=False, start="0")
    async with shown(feed, (120, 40)) as one:
        await one.press("m")
        assert "No virtual machine was seen." in one.text()
        counts: list[int] = []
        for _ in range(3):
            feed.seek(f"{len(counts) * 40 + 10}%")
            feed.settle()
            await one.draw()
            text = one.app.screen.query_one(MachineTitle).text
            counts.append(int(text.partition("converted ")[2].split()[0]))
        assert 0 < counts[0] < counts[1] < counts[2] < 301


@run
async def test_without_machines_it_says_so() -> None:
    async with shown(still(), (120, 40)) as one:
        await one.press("m")
        assert "recorded with --audit" in one.text()
        await one.press("m")
        assert one.said()[-1] == "There is no other one."


@run
async def test_a_file_of_no_machine_shows_all(tmp_path: Path) -> None:
    story = Guests()
    story.create(50, "else", pid=300)
    async with shown(Still(story.keep(tmp_path)), (120, 40)) as one:
        await on_file(one, 50)
        await one.press("m")
        assert "No virtual machine was seen to have this file" in one.said()[-1]
        assert pane(one) == "machines"


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (50, 14)])
@run
async def test_hostile_names_are_text(tmp_path: Path, size: tuple[int, int]) -> None:
    story = Guests("[b]\x1b[2J\u202e\n日本語", b"\x1b[7m[red]evil")
    async with shown(Still(story.play().keep(tmp_path)), size) as one:
        await one.press("m")
        every = ""
        for key in "1234":
            await one.press(key)
            for line in one.lines():
                assert line.isprintable(), repr(line)
                assert cell_len(line) == size[0], repr(line)
            every += one.text()
    assert "\\x1b[7m[red]evil" in every
    assert "[b]\\x1b[2J" in every or size[0] < 200


def test_a_recording_that_is_gone_is_no_machine(tmp_path: Path) -> None:
    book = GuestBook(str(tmp_path / "gone.seal"))
    book.look(1, None)
    assert book.settle()
    assert book.found.made
    assert "gone.seal" in book.found.problem
    assert not book.settle()


def test_it_is_read_again_for_something_new_alone(tmp_path: Path) -> None:
    book = GuestBook(str(Guests().keep(tmp_path)))
    book.look(1, None)
    assert book.settle()
    found = book.found
    assert found.rows.columns["vm"].tolist() == [77, 78]  # type: ignore[union-attr]
    book.look(1, None)
    assert not book.settle()
    book.look(2, None)
    book.look(3, None)  # that one has to wait
    assert book.settle()
    assert book.found is not found
