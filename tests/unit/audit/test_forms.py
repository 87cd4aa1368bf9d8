"""The forms of an audit: JSON by its schema, HTML and terminal with hostile names, SARIF."""

import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.audit.audit_story import Story, policy
from tests.unit.audit.test_policy import fits
from tracer.audit.evaluate import audit
from tracer.audit.policy import parse
from tracer.audit.result import DOUBTS, Audit, Result, worst
from tracer.output import audit as data
from tracer.output import audit as page
from tracer.output import sarif
from tracer.output.audit import Terminal
from tracer.recording.reader import Recording
from tracer.walltime import iso

HOSTILE = "<script>alert(1)</script>[bold]\x1b[2J\u202e\n"
CLAIMS = (
    'claim = "never-mapped"',
    'claim = "mapped-only-by"\nby = ["creator"]',
    'claim = "never-pinned-except"',
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """A pass, a fail and an indeterminate, of names that attack."""
    story = Story()
    story.create(5, HOSTILE)
    story.map(5, comm=b"\x1b[31m<b>")
    story.object(6, "old", cpu=0xFFFF)
    path = story.write(tmp_path_factory.mktemp("audit") / "a<i>.seal", host="<h1>\x1b")
    rules = parse(policy(*CLAIMS).replace(b'"test"', b'"<test>"'))
    with Recording.open(path) as recording:
        return audit(rules, [recording], "sealsnoop 0")


def test_results(found: Audit) -> None:
    assert [one.result.value for one in found.recordings[0].claims] == [
        "fail", "pass", "indeterminate",
    ]  # fmt: skip
    assert found.result is Result.FAIL


def test_worst() -> None:
    P, F, I, N = Result.PASS, Result.FAIL, Result.INDETERMINATE, Result.NOT_APPLICABLE  # noqa: E741
    assert worst([]) is N
    assert worst([N, N]) is N
    assert worst([N, P]) is P
    assert worst([P, I, N]) is I
    assert worst([P, I, F]) is F
    assert [one.exit_code for one in (P, F, I, N)] == [0, 2, 3, 4]


def test_json_fits_its_schema(found: Audit) -> None:
    document = json.loads(data.text(found))
    assert fits(document, data.schema())
    assert document["exit_code"] == 2
    proof = document["recordings"][0]["claims"][0]["findings"][0]["violations"][0]
    assert proof["op"] == "map"
    wall_ns = Story.wall_ns - 1_000_000  # the reading of both clocks stands a step behind
    assert proof["time"] == iso(wall_ns + proof["time_ns"])
    assert not fits({**document, "more": 1}, data.schema())
    del document["policy"]
    assert not fits(document, data.schema())


def test_every_doubt_has_a_meaning(found: Audit) -> None:
    for claim in found.recordings[0].claims:
        for doubt in (*claim.doubts, *(d for one in claim.findings for d in one.doubts)):
            assert doubt.code in DOUBTS


def test_terminal(found: Audit) -> None:
    out = io.StringIO()
    Terminal(Console(file=out, width=100, highlight=False, markup=False), 5).show(found)
    text = out.getvalue()
    assert text.replace("\n", "").isprintable()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "FAIL: 1 of 3 claims is broken: never-mapped on 1 file; 1 not certain"
    words = ("FAIL: ", "→ ", "a<i>.seal: ", "FAIL  never-mapped", "INDETERMINATE  never-pinned",
             "PASS  mapped-only-by", "blind spots", "policy <test>")  # fmt: skip
    first = [next(place for place, line in enumerate(lines) if word in line) for word in words]
    assert first == sorted(first)
    assert "the moon" not in text


def test_terminal_at_length(found: Audit) -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, highlight=False, markup=False)
    Terminal(console, 5, "p.toml", long=True).show(found)
    text = out.getvalue()
    assert "the moon" in text
    assert "boot b1" in " ".join(text.split())
    assert text.index("FAIL  never-mapped") < text.index("window:") < text.index("the moon")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_has_no_tag_of_others_and_closes_its_own(found: Audit) -> None:
    text = "".join(page.page(found))
    parser = _Tags()
    parser.feed(text)
    assert not parser.open
    assert not parser.tags & {"i", "h4"}
    assert text.count("<script>") == 1
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "default-src" in text
    assert "the moon" in text


def test_sarif(found: Audit) -> None:
    document = json.loads(sarif.text(found))
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        "never-mapped", "mapped-only-by", "never-pinned-except",
    ]  # fmt: skip
    assert run["invocations"][0]["exitCode"] == 2
    kinds = {(one["ruleId"], one["kind"]) for one in run["results"]}
    assert ("never-mapped", "fail") in kinds
    assert ("never-pinned-except", "open") in kinds
    for one in run["results"]:
        assert (one["kind"] == "fail") == (one["level"] == "error")
        assert run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"]
        assert one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].isascii()


def test_an_empty_recording_has_every_form(tmp_path: Path) -> None:
    with Recording.open(Story().write(tmp_path / "a.seal")) as recording:
        empty = audit(parse(policy(*CLAIMS)), [recording], "sealsnoop 0")
    assert empty.result is Result.NOT_APPLICABLE
    assert fits(json.loads(data.text(empty)), data.schema())
    assert "nothing in scope" in "".join(page.page(empty))
    (run,) = json.loads(sarif.text(empty))["runs"]
    assert {one["kind"] for one in run["results"]} == {"notApplicable"}
    several = replace(empty, recordings=(*empty.recordings, *empty.recordings))
    assert len(json.loads(sarif.text(several))["runs"]) == 2
