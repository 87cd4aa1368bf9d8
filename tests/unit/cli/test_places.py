"""Names of units, containers and virtual machines in what the verbs print and filter by."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.unit.cgroup_forms import ID
from tests.unit.cli.test_script import announcement, call, clock, events
from tests.unit.named import FORGED, NAMED, SSH, UNTOLD, VM, WEB
from tests.unit.recording.test_tasks import command
from tests.unit.recording.test_tasks import row as task
from tests.unit.ui.still import Still
from tracer.cli.main import main
from tracer.cli.report import Report
from tracer.filter.query import parse
from tracer.live import cells
from tracer.live.snapshot import Request, Rows
from tracer.live.tables import COLUMNS
from tracer.record import TaskText
from tracer.recording.tasks import Actor
from tracer.recording.writer import RecordingWriter
from tracer.words import UNKNOWN, Op
from ui.explain import fields


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


def test_a_report_says_where(
    recording: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    verb = Report()
    verb.run(verb.parser().parse_args([recording, "--by", "process"]))
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if "/10" in line]
    for pid, place in ((100, "ssh.service"), (101, f"docker {ID[:12]}"), (102, "vm bank")):
        found = [line for line in lines if f"/{pid} " in line]
        assert len(found) == 2, "among the decisions and among the processes"
        assert all(place in line for line in found)
    assert not any("docker" in line for line in lines if "/103 " in line)
    verb.run(verb.parser().parse_args([recording, "--json"]))
    report = json.loads(capsys.readouterr().out)
    for rows in (report["listed"], *(report["tables"][name] for name in ("process", "fd"))):
        told = {one["pid"]: one for one in rows}
        assert (told[100]["place"], told[100]["unit"]) == ("ssh.service", "ssh.service")
        assert told[102]["vm_name"] == "bank"
        assert told[104]["place"] is None


def test_without_names_there_is_no_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "y.seal"
    writer = RecordingWriter(path, {})
    for rows in (clock(), *announcement(7, b"memfd:x", 0), events([{"op": Op.WRITE, "ino": 7}])):
        writer.append(rows)
    writer.close("test")
    verb = Report()
    verb.run(verb.parser().parse_args([str(path), "--by", "process"]))
    assert "where" not in capsys.readouterr().out
    where = next(one for one in COLUMNS["processes"] if one.title == "where")
    assert where.is_dull(answer(path, "processes"))


def test_a_trace_says_where(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", recording]) in (0, 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("/", 1)[1].split(" write ")[0] for line in lines] == [
        "100 (ssh.service)",
        f"101 (docker:{ID[:12]})",
        "102 (vm:bank)",
        "103 (open.service)",
        "104",
        f"105 (docker:{ID[:12]})",
    ]


def answer(path: str | Path, table: str, query: str = "") -> Rows:
    feed = Still(path)
    feed.answer(Request(table, parse(query)))
    return feed.snapshot.rows


@pytest.mark.parametrize("table", ["objects", "fds", "processes", "events"])
def test_the_view_says_where(recording: str, table: str) -> None:
    rows = answer(recording, table)
    where = next(one for one in COLUMNS[table] if one.title == "where")
    assert not where.is_dull(rows)
    shown = {where.text(rows.row(place)) for place in rows.order.tolist()}
    if table == "objects":
        assert shown == {f"docker {ID[:12]}"}, "of the last one"
    else:
        assert shown == {
            "ssh.service", f"docker {ID[:12]}", "vm bank", "open.service", cells.NONE
        }  # fmt: skip
    where.sort_keys(rows)


def test_the_view_filters_by_them(recording: str) -> None:
    assert len(answer(recording, "processes", f"container:{ID}")) == 2
    assert len(answer(recording, "events", "vm:bank")) == 1


def test_an_event_says_where(recording: str) -> None:
    rows = answer(recording, "events", "vm:bank")
    event = rows.record(int(rows.order[0]))
    told = next(line.value for line in fields(event, None, UNKNOWN) if line.label == "cgroup")
    assert told == "vm bank: /machine.slice/machine-qemu\\\\x2d1\\\\x2dbank.scope"


QEMU = b"/usr/bin/qemu-system-x86_64"


@pytest.fixture
def claiming(tmp_path: Path) -> str:
    """Three that call themselves a machine: one of a unit, one of libvirt, and one of nowhere."""
    path = tmp_path / "claims.seal"
    writer = RecordingWriter(path, {})
    pids = {SSH: 100, VM: 102, UNTOLD: 104, WEB: 105}
    made = [
        {"op": Op.WRITE, "ino": 7, "fd": 3, "cgroup": cgroup, "answer": -1, "seals": 8, "pid": pid}
        for cgroup, pid in pids.items()
    ]
    tasks = [task(text=b"/usr/bin/find", actor=Actor(105, 0, 0), ns_pid=7)]
    tasks += command(b"find\0-name\0web\0", actor=Actor(105, 0, 0))
    for pid in (100, 102, 104):
        tasks.append(task(text=QEMU, actor=Actor(pid, 0, 0), ns_pid=pid))
        tasks.append(task(TaskText.BUILD_ID, b"\x0a\xff", 0xFFFF, actor=Actor(pid, 0, 0)))
        tasks += command(b"qemu\0-name\0web,, docker 0123\0", actor=Actor(pid, 0, 0))
    for seq, rows in enumerate([clock(), *announcement(7, b"memfd:x", 0), *NAMED, *tasks]):
        rows["seq"] += 0 if seq < 3 else 20
        writer.append(rows)
    writer.append(events(made))
    writer.close("test")
    return str(path)


def test_a_claim_is_shown_as_one(claiming: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, claiming, "--json").splitlines()
    rows = {one["pid"]: one for one in map(json.loads, lines)}
    claim = "web, docker 0123"
    for pid, place in ((100, "ssh.service, "), (104, "")):
        assert (rows[pid]["vm_name"], rows[pid]["vm_claimed"]) == (None, claim)
        assert rows[pid]["place"] == f"{place}claims vm '{claim}'"
        assert rows[pid]["build_id"] == "0aff"
    assert (rows[102]["vm_name"], rows[102]["vm_claimed"]) == ("bank", None)
    assert rows[102]["place"] == "vm bank"
    assert rows[105]["vm_claimed"] is None
    assert rows[105]["build_id"] is None


@pytest.mark.parametrize(
    ("query", "pids"),
    [
        ("vm:web*", [100, 104]),
        ("vm:bank", [102]),
        ("vm:*", [100, 102, 104]),
        ("!vm:*", [105]),
        ("vm:web* unit:ssh.service", [100]),
        ("vm:web* verdict:unexplained", [100, 104]),
    ],
)
def test_a_claim_is_filtered_by(
    claiming: str, capsys: pytest.CaptureFixture[str], query: str, pids: list[int]
) -> None:
    found = printed(capsys, claiming, "--json", "--filter", query).splitlines()
    assert [json.loads(line)["pid"] for line in found] == pids
    assert len(answer(claiming, "events", query)) == len(pids)
    assert len(answer(claiming, "processes", query)) == len(pids)


def test_a_report_tells_who_claims(
    claiming: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    verb = Report()
    verb.run(verb.parser().parse_args([claiming, "--by", "process"]))
    text = capsys.readouterr().out
    listed = text[text.index("\nProcesses") :]
    [ssh] = [line for line in listed.splitlines() if "/100 " in line]
    assert "ssh.service, claims vm 'web, docker 0123'" in ssh
    assert QEMU.decode() in ssh
    [other] = [line for line in listed.splitlines() if "/105[7] " in line]
    assert "/usr/bin/find" in other
    monkeypatch.setenv("COLUMNS", "80")
    verb.run(verb.parser().parse_args([claiming, "--by", "process"]))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("/105[7] " in line for line in lines)


def test_a_trace_tells_who_claims(claiming: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", claiming]) in (0, 2)
    lines = capsys.readouterr().out.splitlines()
    assert "100 (ssh.service,claims:vm:'web,docker:0123') write" in lines[0]
    assert "105[7] (docker:" in lines[3]


def test_the_view_tells_both_numbers(claiming: str) -> None:
    for table in ("fds", "processes", "events"):
        rows = answer(claiming, table)
        inside = next(one for one in COLUMNS[table] if one.name == "ns_pid")
        assert not inside.is_dull(rows)
        shown = sorted(inside.text(rows.row(place)) for place in rows.order.tolist())
        assert shown == ["", "", "", "7"]
    rows = answer(claiming, "processes", "!pid:105")
    assert inside.is_dull(rows)
