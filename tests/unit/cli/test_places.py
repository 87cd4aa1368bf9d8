"""Names of units, containers and virtual machines in what the verbs print and filter by."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.unit.cgroup_forms import ID
from tests.unit.cli.test_script import announcement, call, clock, events
from tests.unit.recording.test_places import ROOT, SLICE, row
from tracer.cli.report import Report
from tracer.recording.writer import RecordingWriter
from tracer.words import Op

SSH, WEB, VM, FORGED, UNTOLD = 3, 4, 6, 8, 99
NAMED = (
    ROOT,
    SLICE,
    row(SSH, 2, b"ssh.service"),
    row(WEB, 2, f"docker-{ID}.scope".encode()),
    row(5, 1, b"machine.slice"),
    row(VM, 5, b"machine-qemu\\x2d1\\x2dbank.scope"),
    row(7, 2, b"open.service"),
    row(FORGED, 7, f"docker-{ID}.scope".encode(), user=1000),
)


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "x.seal"
    writer = RecordingWriter(path, {})
    made = [
        {"op": Op.WRITE, "ino": 7, "fd": 3, "cgroup": cgroup, "answer": -1, "seals": 8, "pid": pid}
        for pid, cgroup in enumerate((SSH, WEB, VM, FORGED, UNTOLD, WEB), 100)
    ]
    parts = [clock(), *announcement(7, b"memfd:x", 0), *NAMED, events(made)]
    for seq, rows in enumerate(parts):
        rows["seq"] += 0 if seq < 3 else 20
        writer.append(rows)
    writer.close("test")
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert call(*argv) == 0
    return capsys.readouterr().out


def test_json_has_them(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        one["pid"]: one
        for one in map(json.loads, printed(capsys, recording, "--json").splitlines())
    }
    assert rows[100]["unit"] == "ssh.service"
    assert rows[100]["cgroup_path"] == "/system.slice/ssh.service"
    assert (rows[101]["runtime"], rows[101]["container"]) == ("docker", ID)
    assert (rows[102]["vm_name"], rows[102]["vm"]) == ("bank", 0)
    assert (rows[103]["unit"], rows[103]["container"]) == ("open.service", None)
    assert {rows[104][name] for name in ("cgroup_path", "unit", "container", "pod")} == {None}


def test_csv_has_them(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*csv.DictReader(io.StringIO(printed(capsys, recording, "--csv")))]
    assert [one["unit"] for one in rows][:2] == ["ssh.service", f"docker-{ID}.scope"]
    assert [one["vm_name"] for one in rows] == ["", "", "bank", "", "", ""]


@pytest.mark.parametrize(
    ("query", "pids"),
    [
        ("unit:ssh.service", [100]),
        ("unit:*.service", [100, 103]),
        (f"container:{ID}", [101, 105]),  # whoever calls himself so is not among them
        (f"container:{ID[:12]}*", [101, 105]),
        ("!container:*", [100, 102, 103, 104]),
        ("vm:bank", [102]),
        ("vm:ban", []),
        ("pod:*", []),
        ("container:* pid:105", [105]),
        ("container:* verdict:unexplained", [101, 105]),
        ("container:* verdict:breach", []),
    ],
)
def test_filters(
    recording: str, capsys: pytest.CaptureFixture[str], query: str, pids: list[int]
) -> None:
    found = printed(capsys, recording, "--json", "--filter", query).splitlines()
    assert [json.loads(line)["pid"] for line in found] == pids


def test_a_report_filters_by_them(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    verb = Report()
    verb.run(verb.parser().parse_args([recording, "--json", "--filter", f"container:{ID}"]))
    report = json.loads(capsys.readouterr().out)
    assert [one["pid"] for one in report["tables"]["process"]] == [101, 105]
