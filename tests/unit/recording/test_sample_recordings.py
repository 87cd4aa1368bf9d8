"""The recordings of samples/recordings are whole, and judged as their programs' own answers say."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from tests.kernel.ground_truth import Truth, compare, compare_mappings, load_truth
from tests.kernel.implied import implied
from tests.kernel.judged import ON_ANY_FILE, bad, beside_truth, judged
from tracer.recording.reader import Recording
from tracer.recording.verify import verify

FOLDER = Path(__file__).parents[3] / "samples" / "recordings"
MOST_BYTES = 300_000
BREACHES = {
    "debian-6.1": {"future-write-merge": 3, "hugetlb-grow": 2, "future-write-mremap": 3},
    "debian-7.3": {"hugetlb-grow": 2, "hugetlb-exec": 1, "future-write-mremap": 3},
}


@pytest.fixture(params=sorted(path.stem for path in FOLDER.glob("*.seal")))
def name(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def recording(name: str) -> Path:
    return FOLDER / f"{name}.seal"


def truth_of(name: str, program: str, folder: Path) -> Truth:
    plain = folder / f"{program}.jsonl"
    plain.write_bytes(gzip.decompress((FOLDER / f"{name}.{program}.jsonl.gz").read_bytes()))
    return load_truth(plain)


def test_two_kernels_are_there() -> None:
    assert {path.stem for path in FOLDER.glob("*.seal")} >= set(BREACHES)


def test_whole_and_small(recording: Path) -> None:
    report = verify(recording)
    assert report.exit_code == 0, report.lines()
    assert not report.holes
    with Recording.open(recording) as opened:
        assert opened.end is not None
        assert opened.end.lost == {}
        assert opened.frame("losses").empty
    files = [path for path in recording.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


@pytest.mark.parametrize("program", ["workload", "holes"])
def test_every_call_is_one_event(name: str, recording: Path, program: str, tmp_path: Path) -> None:
    truth = truth_of(name, program, tmp_path)
    with Recording.open(recording) as opened:
        events = opened.frame("events", names=True)
    calls = compare(truth, events, **ON_ANY_FILE)
    assert calls.ok, calls
    assert calls.expected > 50
    if program == "workload":
        mappings = compare_mappings(truth, events)
        assert mappings.ok, mappings


@pytest.mark.parametrize("program", ["workload", "holes"])
def test_every_verdict_is_what_the_errno_implies(
    name: str, recording: Path, program: str, tmp_path: Path
) -> None:
    rows = beside_truth(recording, truth_of(name, program, tmp_path))
    wrong = [row for row in rows if row["verdict"] != implied(row["call"]).verdict]
    assert not wrong, wrong[:5]


def test_breaches_are_the_known_holes(name: str, recording: Path) -> None:
    rows = bad(judged(recording))
    assert set(rows["verdict"].astype(str)) == {"breach"}
    assert Counter(rows["hole"].astype(str)) == BREACHES[name]
