"""How recorders end, what they leave behind, and what they refuse."""

import json
import re
from collections.abc import Mapping

import pytest

from tests.kernel.booted import LIVES, Booted, Run
from tests.kernel.guest_tools import NOBODY
from tracer.escape import unescape
from tracer.kernel.privileges import COMMAND, LATE_BY_ADMIN, LATE_HOOKS, READS_MAPS, SWEEPS, Cap
from tracer.record import USER_CPU

pytestmark = pytest.mark.parametrize("kernel", [LIVES], indirect=True)

METHODS = ("fexit", "kprobe")
_FLUSHED_NS = 3_000_000_000
"""A tail is flushed four times a second; an emulated, busy machine may lag."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u200b]")


def _ticks(kernel: Booted, name: str) -> tuple[int, list[int]]:
    log = json.loads((kernel.folder / f"{name}.json").read_text())
    return log["pid"], log["times_ns"]


def _offsets(run: Run, pid: int) -> list[int]:
    rows = run.events[(run.events["op"] == "write") & (run.events["pid"] == pid)]
    offsets: list[int] = rows["offset"].tolist()
    return offsets


def _readable(run: Run) -> None:
    """Whatever happened to the recorder: the events are there and can be shown."""
    shown = run.script("--all")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) == len(run.events)
    assert "Traceback" not in shown.stderr


# ---- the end comes from outside -----------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_killed(kernel: Booted, method: str) -> None:
    run = kernel.run(f"killed-{method}")
    assert run.code == -9
    assert run.end is None
    assert run.verified.exit_code == 3, run.verified.lines()
    assert not run.verified.unexplained
    _readable(run)
    pid, times_ns = _ticks(kernel, f"killed-{method}")
    offsets = _offsets(run, pid)
    assert offsets == list(range(len(offsets)))
    flushed = sum(time < run.facts["killed_ns"] - _FLUSHED_NS for time in times_ns)
    assert len(times_ns) >= len(offsets) >= flushed > 100
    assert (run.events["seals"] == 0).all()


def test_killed_recorders_leave_no_hook(kernel: Booted) -> None:
    hooks = kernel.facts("hooks")
    assert len(hooks["during"]["programs"]) > len(hooks["before"]["programs"]) + 20
    assert any("vm_mmap_pgoff" in line for line in hooks["during"]["kprobes"])
    assert hooks["after"] == hooks["before"]


def test_terminated(kernel: Booted) -> None:
    run = kernel.run("terminated")
    assert run.code == 0, run.stderr
    assert run.end is not None
    assert "SIGTERM" in run.end["reason"]
    run.check_whole()
    _readable(run)
    offsets = _offsets(run, _ticks(kernel, "stubborn")[0])
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    assert len(offsets) > 50


def test_a_command_that_ignores_ctrl_c(kernel: Booted) -> None:
    """The first is the command's, the second ends the recording, and then the command too."""
    run = kernel.run("stubborn")
    assert run.facts["after_one"] is None
    assert run.code == 5, run.stderr  # the command's own, after its SIGTERM
    assert run.end is not None
    assert "SIGINT" in run.end["reason"]
    pid, times_ns = _ticks(kernel, "stubborn")
    offsets = _offsets(run, pid)
    assert offsets == list(range(len(offsets)))
    assert len(offsets) >= sum(time < run.facts["second_ns"] for time in times_ns)
    assert run.verified.exit_code == 0, run.verified.lines()
    _readable(run)


def test_ctrl_c_ends_the_command_and_then_the_recording(kernel: Booted) -> None:
    run = kernel.run("ctrl-c")
    assert run.code == 5, run.stderr  # the command's own
    run.check_whole()
    pid, times_ns = _ticks(kernel, "ctrl-c")
    assert _offsets(run, pid) == list(range(len(times_ns)))


@pytest.mark.parametrize("name", ["at-once", "compiling"])
def test_ctrl_c_before_the_recording_began(kernel: Booted, name: str) -> None:
    told = kernel.told(name)
    assert told.code == 130, told.stderr
    assert "interrupted" in told.stderr
    assert "Traceback" not in told.stderr
    assert not (kernel.folder / f"{name}.seal").exists()


def test_full_disk(kernel: Booted) -> None:
    run = kernel.run("full")
    assert run.code == 1, run.stderr
    assert "RECORDING STOPPED" in run.stderr
    assert "no space left" in run.stderr
    assert run.verified.exit_code == 3, run.verified.lines()
    assert run.end is not None
    assert run.end["reason"] == "disk full"
    assert len(run.events) > 500
    assert run.facts["command_alive"]  # it is not to blame
    _readable(run)


# ---- the command --------------------------------------------------------------------------


def test_killed_command(kernel: Booted) -> None:
    run = kernel.run("by-signal")
    assert run.code == 128 + 9
    run.check_whole()
    assert run.events.empty


@pytest.mark.parametrize(("name", "code"), [("not-found", 127), ("not-executable", 126)])
def test_no_command(kernel: Booted, name: str, code: int) -> None:
    told = kernel.told(name)
    assert told.code == code, told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not (kernel.folder / "no.seal").exists()


def test_the_command_is_run_as_the_user_behind_sudo(kernel: Booted) -> None:
    run = kernel.run("names")
    assert run.code == 7, run.stderr
    who = json.loads(run.stdout)
    assert (who["uid"], who["gid"], who["groups"]) == (NOBODY, NOBODY, [NOBODY])
    assert set(run.events["uid"]) == {NOBODY}


def test_hostile_names(kernel: Booted) -> None:
    run = kernel.run("names")
    run.check_whole()
    names = [bytes.fromhex(name) for name in json.loads(run.stdout)["names"]]
    objects = run.table("objects")
    objects = objects[objects["cpu"] != USER_CPU]  # without the baseline: other processes' files
    assert objects["name_complete"].all()
    found = [unescape(name) for name in objects["name"]]
    assert [name.removeprefix(b"memfd:") for name in found] == names
    counts = run.events.groupby("op", observed=True).size().to_dict()
    assert {op: counts[op] for op in ("create", "write", "add_seals")} == {
        "create": len(names), "write": 2 * len(names), "add_seals": len(names),
    }  # fmt: skip
    denied = run.events[(run.events["op"] == "write") & (run.events["answer"] == -1)]
    assert denied["ino"].tolist() == objects["ino"].tolist()
    _readable(run)
    for form in ([], ["--json"], ["--csv"]):
        assert not _CONTROL.search(run.script(*form).stdout)
    lines = run.script("--width", "100").stdout.splitlines()
    assert all(len(line) <= 100 for line in lines)


# ---- what is refused ----------------------------------------------------------------------


def test_existing_recording(kernel: Booted) -> None:
    told = kernel.told("there-already")
    assert told.code == 1
    assert "--force" in told.stderr
    kernel.run("default-fexit").check_whole()  # as it was


def test_two_recorders_on_one_recording(kernel: Booted) -> None:
    told = kernel.told("busy")
    assert told.code == 1
    assert "another sealsnoop is writing" in told.stderr


def test_no_such_folder(kernel: Booted) -> None:
    told = kernel.told("no-folder")
    assert told.code == 1
    assert "does not exist" in told.stderr


def test_without_privilege(kernel: Booted) -> None:
    record = kernel.told("unprivileged-record")
    assert record.code == 1
    assert "root" in record.stderr or "privilege" in record.stderr
    doctor = kernel.told("unprivileged-doctor")
    assert doctor.code == 2
    assert "this user cannot trace" in doctor.stdout
    script = kernel.told("unprivileged-script")
    assert script.code == 1
    assert "ermission" in script.stderr


def test_a_file_system_that_never_answers_holds_nobody_up(kernel: Booted) -> None:
    """And what its user has beside it is found."""
    holder, ino = kernel.facts("silent")["holder"], kernel.facts("silent")["ino"]
    listed = kernel.told("silent-ls")
    assert listed.code == 0, listed.stderr
    found = [json.loads(line) for line in listed.stdout.splitlines()]
    assert any(one["ino"] == ino for one in found)
    run = kernel.run("silent-record")
    assert run.code == 0, run.stderr
    run.check_whole()
    open_before = run.table("mappings")
    held = open_before[(open_before["op"] == "open") & (open_before["ino"] == ino)]
    assert held["pid"].tolist() == [holder] * 2  # at the start, and at the end
    assert not (open_before["ino"] == 4711).any()


# ---- what a recorder may -------------------------------------------------------------------


def _bits(status: str, key: str) -> int:
    found = re.search(rf"^{key}:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert found, key
    return int(found[1], 16)


def _mask(*groups: Mapping[Cap, str]) -> int:
    return sum(1 << cap for cap in {cap for group in groups for cap in group})


MAY = {
    "may-plain": _mask(READS_MAPS, COMMAND),
    # Debian's kernel.perf_event_paranoid is 3: kprobes take it all.
    "may-audit": _mask(READS_MAPS, COMMAND, SWEEPS, LATE_HOOKS, LATE_BY_ADMIN),
    "may-ftrace": _mask(COMMAND),
}


@pytest.mark.at_length
@pytest.mark.parametrize("name", MAY)
def test_a_recorder_keeps_what_it_needs_alone(kernel: Booted, name: str) -> None:
    """Its first thread; the others have no more, and none can gain any."""
    threads = kernel.facts(f"{name}-threads")["statuses"]
    run = kernel.run(name)
    first = next(one for one in threads if _bits(one, "Pid") == _bits(one, "Tgid"))
    for key in ("CapEff", "CapPrm"):
        assert _bits(first, key) == MAY[name], key
    for one in threads:
        for key in ("CapEff", "CapPrm", "CapBnd"):
            assert _bits(one, key) & ~MAY[name] == 0, one
        assert (_bits(one, "CapInh"), _bits(one, "CapAmb"), _bits(one, "NoNewPrivs")) == (0, 0, 1)
    run.check_whole()
    assert run.end is not None
    for when, look in run.end["baseline"].items():
        assert look == {"problems": []}, when


@pytest.mark.at_length
@pytest.mark.parametrize("name", ["may-plain", "may-ftrace"])
def test_its_command_keeps_what_the_user_had(kernel: Booted, name: str) -> None:
    before = kernel.facts("may-before")["status"]
    command = kernel.facts(f"{name}-threads")["command"]
    for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"):
        assert _bits(command, key) == _bits(before, key), key
    assert _bits(before, "CapEff") >> Cap.SYS_ADMIN & 1, "there was something to lose"


@pytest.mark.at_length
def test_a_command_of_another_user_can_still_be_ended(kernel: Booted) -> None:
    command = kernel.facts("may-audit-threads")["command"]
    assert re.search(rf"^Uid:\s+{NOBODY}\s", command, re.MULTILINE)
    assert (_bits(command, "CapEff"), _bits(command, "NoNewPrivs")) == (0, 0)
    run = kernel.run("may-audit")
    assert run.code == 128 + 15, run.stderr


@pytest.mark.at_length
def test_a_flood_is_stopped(kernel: Booted) -> None:
    run = kernel.run("flooded")
    assert run.code == 3, run.stderr
    assert "RECORDING STOPPED: --max-size 1M was reached" in run.stderr
    assert run.end is not None
    assert (run.end["reason"], run.end["stopped_early"]) == ("--max-size 1M was reached", True)
    assert run.verified.exit_code == 0, run.verified.lines()
    size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    assert 1 << 17 < size < 33 << 20  # and what was in the ring and in memory
    _readable(run)
    assert "the recorder stopped early: --max-size 1M was reached" in run.report().stdout


NEEDED = {
    "bpf": "neither CAP_SYS_ADMIN nor both CAP_BPF and CAP_PERFMON",
    "perfmon": "neither CAP_SYS_ADMIN nor both CAP_BPF and CAP_PERFMON",
}
"""Without which there is no recording at all."""


def test_the_least_that_recording_takes_without_root(kernel: Booted) -> None:
    """docs/requirements.md: with these it is as root's; with one less it says what it lacks."""
    names = ("none", "bpf", "perfmon", "sys_ptrace")
    told = {name: kernel.facts(f"least-{name}") for name in names}
    assert told["none"]["code"] == 0, told["none"]["said"]
    whole = json.loads((kernel.folder / "least-none.seal" / "end.json").read_text())
    assert whole["baseline"] == {"start": {"problems": []}}
    assert "failed" not in told["none"]["said"], "every hook was attached"
    for name, words in NEEDED.items():
        assert told[name]["code"] == 1
        assert words in told[name]["said"], told[name]["said"]
    assert told["sys_ptrace"]["code"] == 0, told["sys_ptrace"]["said"]
    end = json.loads((kernel.folder / "least-sys_ptrace.seal" / "end.json").read_text())
    assert end["baseline"]["start"]["problems"]
