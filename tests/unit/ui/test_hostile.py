"""Names, commands and manifests that want to be more than text stay text on every screen."""

from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from tests.unit.ui.still import Still, run, shown
from tracer.record import EVENT, HEAD, NAME, OBJECT, RecordType
from tracer.recording.writer import RecordingWriter
from tracer.words import Flag, Kind, Op

NAMES = (
    b"memfd:[bold red]markup[/bold red][/]",
    b"memfd:\x1b[2J\x1b]0;title\x07\x1b[31mred",
    "memfd:\u202eesrever\u2066\u200b\ufeff".encode(),
    b"memfd:" + b"\n\r\t\x00\x7f" * 10,
    b"memfd:" + bytes(range(1, 250))[:243],
    "memfd:日本語のファイル名はとても長いので切られる".encode(),
    "memfd:e\u0301\u0301\u0301\u0301 \U0001f600 [link=file:///etc]x[/link]".encode(),
    b"memfd:$(reboot) {{x}} %s [@click=app.quit]q[/]",
)
COMMS = (b"\x1b[7m[b]evil[/b]", b"[red]", "‮abc".encode(), b"a\nb", b"x" * 16)
MANIFEST = {
    "host": "[blink]h\x1b[2Jost",
    "kernel": {"release": "6.1\x1b]2;x\x07[bold]"},
    "command": ["[red]", "\x1b[31m", "7"],
    "hooks": [
        {"family": "[b]mmap", "symbol": "\x1b[1m", "method": "fexit", "ops": ["[i]"], "hook": "3"},
        {"family": "5", "reason": "[/]", "unseen": "\u202e", "essential": True},
    ],
    "self_test": {"ran": True, "variants": {"[q]": "\x1b[0m"}, "hooks": {}},
    "blind_spots": ["[dim]", "4", "\x9b31m"],
}


def _recording(path: Path) -> Path:
    count = len(NAMES)
    objects, events = np.zeros(count, OBJECT), np.zeros(count * len(COMMS), EVENT)
    parts = [objects]
    objects["type"], objects["ino"] = RecordType.OBJECT, np.arange(count) + 1
    objects["kind"], objects["mode"] = Kind.MEMFD, 0o100600
    pieces = []
    for number, name in enumerate(NAMES):
        name = name[:249]
        objects["name_len"][number] = len(name)
        for part in range(0, len(name), 124):
            piece = np.zeros(1, NAME)
            piece["type"], piece["ino"], piece["part"] = RecordType.NAME, number + 1, part // 124
            piece["length"], piece["text"] = len(name[part : part + 124]), name[part : part + 124]
            pieces.append(piece)
    events["type"], events["time_ns"] = RecordType.EVENT, np.arange(len(events)) * 1000 + 5
    events["ino"] = np.arange(len(events)) % count + 1
    events["op"], events["kind"], events["fmode"] = Op.WRITE, Kind.MEMFD, 3
    events["seals"] = events["seals_after"] = 8  # and yet it went through: a breach
    events["flags"] = Flag.CHECK_REACHED
    events["size"] = events["size_after"] = 4096
    events["length"] = events["answer"] = 100
    for place in range(len(events)):
        events["comm"][place] = COMMS[place % len(COMMS)].ljust(16, b"\0")
    raw = [part.view(f"V{HEAD.itemsize}") for part in (*parts, *pieces, events)]
    records = np.concatenate(raw).view(HEAD)
    records["seq"] = np.arange(len(records))
    with RecordingWriter(path, MANIFEST) as writer:
        writer.append(records)
        writer.close("[b]done\x1b[2J")
    return path


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((200, 50), marks=pytest.mark.slow),
        pytest.param((120, 40), marks=pytest.mark.slow),
        (80, 24),
    ],
)
@run
async def test_everything_is_harmless_text(tmp_path: Path, size: tuple[int, int]) -> None:
    feed = Still(_recording(tmp_path / "[bold]x.seal"))
    screens: list[str] = []
    async with shown(feed, size) as one:

        async def look(*keys: str) -> None:
            await one.press(*keys)
            for line in one.lines():
                assert line.isprintable(), repr(line)
                assert cell_len(line) == size[0], repr(line)
            screens.append(one.text())

        await look()
        assert "BREACH" in screens[-1]
        for key in "2345":
            await look(key)
        await look("4", "enter")
        await look("escape", "1", "enter")
        for key in ("2", "3", "4", "5"):
            await look(key)
        await look("1", "enter")
        await look("escape", "escape", "home", "right", "right", "right", "F")
        await look("slash")
        await look("escape", "v")
        await look("escape", "question_mark")
        assert one.app.is_running
        await look("escape", "y")
        assert "\x1b" not in one.app.clipboard
        await look("a")  # what is behind the alert: host, file, command
    every = "\n".join(screens)
    assert "[bold red]mark" in every
    assert "\\x1b[2J\\x1b]0;" in every
    assert "\\u202e" in every
    assert "日本語" in every
    assert "[blink]h" in every or size[0] < 200
