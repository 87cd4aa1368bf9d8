"""Documents that are made from code: what is committed is what the code says today."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from docs.make import files, limitations, moving, requirements, schema
from tests.unit.kernel.fake_kernel import btf_of, functions, symbols_of
from tracer.capture import host
from tracer.capture.bpf_source import Filters, Stacks
from tracer.cli import record
from tracer.cli.main import main
from tracer.kernel.blind_spots import AUDIT, AUDIT_BLIND_SPOTS, BLIND_SPOTS, PLAIN, UNFOLLOWED
from tracer.kernel.families import FAMILIES
from tracer.kernel.plan import Planner, Step
from tracer.kernel.requirements.checks import check
from tracer.kernel.requirements.host import Host
from tracer.labels import FLAGS, LOSSES
from tracer.recording import chain
from tracer.recording import manifest as documents
from tracer.recording.errors import DiskFull
from tracer.recording.format import COLUMNS, MEANINGS, SCHEMA_VERSION, TABLES
from tracer.recording.manifest import end_document
from tracer.selftest.hooks import Count
from tracer.selftest.run import SelfTest
from tracer.words import OPS, Flag, LossCause, Op, words

MANIFEST = dict(documents.described(documents.Manifest))
END = dict(documents.described(documents.End))

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted((ROOT / "samples/recordings").glob("*.seal"))


@pytest.mark.parametrize("path", [*files.made()], ids=lambda path: str(path.relative_to(ROOT)))
def test_committed_is_what_is_made(path: Path) -> None:
    assert path.read_text() == files.made()[path], "run `make docs` and commit what it writes"


def test_nothing_is_left_over() -> None:
    assert files.left_over() == []


# ---- limitations --------------------------------------------------------------------------------


def test_limitations_are_what_doctor_prints_and_manifests_store(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = limitations.document()
    plain, _, audit = text.partition("\n## Blind spots of `record --audit`\n")
    assert [spot.text for spot in PLAIN] == list(BLIND_SPOTS) == _bold(plain)
    assert [spot.text for spot in AUDIT] == list(AUDIT_BLIND_SPOTS)
    everywhere, _, some = audit.partition("\n## ")[0].partition("\n### ")
    assert _bold(everywhere) == list(AUDIT_BLIND_SPOTS)
    assert _bold(some) == [one.spot.text for one in UNFOLLOWED]
    for options, spots in ((["--json"], BLIND_SPOTS), (["--json", "--audit"], AUDIT_BLIND_SPOTS)):
        main(["doctor", *options])
        assert json.loads(capsys.readouterr().out)["blind_spots"] == list(spots)


def _bold(text: str) -> list[str]:
    marks = [line for line in text.splitlines() if line.startswith("- **")]
    assert all(line.endswith("**\\") for line in marks)
    return [line.removeprefix("- **").removesuffix("**\\") for line in marks]


def test_every_family_is_in_the_limitations() -> None:
    text = limitations.document()
    for family in FAMILIES:
        assert f"| `{family.name}` | {family.unseen} |" in text


# ---- requirements -------------------------------------------------------------------------------


def test_every_finding_is_in_the_requirements(tmp_path: Path) -> None:
    """A host where nothing is to be found: each of its causes and remedies stands there."""
    text = requirements.document()
    names = [one.name for one in requirements.LOOKED_AT]
    assert [line.removeprefix("### ") for line in text.splitlines() if line[:4] == "### "] == names
    for finding in check(Host(tmp_path, machine="x86_64")):
        if finding.ok is not True:
            cause = finding.cause.replace(f"{tmp_path}/proc", "{PATH}").replace("/kallsyms", "")
            assert cause in text, finding
            assert finding.remedy in text, finding


# ---- schema -------------------------------------------------------------------------------------


def test_every_column_is_described_and_no_other() -> None:
    assert list(MEANINGS) == list(TABLES)
    assert all(one.meaning for columns in COLUMNS.values() for one in columns.values())
    assert list(OPS) == list(Op)
    assert list(LOSSES) == list(words(LossCause).values())
    assert set(FLAGS) == set(Flag)


def test_the_document_has_the_columns_of_the_schema() -> None:
    text = schema.document()
    for name, table in TABLES.items():
        part = text.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        found = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
        assert found == ([] if name == "mappings" else table.names)
    assert f"\nSchema version {SCHEMA_VERSION}." in text
    assert list(documents.CHANGES)[-1] == SCHEMA_VERSION


def _paths(value: Any, known: dict[str, str], at: str = "") -> set[str]:
    """The keys of a JSON document, as deep as the description goes."""
    found = set()
    if isinstance(value, list) and value and any(key.startswith(f"{at}[].") for key in known):
        return set().union(*(_paths(one, known, f"{at}[]") for one in value))
    deeper = not at or any(key.startswith(f"{at}.") for key in known)
    if not isinstance(value, dict) or not deeper:
        return {at}
    for key, inner in value.items():
        found |= _paths(inner, known, f"{at}.{key}" if at else key)
    return found | ({at} if at in known else set())


def test_manifest_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key that the recorder writes, and no other."""
    found = functions("6.12")
    plan = Planner(btf_of(found), symbols_of(found, tmp_path)).plan()
    finding = dict.fromkeys(
        ("cases", "variants", "open", "bit_0x20", "write_chunk", "holes", "verdicts", "unexplained")
    )
    written: dict[str, Any] = {}

    class Writer:
        def __init__(self, path: str, manifest: dict[str, Any], force: bool) -> None:
            written.update(manifest)

    class Stub:
        def __init__(self, **names: Any) -> None:
            self.__dict__.update(names)

    monkeypatch.setattr("tracer.recording.writer.RecordingWriter", Writer)
    args: Any = Stub(
        source="bpf", method="auto", audit=False, ring=32, command=["x"], output="x", force=False
    )
    kernel: Any = Stub(btf=Stub(digest="00"))
    program: Any = Stub(plan=plan, stacks=Stacks.OFF)
    self_test = SelfTest(finding, {"mmap": Count(1, 1)}).to_json()
    record._writer(args, kernel, program, Filters().to_json(), self_test)
    # Of the writer, and of a copy that redact makes.
    head = {"format": "", "schema_version": 1, "record_size": 176, "redacted_from": ""}
    assert _paths(written | head, MANIFEST) == set(MANIFEST)
    assert written["blind_spots"] == list(BLIND_SPOTS)
    assert {f"hooks[].{field.name}" for field in fields(Step)} <= set(MANIFEST)
    assert set(host.facts()) <= {key.partition(".")[0] for key in MANIFEST}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_recordings_hold_what_is_described(sample: Path) -> None:
    manifest = json.loads((sample / "manifest.json").read_text())
    assert _paths(manifest, MANIFEST) <= set(MANIFEST)
    end = json.loads((sample / "end.json").read_text())
    assert set(end) == set(END) - {"asked_reason", "error", "stopped_early"}
    line = (sample / chain.CHAIN).read_bytes().splitlines()[0]
    assert set(json.loads(line)) == set(documents.CHAIN)


def test_the_end_after_a_failure_is_described() -> None:
    end = end_document(
        {"lost": {}, "in_flight": 0, "baseline": {}},
        reason="duration", error=DiskFull("full"), final_seq={}, rows=0, unsaved=0,
    )  # fmt: skip
    assert set(end) == set(END) - {"stopped_early"}


# ---- the moving picture -------------------------------------------------------------------------


def test_the_moving_picture_needs_nothing_else_and_says_what_is_printed() -> None:
    text = moving.picture()
    assert len(text) < 200_000
    assert re.findall(r"https?://[^\s\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<script|@import|url\((?!#)|href", text)
    root = ElementTree.fromstring(text)
    shown = ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    told = [line for scene in moving.SCENES for line in moving.printed(scene)]
    words = " ".join(" ".join([f"$ {scene.command}" for scene in moving.SCENES] + told).split())
    assert sum(line.startswith("$ sealsnoop ") for line in shown) == len(moving.SCENES)
    for line in shown:
        assert " ".join(line.split()) in words
    assert len(told) > 20
