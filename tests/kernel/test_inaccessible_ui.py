"""What the terminal view shows of F_SEAL_INACCESSIBLE: recordings of its kernel, opened here.

Whatever the recorded program was answered is the truth; a user must find it on the screen.
"""

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.kernel.booted import Booted, Run
from tests.unit.ui.pressed import main_grid
from tests.unit.ui.still import Shown, Still, run, shown
from tracer.labels import errno_name
from tracer.live import cells
from ui.screens.main import MainScreen
from ui.screens.object import EventScreen, ObjectScreen
from ui.widgets.details import Matrix, SealLine
from ui.widgets.grid import Grid
from ui.widgets.lines import FactList

SIZE = (160, 50)
BORN, SEALED, USED = "S----X", "-s---X", "------"
"""Seals that the program's three files end with, in the order in which it makes them."""
RULES = {
    "mmap": ("An inaccessible file cannot be mapped at all", "mm/shmem.c:shmem_mmap"),
    "read": ("An inaccessible file cannot be read.", "mm/shmem.c:shmem_file_read_iter"),
    "write": ("An inaccessible file cannot be written.", "mm/shmem.c:shmem_write_begin"),
}
"""The sentence and the place in the kernel that explain a refusal."""
ASKED = {
    BORN: ["INACCESSIBLE", "GROW"],
    SEALED: ["ALLOW_SEALING", "INACCESSIBLE", "SHRINK"],
    USED: ["ALLOW_SEALING", "INACCESSIBLE"],
}
"""What each file was created with, then the seals that were asked for it (inaccessible.c)."""
LONG = {BORN: "SEAL|INACCESSIBLE", SEALED: "SHRINK|INACCESSIBLE", USED: "none"}
"""The seals it ends with, on the screen of its last event."""
Call = dict[str, Any]


@pytest.fixture(params=["fexit", "kprobe"])
def method(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def calls_on(recorded: Run) -> dict[str, list[Call]]:
    """The program's calls by the seals of the file that they were made on."""
    files: list[list[Call]] = []
    for line in recorded.stdout.splitlines():
        call = json.loads(line)
        if call["op"] == "create":
            files.append([])
        files[-1].append(call)
    return dict(zip((BORN, SEALED, USED), files, strict=False))


def answers(calls: list[Call]) -> Counter[tuple[str, str]]:
    """How often which of the three ways to the contents ended how, as the view writes it."""
    return Counter(
        (call["op"], "■" if call["answer"] < 0 else "✗" if call["must"] < 0 else "✓")
        for call in calls
        if call["op"] in RULES
    )


async def open_file(one: Shown, seals: str) -> None:
    """From the table of files to the screen of the one with these seals."""
    grid = main_grid(one)
    await one.press("home")
    for _ in range(len(grid.rows)):
        if cells.seals(grid.value("seals")) == seals:
            break
        await one.press("down")
    await one.press("enter")
    assert isinstance(one.app.screen, ObjectScreen)


def reason(one: Shown) -> str:
    """The panel that explains the decision below the cursor, its lines joined."""
    return " ".join(one.app.screen.query_one("#why", FactList).text.split())


def by_inaccessible(one: Shown) -> Counter[tuple[str, str]]:
    """Like :func:`answers`, from the view's own table of seals and operations."""
    titles, *rows = one.app.screen.query_one(Matrix).text.splitlines()
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row.split()[0] in ("INACCESSIBLE", "nothing"):
            shown_counts = row.replace("nothing in the way", "nothing").split()[1:]
            for op, cell in zip(titles.split(), shown_counts, strict=True):
                if op in RULES and cell != cells.NONE:
                    counts[op, cell[0]] += int(cell[1:])
    return counts


async def copied(one: Shown) -> dict[str, str]:
    """The cells of the row below the cursor, as they are shown, by their columns' names."""
    await one.press("y")
    cells = [cell.strip() for cell in one.app.clipboard.split("\t")]
    grid = one.app.screen.query_one(Grid)
    return dict(zip((column.name for column in grid.columns), cells, strict=True))


@pytest.mark.parametrize("seals", [BORN, SEALED])
def test_the_file_and_each_refusal_with_its_reason(
    proposal: Booted, method: str, seals: str
) -> None:
    recorded = proposal.run(f"calls-{method}")
    every = [json.loads(line) for line in recorded.stdout.splitlines()]
    stopped = [call for call in every if call["answer"] < 0 and call["op"] != "create"]
    calls = calls_on(recorded)[seals]
    refused = [call for call in calls if call["answer"] < 0]
    assert {"mmap", "read", "write"} <= {call["op"] for call in refused}

    @run
    async def look() -> None:
        async with shown(Still(recorded.path), SIZE) as one:
            assert "✓ all as the seals demand" in one.text()
            assert f"■ {len(stopped)} blocked" in one.text()
            assert re.search(rf"■ +inaccessible +{seals} +inaccess", one.text())
            await open_file(one, seals)
            assert f"■ blocked inaccessible  seals {seals}  size 16K" in one.text()
            assert re.search(r" INACCESSIBLE +■3 +■2 +■2 ", one.text())
            assert by_inaccessible(one) == answers(calls)
            await one.press("home")
            for call in refused:
                await one.press("b")
                row, errno = await copied(one), errno_name(call["answer"])
                assert row["verdict"] == "■"
                assert {call["op"], seals, errno} <= set(row.values()), (call, row)
                assert f"expected {errno}, and the kernel answered {errno}" in reason(one)
                if call["op"] in RULES:
                    assert "INACCESSIBLE" in row.values()
                    assert "because INACCESSIBLE" in one.text()
                    assert all(words in reason(one) for words in RULES[call["op"]]), reason(one)

    look()


@pytest.mark.parametrize("seals", list(ASKED))
def test_what_was_asked_for_in_the_words_of_that_kernel(
    proposal: Booted, method: str, seals: str
) -> None:
    flags, *added = ASKED[seals]

    @run
    async def look() -> None:
        async with shown(Still(proposal.run(f"calls-{method}").path), SIZE) as one:
            await open_file(one, seals)
            await one.press("home")
            first = await copied(one)
            assert (first["op"], first["arg"]) == ("create", flags)
            await one.press("enter")
            assert isinstance(one.app.screen, EventScreen)
            assert f" operation create {flags} " in one.text()
            await one.press("escape", "2")
            panel = one.app.screen.query_one(SealLine).text.splitlines()
            assert re.findall(r" \+(\S+) inaccessible/", "\n".join(panel)) == added
            await one.press("1", "end", "enter")
            assert f" seals after {seals}  {LONG[seals]} " in one.text()

    look()


def test_no_screen_calls_it_exec(proposal: Booted, method: str) -> None:
    @run
    async def look() -> None:
        async with shown(Still(proposal.run(f"calls-{method}").path), SIZE) as one:
            await one.press("4", "slash")
            await one.write("op:create,add_seals")
            await one.press("enter", "home")
            seen = []
            for _ in range(len(main_grid(one).rows)):
                row = await copied(one)
                op, asked = row["op"], row["arg"]
                whole = await all_of_event(one)
                assert f"operation: {op} {asked}\n" in whole
                assert "EXEC" not in whole
                seen.append((op, asked))
                await one.press("down")
            wanted = []
            for flags, *added in ASKED.values():
                wanted += [("create", flags), *(("add_seals", bits) for bits in added)]
            assert seen == [*wanted, ("create", "ALLOW_SEALING|INACCESSIBLE")]

    look()


async def all_of_event(one: Shown) -> str:
    """Everything on the screen of the event below the cursor, however long."""
    await one.press("enter", "y", "escape")
    assert isinstance(one.app.screen, MainScreen)
    return one.app.clipboard


def test_the_breach_of_a_broken_kernel_with_its_reason(
    broken_proposal: Booted, method: str
) -> None:
    recorded = broken_proposal.run(f"calls-{method}")
    files = calls_on(recorded)
    wrong = [call for calls in files.values() for call in calls if call["answer"] != call["must"]]
    assert [call["op"] for call in wrong] == ["mmap"] * 6

    @run
    async def look() -> None:
        async with shown(Still(recorded.path), SIZE) as one:
            assert "6 NEW BREACHES" in one.text()
            assert re.search(
                r"BREACH \(and 5 more\): inaccessible, inaccessible/\d+: mmap ", one.text()
            )
            await one.press("v")
            assert isinstance(one.app.screen, EventScreen)
            assert "mmap on inaccessible by inaccessible/" in one.text()
            assert "✗ breach: a seal should have denied it, and it went through" in one.text()
            await explained(one)
            await one.press("escape")
            assert isinstance(one.app.screen, MainScreen)
            for seals in (BORN, SEALED):
                assert re.search(rf"✗ +inaccessible +{seals} +inaccess", one.text())
                await open_file(one, seals)
                assert by_inaccessible(one) == answers(files[seals])
                assert (await copied(one))["verdict"] == "✗", "it begins at the worst"
                await explained(one)
                await one.press("escape")
            await violations(one, len(wrong))

    look()


async def explained(one: Shown) -> None:
    """What the screen says of a mapping that should not be."""
    assert re.search("expected EPERM, and the kernel answered 0x[0-9a-f]+ ", reason(one))
    assert "because INACCESSIBLE" in one.text()
    assert all(words in reason(one) for words in RULES["mmap"]), reason(one)


async def violations(one: Shown, count: int) -> None:
    """The log of events with nothing but breaches in it."""
    await one.press("4", "slash")
    await one.write("verdict:breach")
    await one.press("enter", "home")
    assert f"{count} of " in one.text()
    assert len(main_grid(one).rows) == count
    for _ in range(count):
        row = await copied(one)
        assert row["verdict"] == "✗"
        assert {"mmap", "inaccessible", "= ok", "EPERM", "INACCESSIBLE"} <= set(row.values()), row
        await one.press("down")
