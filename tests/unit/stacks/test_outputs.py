"""Callers in trace, script, report, flames and DataFrames: what the program tells by itself."""

import json
import re
import sys
from pathlib import Path

import pytest

import sealsnoop
from tests.unit.recording import stack_records
from tests.unit.stacks.compiled import Program, compiled, debug_file, record
from tests.unit.stacks.elsewhere import ROOT, read_elsewhere
from tracer.cli import trace as verb
from tracer.cli.main import main
from tracer.filter.query import parse
from tracer.live import trace as tracing
from tracer.live.book import Book
from tracer.live.trace import Printer
from tracer.recording.reader import Recording
from tracer.recording.redact import redact
from tracer.stacks.files import Files
from tracer.stacks.names import Names
from tracer.stacks.recorded import TABLES
from tracer.stacks.shown import LATE, Callers
from tracer.words import EXEC

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return compiled(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def path(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(program, tmp_path_factory.mktemp("recording") / "r.seal")


def printed(capsys: Capture, *words: object) -> str:
    assert main(list(map(str, words))) == 0
    return capsys.readouterr().out


def lines_below(program: Program) -> dict[str, list[str]]:
    """What stands below a line, by the function that called."""
    line = {name: told.line for name, told in program.calls.items()}
    inside = "    libc.so.6+0x1018ad"
    return {
        "plain": [inside, f"    plain (prog.c:{line['plain']}) in prog"],
        "map_ring": [
            inside,
            f"    map_ring (prog.c:{line['map_ring']}) inlined",
            f"    outer (prog.c:{line['outer']}) in prog",
        ],
    }


def below(text: str) -> list[list[str]]:
    """The lines below each line of an event."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("    "):
            found[-1].append(line)
        elif not line.startswith("--"):
            found.append([])
    return found


# ---- trace and script ---------------------------------------------------------------------------


def test_trace_tells_below_each_refusal_who_called(
    program: Program, path: Path, capsys: Capture
) -> None:
    told = lines_below(program)
    found = below(printed(capsys, "trace", path))
    lost = ["    … the stack was lost"]
    assert found == [told["plain"], told["plain"], told["map_ring"], told["plain"], lost]


def test_trace_says_what_has_no_names(path: Path, capsys: Capture) -> None:
    [note] = [one for one in printed(capsys, "trace", path).splitlines() if one.startswith("--")]
    assert note.startswith("-- no names of functions in libc.so.6: neither the file that ran nor")


def test_trace_leaves_them_out(path: Path, capsys: Capture) -> None:
    text = printed(capsys, "trace", path, "--no-stacks")
    assert below(text) == [[]] * 5
    assert "--" not in text


def test_trace_as_json(program: Program, path: Path, capsys: Capture) -> None:
    rows = [json.loads(one) for one in printed(capsys, "trace", path, "--json").splitlines()]
    assert [row["stack_state"] for row in rows] == ["whole"] * 4 + ["lost"]
    first, second = rows[0]["stack"]
    assert first["module"] == "/usr/lib/x86_64-linux-gnu/libc.so.6"
    assert (first["offset"], first["function"], first["line"]) == (0x1018AD, None, None)
    told = program.calls["plain"]
    assert second == {
        "module": str(program.path),
        "offset": told.offset,
        "build_id": program.build_id,
        "what": "code",
        "function": "plain",
        "file": str(program.path.parent / "prog.c"),
        "line": told.line,
        "inlined": False,
    }
    assert [one["inlined"] for one in rows[2]["stack"]] == [False, True, False]
    assert rows[4]["stack"] == []


def test_script_tells_them_if_asked(program: Program, path: Path, capsys: Capture) -> None:
    told = lines_below(program)
    assert below(printed(capsys, "script", path)) == [[]] * 6
    found = below(printed(capsys, "script", path, "--stacks"))
    lost = ["    … the stack was lost"]
    assert found == [told["plain"], told["plain"], told["map_ring"], told["plain"], lost, []]


def test_script_as_json(path: Path, capsys: Capture) -> None:
    text = printed(capsys, "script", path, "--stacks", "--json")
    rows = [json.loads(one) for one in text.splitlines()]
    assert [len(row.get("stack", ())) for row in rows] == [2, 2, 3, 2, 0, 0]
    assert "stack" not in rows[5]
    assert "stack" not in json.loads(printed(capsys, "script", path, "--json").splitlines()[0])


def test_script_as_csv_has_one_line_an_event(path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        sys.exit(main(["script", str(path), "--stacks", "--csv"]))
    assert stop.value.code == 1
    assert "--stacks: not with --csv" in capsys.readouterr().err


def test_followed_it_says_the_same(path: Path, capsys: Capture) -> None:
    once = printed(capsys, "script", path, "--stacks")
    assert printed(capsys, "script", path, "--stacks", "--follow") == once


def test_a_folder_of_debug_files_must_be_one(path: Path, capsys: Capture) -> None:
    assert main(["trace", str(path), "--debug-dir", "/nowhere"]) == 1
    assert "--debug-dir /nowhere: is no folder" in capsys.readouterr().err


# ---- a line that waits for its callers ----------------------------------------------------------


def read(path: Path, lines: list[str]) -> tuple[Recording, Book, Printer]:
    """A printer that has seen the events, and no callers yet."""
    recording = Recording.open(path)
    book = Book(recording)
    callers = Callers(book.source.stacks, Names(Files([])))
    printer = Printer(
        lines.append, lambda time_ns: None, query=parse(""), all_=True, as_json=False, bit5=EXEC,
        callers=callers,
    )  # fmt: skip
    book.decisions.observe(printer)
    for table in recording.tables("objects"):
        book.take("objects", table)
    book.complete()
    for table in recording.tables("events"):
        book.take("events", table)
    return recording, book, printer


def take_callers(recording: Recording, book: Book) -> None:
    for name in TABLES:
        for table in recording.tables(name):
            book.take(name, table)


def first_line_alone(recording: Recording, book: Book, printer: Printer) -> None:
    """Its callers are there, and it was printed without them, for it is the first."""
    take_callers(recording, book)
    while len(printer._held) > 1:
        printer._held.pop()
    printer.cold = True
    printer.release()


def test_a_line_waits_until_its_callers_are_there(path: Path) -> None:
    lines: list[str] = []
    recording, book, printer = read(path, lines)
    with recording:
        printer.release()
        assert lines == []
        take_callers(recording, book)
        printer.release()
        assert "".join(lines).count("-> ") == 6
        assert "".join(lines).count("prog+0x") + "".join(lines).count(" in prog") == 4
        printer._callers.names.close()  # type: ignore[union-attr]


def test_it_does_not_wait_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line comes, and its callers behind it when they are there."""
    monkeypatch.setattr(tracing, "_WAIT_S", 0.0)
    lines: list[str] = []
    recording, book, printer = read(path, lines)
    with recording:
        printer.release()
        assert below("".join(lines)) == [[]] * 6
        heads = [line.split(" ", 3)[:3] for line in "".join(lines).splitlines()]
        lines.clear()
        take_callers(recording, book)
        printer.release()
        told = "".join(lines).splitlines()
        called = [line for line in told if not line.startswith(" " * 8)]
        assert len(called) in (4, 5)
        assert all(re.fullmatch(r"    who called at \S+ \S+ \S+:", line) for line in called)
        assert {tuple(line.split()[3:]) for line in called} <= {
            (*head[:2], f"{head[2]}:") for head in heads
        }
        assert "".join(lines).count("prog+0x") + "".join(lines).count(" in prog") == 4
        printer.release(all_=True)
        assert not printer._late
        printer._callers.names.close()  # type: ignore[union-attr]


def test_the_first_line_does_not_wait_for_names(path: Path) -> None:
    """Its callers stand right below all the same, where nothing came in between."""
    lines: list[str] = []
    recording, book, printer = read(path, lines)
    with recording:
        first_line_alone(recording, book, printer)
        assert below("".join(lines)) == [[]]
        printer.release()
        [called] = below("".join(lines))
        assert called
        assert "who called" not in "".join(lines)
        printer._callers.names.close()  # type: ignore[union-attr]


def test_callers_stand_below_their_own_line_alone(path: Path) -> None:
    """Something else came in between: they say of whom they are."""
    lines: list[str] = []
    recording, book, printer = read(path, lines)
    with recording:
        first_line_alone(recording, book, printer)
        printer.interrupted()
        printer.release()
        assert "".join(lines).count("    who called at ") == 1
        printer._callers.names.close()  # type: ignore[union-attr]


def test_what_never_comes_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_WAIT_S", 0.0)
    monkeypatch.setattr(tracing, "_LATE_S", 0.0)
    lines: list[str] = []
    recording, _, printer = read(path, lines)
    with recording:
        printer.release()
        assert "".join(lines).count(LATE) == "".join(lines).count("who called at ") == 5
        lines.clear()
        printer.release()
        assert lines == []


def test_at_the_end_nothing_is_held_back(path: Path) -> None:
    lines: list[str] = []
    recording, _, printer = read(path, lines)
    with recording:
        printer.release(all_=True)
        assert below("".join(lines)) == [[f"    {LATE}"]] * 5 + [[]]


# ---- report ------------------------------------------------------------------------------------


def test_report_groups_by_where_it_came_from(program: Program, path: Path, capsys: Capture) -> None:
    text = printed(capsys, "report", path)
    section = text[text.index("Where decisions come from") :]
    line = {name: told.line for name, told in program.calls.items()}
    assert re.search(
        rf"3x  blocked  write  plain \(prog\.c:{line['plain']}\) in prog +write-sealed", section
    )
    assert re.search(rf"1x  blocked  write  map_ring \(prog\.c:{line['map_ring']}\) in prog", text)
    assert re.search(r"1x  blocked  write  not known", section)
    assert section.index("plain") < section.index("map_ring (")


def test_report_as_json(program: Program, path: Path, capsys: Capture) -> None:
    found = json.loads(printed(capsys, "report", path, "--json"))["origins"]
    assert [(one["count"], one["function"], one["line"]) for one in found] == [
        (3, "plain", program.calls["plain"].line),
        (1, "map_ring", program.calls["map_ring"].line),
        (1, None, None),
    ]
    assert found[0]["module"] == str(program.path)
    assert (found[0]["verdict"], found[0]["rule"]) == ("blocked", "write-sealed")
    assert sum(one["count"] for one in found) == 5


def test_a_filter_holds_for_origins(path: Path, capsys: Capture) -> None:
    text = printed(capsys, "report", path, "--json", "--filter", "op:write size:4096 ret:EPERM")
    assert sum(one["count"] for one in json.loads(text)["origins"]) == 5
    assert main(["report", str(path), "--json", "--filter", "op:mmap"]) == 4
    assert json.loads(capsys.readouterr().out)["origins"] == []


def test_a_recording_without_stacks_has_no_such_section(capsys: Capture) -> None:
    sample = ROOT / "samples/recordings/debian-6.1.seal"
    main(["report", str(sample)])
    assert "Where decisions come from" not in capsys.readouterr().out


def test_report_as_a_page(program: Program, path: Path, tmp_path: Path, capsys: Capture) -> None:
    page = tmp_path / "r.html"
    printed(capsys, "report", path, "--html", page)
    told = f"plain (prog.c:{program.calls['plain'].line}) in prog"
    assert "Where decisions come from" in page.read_text()
    assert told in page.read_text()


def test_folded_stacks(path: Path, capsys: Capture) -> None:
    assert printed(capsys, "report", path, "--folded", "-").splitlines() == [
        "prog;not known;write [blocked] 1",
        "prog;outer;map_ring;libc.so.6+0x1018ad;write [blocked] 1",
        "prog;plain;libc.so.6+0x1018ad;write [blocked] 3",
    ]


def test_flames_need_nothing_else_and_run_nothing_of_others(
    program: Program, tmp_path: Path, capsys: Capture
) -> None:
    evil = record(program, tmp_path / "evil.seal", comm=b"<script>a;b 1")
    out = tmp_path / "f.html"
    main(["report", str(evil), "--flame", str(out)])
    page = out.read_text()
    assert "<script>a" not in page
    assert "&lt;script&gt;a;b 1" in page
    assert not re.search(r"(src|href)=", page)
    assert "default-src &#39;none&#39;" in page
    assert "prefers-color-scheme:dark" in page
    widths = re.findall(r'<rect x="[0-9.]+" y="\d+" width="([0-9.]+)"', page)
    assert 1190 < max(map(float, widths)) <= 1200
    capsys.readouterr()
    main(["report", str(evil), "--folded", "-"])
    assert "<script>a:b 1;plain;" in capsys.readouterr().out


def test_flames_of_a_recording_without_stacks_say_so(tmp_path: Path, capsys: Capture) -> None:
    sample = ROOT / "samples/recordings/debian-6.1.seal"
    main(["report", str(sample), "--flame", str(tmp_path / "f.html")])
    assert "No user stack was recorded" in (tmp_path / "f.html").read_text()


@pytest.mark.parametrize("other", [("--by", "fd"), ("--diff",)])
def test_drawn_stacks_have_no_tables(
    path: Path, tmp_path: Path, capsys: Capture, other: tuple[str, ...]
) -> None:
    words = [str(path), *(["x.seal"] if other == ("--diff",) else [])]
    assert main(["report", *words, "--folded", str(tmp_path / "f"), *other]) == 1
    assert "--folded: not with" in capsys.readouterr().err


# ---- DataFrames ----------------------------------------------------------------------------------


def test_data_frames(program: Program, path: Path) -> None:
    with sealsnoop.load(path) as found:
        stacks, decisions = found.stacks(), found.decisions
        joined = decisions.merge(found.callers).merge(
            stacks, on=["host", "boot_id", "stack"], suffixes=("", "_of")
        )
    called = joined[joined["depth"] == 1].value_counts(["function", "line"]).to_dict()
    line = {name: told.line for name, told in program.calls.items()}
    assert called == {
        ("plain", line["plain"]): 3,
        ("map_ring", line["map_ring"]): 1,
        ("outer", line["outer"]): 1,
    }
    assert sorted(found.callers["state"]) == ["lost", *["whole"] * 4]


def test_data_frames_without_stacks() -> None:
    with sealsnoop.load("debian-6.1") as found:
        assert found.callers.empty
        assert found.stacks().empty


# ---- hostile and hidden --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("trace",), ("trace", "--json"), ("script", "--stacks"), ("script", "--stacks", "--json"),
        ("report",), ("report", "--json"), ("report", "--folded", "-"), ("report", "--flame", "-"),
    ],
)  # fmt: skip
def test_nothing_of_a_path_reaches_the_terminal(
    tmp_path: Path, capsys: Capture, words: tuple[str, ...]
) -> None:
    path = stack_records.write_stacks(tmp_path / "s.seal")
    verb, *options = words
    main([verb, str(path), *options])
    text = capsys.readouterr().out
    assert "evil" in text
    assert "\x1b" not in text


def test_a_copy_to_be_given_away_has_no_paths(
    program: Program, path: Path, tmp_path: Path, capsys: Capture
) -> None:
    copy = tmp_path / "copy.seal"
    redact(str(path), str(copy))
    text = printed(capsys, "trace", copy)
    assert "prog.c" not in text
    assert "libc" not in text
    offset = program.calls["plain"].offset
    assert [len(one) for one in below(text)] == [2, 2, 2, 2, 1]
    assert f"path-1+{offset:#x}" in text
    whole = "".join(
        file.read_bytes().decode("latin-1") for file in copy.rglob("*") if file.is_file()
    )
    assert str(program.path) not in whole
    assert program.build_id not in whole


# ---- on another machine --------------------------------------------------------------------------


@pytest.mark.slow
def test_another_root_with_the_recording_and_debug_files_alone(tmp_path: Path) -> None:
    """No program, no source, no /proc."""
    built = compiled(tmp_path)
    debug = tmp_path / "debug"
    debug_file(built, debug)
    path = record(built, tmp_path / "r.seal")
    ran = read_elsewhere(tmp_path / "root", path, debug)
    told = lines_below(built)
    assert below(ran.stdout)[:4] == [
        told["plain"], told["plain"], told["map_ring"], told["plain"],
    ], ran.stderr  # fmt: skip


@pytest.mark.parametrize(
    ("options", "stacks"),
    [
        ([], ["--stacks=denied"]),
        (["--stacks", "all"], ["--stacks=all"]),
        (["--stacks", "off"], ["--stacks=off"]),
        (["--no-stacks"], []),
        (["--no-stacks", "-o", "kept.seal"], ["--stacks=denied"]),
        (["--source", "ftrace"], []),
    ],
)
def test_what_nobody_will_see_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, options: list[str], stacks: list[str]
) -> None:
    seen: list[list[str]] = []

    def record(self: object, words: list[str], *_: object) -> int:
        seen.append(words)
        return 0

    monkeypatch.setattr(verb._Traced, "record", record)
    assert main(["trace", *options, "--", "true"]) == 0
    assert [word for word in seen[0] if word.startswith("--stacks")] == stacks
