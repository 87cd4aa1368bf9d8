"""The report as text, JSON, CSV and HTML: exact for a sample, harmless for hostile names."""

import csv
import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from tests.unit.output.report_sample import HOSTILE, START, counts, coverage, entry, report
from tracer.escape import cells as width_of
from tracer.escape import printable
from tracer.output import data
from tracer.output import tables as layout
from tracer.output.coverage import SelfTest
from tracer.output.html import (
    SCRIPT,
    STYLE,
    bars,
    legend,
    matrix,
    over_time,
    page,
    security_policy,
)
from tracer.output.report import TABLES, Question, Report
from tracer.output.terminal import Terminal
from tracer.walltime import WallClock

GOLDEN = Path(__file__).parent / "golden" / "report"
LOSSY = coverage(lost={"ring_full": 5}, incomplete={"name": 2}, state="killed", reason="")


def shown(what: Report, width: int, top: int = 10, tables: tuple[str, ...] = TABLES) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, color_system=None)
    Terminal(console, top).show(what, tables)
    return out.getvalue()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("width", [80, 100])
def test_text_golden(width: int) -> None:
    text = shown(report(coverage=(LOSSY,)), width)
    golden = GOLDEN / f"terminal-{width}.txt"
    assert text == golden.read_text()


@pytest.mark.parametrize(
    ("filters", "writable", "said"),
    [
        ("", 1, "not seen"),
        ("the command and its children", 1, "not seen: record the whole host"),
        ("the command and its children", 0, "pages pinned"),
    ],
)
def test_who_held_it_unseen(filters: str, writable: int, said: str) -> None:
    busy = report().busy.assign(holders="", writable=writable)
    lines = shown(report(coverage=(coverage(filters=filters),), busy=busy), 200).splitlines()
    assert any(line.rstrip().endswith(f" {said}") for line in lines)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = shown(report(), width).splitlines()
    assert max(map(width_of, lines)) <= width
    assert all(line.isprintable() for line in lines)


def test_loss_and_death_stand_in_the_first_line_and_are_red_below() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system="standard")
    Terminal(console, 10).show(report(coverage=(LOSSY,)), ["object"])
    text = out.getvalue()
    first = " ".join(re.sub(r"\x1b\[[\d;]*m", "", text[: text.index("→")]).split())
    assert "; 5 events were lost; the recorder was killed" in first
    lines = text.splitlines()
    where = next(at for at, line in enumerate(lines) if "w.seal" in line and "host" in line)
    assert "killed" in lines[where + 1]
    assert "LOST 5 events" in lines[where + 2]
    assert all("\x1b[1;31m" in line for line in lines[where + 1 : where + 3])


def test_no_colour_keeps_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    Terminal(Console(file=out, width=100, force_terminal=True), 10).show(report(), ["object"])
    for word in (
        "BREACH BY KNOWN HOLES: 3",
        "KNOWN HOLE merge_beside_old",
        "expected EPERM",
        "UNSEEN",
    ):
        assert word in out.getvalue()
    assert "\x1b[3" not in out.getvalue()


def test_what_was_left_out_is_said() -> None:
    text = shown(report(), 100, top=1)
    assert "and 2 more (--top 3)" in text


def test_an_empty_report_says_so() -> None:
    nothing = pd.DataFrame()
    empty = report(
        coverage=(coverage(unseen=()),),
        verdicts=dict.fromkeys(counts(), 0),
        listed=pd.DataFrame({"verdict": []}),
        tables=dict.fromkeys(TABLES, nothing),
        over_time=nothing, late=nothing, busy=nothing, seals=nothing, breaches=(),
    )  # fmt: skip
    assert "no decision was recorded" in shown(empty, 80)
    asked = Question(filter="op:mmap")
    filtered = Report(asked, *(getattr(empty, name) for name in (
        "coverage", "verdicts", "listed", "tables", "over_time", "late", "busy")))  # fmt: skip
    assert "no decision matches" in shown(filtered, 80)
    assert "no decision matches" in "".join(page(filtered, 10))
    assert json.loads("".join(data.json_pieces(empty)))["listed"] == []


def test_several_hosts_have_a_column() -> None:
    one = report()
    objects = pd.concat([one.tables["object"], one.tables["object"].assign(host="h2")])
    two = report(
        coverage=(coverage(), coverage(host="h2", boot_id="b2")),
        tables={**one.tables, "object": objects},
    )
    text = shown(two, 100, tables=("object",))
    assert "host  file" in text
    assert "h2    memfd:frame" in text
    assert "host" not in shown(one, 100, tables=("object",)).split("Memory files")[1]


def test_each_boot_has_its_own_name_for_bit_0x20() -> None:
    meanings = {"b1": "exec", "b2": "inaccessible", "b3": "unknown"}
    tests = [(boot, SelfTest(True, 9, bit_0x20=bit)) for boot, bit in meanings.items()]
    tests.append(("b2", SelfTest(False)))  # another recording of that boot
    sides = tuple(
        coverage(path=f"{place}.seal", host=f"host-{boot}", boot_id=boot, self_test=test)
        for place, (boot, test) in enumerate(tests)
    )
    listed = pd.DataFrame(
        [
            entry("blocked", 1, boot_id=boot, host=f"host-{boot}", comm=boot, **call)
            for boot in meanings
            for call in ({"op": "add_seals", "arg": 0x21}, {"op": "create", "arg": 8})
        ]
    )
    busy = report().busy
    busy = pd.concat([busy.assign(boot_id=boot, host=f"host-{boot}") for boot in meanings])
    shown_here = report(coverage=sides, listed=listed, busy=busy.assign(added=0x28))
    forms = (shown(shown_here, 200, tables=()), "".join(page(shown_here, 10)))
    for text in forms:
        for boot, seal, flag in (
            ("b1", "EXEC", "NOEXEC_SEAL"),
            ("b2", "INACCESSIBLE", "INACCESSIBLE"),
            ("b3", "0x20", "0x8"),
        ):
            lines = [
                line
                for line in text.splitlines()
                if f"host-{boot}" in line and ("<td" in line or line.startswith("  host-"))
            ]
            assert len(lines) == 3
            for word in (f"SEAL|{seal}", flag, f"WRITE|{seal}"):
                found = [
                    line
                    for line in lines
                    if re.search(rf"(?<!\|)\b{re.escape(word)}\b(?!\|)", line)
                ]
                assert len(found) == 1, (word, lines)
            told = "".join(lines)
            assert ("EXEC" in told, "INACCESSIBLE" in told) == (boot == "b1", boot == "b2")


def test_sentences_about_the_self_test() -> None:
    [(said, alarm)] = SelfTest(False).sentences()
    assert ("did not run" in said, alarm) == (True, False)
    [(said, alarm)] = SelfTest(False, failed="no memory").sentences()
    assert ("self-test FAILED: no memory" in said, alarm) == (True, True)
    [(said, alarm)] = SelfTest(True, 480, bit_0x20="exec").sentences()
    assert said == (
        "self-test of 480 cases, every answer documented, every hook reported every attempt, "
        "seal 0x20 is exec"
    )
    bad = SelfTest(
        True, 10, {}, 2, ("write 10 of 12",), {"missed": 2}, holes=("hugetlb-grow",), open=("x",),
        unconfirmed="only refused calls",
    )  # fmt: skip
    found = dict(bad.sentences())
    assert [said for said, alarm in found.items() if alarm] == [
        "self-test: 2 ANSWERS THAT NO DOCUMENTED VARIANT GIVES",
        "self-test: HOOKS THAT MISSED ATTEMPTS: write 10 of 12 (lost meanwhile: missed 2)",
    ]
    assert "self-test of 10 cases" in found
    assert "KNOWN HOLES of this kernel: hugetlb-grow" in found
    assert "self-test: hooks not all confirmed, only refused calls" in found
    page_text = "".join(page(report(coverage=(coverage(self_test=bad),)), 10))
    assert page_text.index('class="alarm">self-test: 2 ANSWERS') < page_text.index("<table")


def test_json() -> None:
    body = json.loads("".join(data.json_pieces(report())))
    assert (body["format"], body["schema_version"]) == ("sealsnoop report", 1)
    assert sum(body["verdicts"].values()) == 1251
    assert next(iter(body["verdicts"])) == "breach"
    assert list(body["tables"]) == list(TABLES)
    assert body["recordings"][0]["whole"] is True
    assert body["recordings"][0]["self_test"]["cases"] == 480
    [breach] = [row for row in body["listed"] if row["verdict"] == "breach"]
    assert (breach["count"], breach["hole"], breach["seals"]) == (3, "merge_beside_old", 16)
    assert body["tables"]["object"][2]["seals"] is None
    assert body["tables"]["object"][2]["name"] is None
    assert body["late_seals"][0]["seal"] == "FUTURE_WRITE"
    assert body["busy"][0]["holders"] == "workload/145"
    assert (body["seals"][0]["seals"], body["seals"][0]["seals_after"]) == (0, 16)
    short = json.loads("".join(data.json_pieces(report(), top=1)))
    assert len(short["tables"]["object"]) == len(short["listed"]) == 1


@pytest.mark.parametrize("kind", ["str", "object", "category"])
def test_a_row_of_json_is_a_line_whatever_is_in_it(kind: str) -> None:
    names = ['},{"host":', "a},{", 'x"},{"', "},{", None, "new\nline\x1b", "\\"]
    frame = pd.DataFrame({"host": pd.Series(names, dtype=kind), "n": range(len(names))})
    for columns in (["host", "n"], ["n", "host"], ["host"]):
        text = "".join(data.json_table(frame[columns]))
        want = [None if name is None else printable(name) for name in names]
        assert [row["host"] for row in json.loads(text)] == want
        lines = text.splitlines()
        assert (lines[0], lines[-1], len(lines)) == ("[", " ]", len(names) + 2)
        assert [json.loads(line.rstrip(","))["host"] for line in lines[1:-1]] == want


def test_every_key_of_the_json_is_documented() -> None:
    body = json.loads("".join(data.json_pieces(report())))
    text = str(data.__doc__)
    for key in [
        *body,
        *body["recordings"][0],
        *body["recordings"][0]["self_test"],
        *body["tables"],
    ]:
        assert key in text, key


def test_csv_is_no_formula() -> None:
    frame = pd.DataFrame(
        {"name": ["=cmd|x", 'a"b', None], "n": [2**63, 1, 2], "who": [[{"pid": 1}], [], []]}
    )
    lines = list(data.csv_table(frame))
    assert lines[0] == "name,n,who"
    rows = list(csv.reader(io.StringIO("\n".join(lines[1:]))))
    assert rows[0][0] == "'=cmd|x"
    assert rows[0][0].removeprefix("'") == "=cmd|x"
    assert rows[1] == ['a"b', "1", "[]"]
    assert rows[2] == ["", "2", "[]"]
    assert json.loads(rows[0][2]) == [{"pid": 1}]
    assert len(list(data.csv_table(frame, 1))) == 2


class _Reader(HTMLParser):
    """Collects tags, attributes and text, and finds what is not closed."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_html_is_whole_and_alone() -> None:
    text = "".join(page(report(coverage=(LOSSY,)), 100))
    reader = read(text)
    names = [tag for tag, _ in reader.tags]
    assert names.count("script") == names.count("style") == 1
    assert names.count("svg") == 3
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object", "form")
        assert not {"src", "href", "style", "onclick"} & attributes.keys()
    assert "http://" not in text
    assert "https://" not in text
    said = "".join(reader.text)
    assert "LOST 5 events" in said
    assert "merge_beside_old" in said


def test_html_is_called_by_the_recording_s_own_name() -> None:
    one = replace(LOSSY, path="/tmp/some/where/w.seal/")
    text = "".join(page(report(coverage=(one, replace(one, path="x.seal"))), 100))
    assert "<title>sealsnoop: w.seal, x.seal</title>" in text


def test_html_escapes_hostile_names() -> None:
    text = "".join(page(report(), 100))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert HOSTILE not in text


CHARTS = Path(__file__).with_name("report_charts.txt")
"""As they should be, a tag a line; where one was changed on purpose, run this with REDRAW=1."""


def test_charts_look_as_they_did() -> None:
    second = 10**9
    steps = [
        {"time_ns": 5 * second, "breach": 50, "unexplained": 1, "allowed": 150},
        {"time_ns": 7 * second, "allowed": 100_000},
    ]
    rows: list[dict[str, Any]] = [
        {"kind": "memfd", "name": "a<b", "dev": 1, "ino": 5, "gen": 7, "breach": 1, "allowed": 999},
        {"kind": "hugetlb", "name": None, "dev": 1, "ino": 6, "gen": 0, "blocked": 40},
        {"kind": "memfd", "name": "x" * 50, "dev": 1, "ino": 8, "gen": 0},
    ]
    drawn = [
        over_time(steps, second, 4 * second, 9 * second, "in <time>"),
        over_time([], second, 4 * second, 4 * second, "nothing"),
        matrix([{"op": "write", "breach": 1, "allowed": 1000}, {"op": "mmap", "error": 30}]),
        matrix([]),
        bars([{**row, "host": "h&1"} for row in rows], "by object", hosts=True),
        bars(rows, "by object"),
        legend({"breach": 1, "allowed": 0, "error": 3}),
    ]
    found = "\n".join(drawn).replace("><", ">\n<") + "\n"
    if os.environ.get("REDRAW"):
        CHARTS.write_text(found)
    assert found == CHARTS.read_text()


def test_html_policy_names_what_is_there() -> None:
    reader = read("".join(page(report(), 100)))
    [policy] = [
        attributes["content"]
        for tag, attributes in reader.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == security_policy()
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    # The digests in it are of these very texts, with nothing around them.
    body = "".join(page(report(), 100))
    assert f"<style>{STYLE}</style>" in body
    assert f"<script>{SCRIPT}</script>" in body


def test_html_says_what_it_leaves_out() -> None:
    text = "".join(page(report(), 1))
    assert "and 2 more (--top 3)" in text


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("zone", ["CET-1CEST,M3.5.0,M10.5.0/3"], indirect=True)
def test_times_are_the_wall_clock_s_with_the_date_of_another_day() -> None:
    wall = 1_795_369_690 * 10**9
    boots = layout.boots([coverage()], {"b1": WallClock([(START, wall)])})
    column = layout.moment("time_ns")
    told = [
        column.text({"time_ns": START + ns} | boots["b1"]._asdict())
        for ns in (451_999_999, 86_400 * 10**9)
    ]
    assert told == ["18:48:10.451", "2026-11-23 18:48:10.000"]
    unknown = layout.boots([coverage()])["b1"]._asdict()
    assert column.text({"time_ns": START + 451_999_999} | unknown) == "+0.452"
    assert column.text({"time_ns": None} | unknown) == "-"
    shown_here = shown(report(clocks={"b1": WallClock([(START, wall)])}), 120)
    assert "18:48:10.852" in shown_here
    page_text = "".join(page(report(clocks={"b1": WallClock([(START, wall)])}), 10))
    assert ">18:48:10.852</td>" in page_text
