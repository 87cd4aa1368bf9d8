"""``sealsnoop doctor``: what it says and ends with, for hosts that are not here."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kernel.fake_kernel import btf_of, functions, symbols_of
from tracer.capture import attach
from tracer.cli import doctor
from tracer.errors import UserError
from tracer.kernel.blind_spots import AUDIT_BLIND_SPOTS, BLIND_SPOTS
from tracer.kernel.families import FAMILIES
from tracer.kernel.plan import Plan, Planner
from tracer.kernel.requirements import checks
from tracer.kernel.requirements.checks import blocking, check
from tracer.kernel.requirements.host import Finding, Host
from tracer.selftest import attempts as cases
from tracer.selftest.hooks import Count
from tracer.selftest.run import SelfTest

KEYS = [
    "kernel",
    "can_record",
    "complete",
    "findings",
    "blocking",
    "sources",
    "hooks",
    "no_plan_because",
    "blind_spots",
    "self_test",
]
GOOD = [
    Finding("btf", True, "/sys/kernel/btf/vmlinux"),
    Finding("kprobes", True, "there"),
    Finding("trampolines", True, "tried"),
]
NO_BCC = Finding("bcc", False, "no module bcc", "bcc is not installed", "apt-get install it")
UNKNOWN = Finding("jit", None, "unreadable", "it cannot be read", "run as root")


def plan_of(root: Path, without: Iterable[str] = ()) -> Plan:
    found = functions("6.12")
    for name in without:
        del found[name]
    return Planner(btf_of(found), symbols_of(found, root)).plan()


def ask(
    monkeypatch: pytest.MonkeyPatch,
    findings: list[Finding],
    plan: Plan | None,
    *argv: str,
    obstacle: str | None = None,
) -> int:
    """Runs the verb with what was found out about some host."""
    monkeypatch.setattr(checks, "check", lambda host: findings)
    monkeypatch.setattr(doctor, "_plan", lambda method, host, found, audit: (plan, obstacle))
    return run(*argv)


def run(*argv: str) -> int:
    verb = doctor.Doctor()
    return verb.run(verb.parser().parse_args(argv))


def read(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def test_all_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path)
    assert ask(monkeypatch, GOOD, plan, "--json") == 0
    found = read(capsys)
    assert list(found) == KEYS
    assert (found["can_record"], found["complete"], found["no_plan_because"]) == (True, True, None)
    assert list(found["findings"][0]) == ["name", "ok", "detail", "cause", "remedy"]
    assert found["hooks"] == json.loads(json.dumps(plan.to_json()))
    assert found["blind_spots"] == list(BLIND_SPOTS)
    assert list(found["kernel"]) == ["release", "version", "machine", "command_line"]
    assert ask(monkeypatch, GOOD, plan) == 0
    out = capsys.readouterr().out
    assert "\nhost\n  ok      btf, kprobes, trampolines\n\n" in out
    assert "\nsources\n  can     bpf (BPF programs, loaded by bcc)\n" in out
    assert "\n  can       by fexit (BPF trampolines)\n" in out
    assert (
        "\nhook families\n"
        "  can     by fexit: the kernel has trampolines and the prototype fits\n"
        "          mmap vm_mmap_pgoff, "
    ) in out
    assert out.endswith("\nrecording would work here\n")
    assert all(f" {spot} " in " ".join(out.split()) for spot in BLIND_SPOTS)
    assert out.count("\n") <= 47, "one screen"
    assert max(map(len, out.splitlines())) <= 100


def test_verbose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path, ["memfd_fcntl"])
    assert ask(monkeypatch, GOOD, plan, "--verbose") == 3
    out = capsys.readouterr().out
    assert "\n  ok      btf: /sys/kernel/btf/vmlinux\n" in out
    assert "\n  can     mmap vm_mmap_pgoff by fexit: the kernel has trampolines" in out
    assert " vm_mmap_pgoff(struct file *" in out
    assert (
        "\n  UNSEEN  seals: this kernel has no memfd_fcntl\n"
        "          unseen: F_ADD_SEALS: who sealed what, and what was refused\n"
    ) in out


def test_something_stays_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path, ["memfd_fcntl", "hugetlbfs_setattr"])
    assert ask(monkeypatch, [*GOOD, UNKNOWN], plan, "--json") == 3
    found = read(capsys)
    assert (found["can_record"], found["complete"]) == (True, False)
    assert found["findings"][-1]["ok"] is None
    assert ask(monkeypatch, [*GOOD, UNKNOWN], plan) == 3
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("  UNSEEN  this kernel has no memfd_fcntl")
    assert [line.strip() for line in lines[at + 1 : at + 4]] == [
        "seals",
        "unseen: F_ADD_SEALS: who sealed what, and what was refused",
        "→ no remedy on this kernel; docs/kernels.md says what others can do",
    ]
    at = lines.index("  absent  this kernel has no hugetlbfs_setattr")
    assert lines[at + 1].strip() == "hugetlb_setattr"
    assert not lines[at + 2].strip().startswith("unseen"), "there is nothing to be seen"
    at = lines.index("  unknown jit: unreadable")
    assert [line.strip() for line in lines[at + 1 : at + 3]] == [
        "it cannot be read",
        "→ run as root",
    ]
    assert lines[-1] == "recording would work here, with the gaps marked UNSEEN"


def test_a_method_that_was_asked_for_leaves_gaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = functions("6.12")
    symbols = symbols_of(found, tmp_path)
    del found["memfd_fcntl"]  # from BTF alone
    plan = Planner(btf_of(found), symbols).plan("fexit")
    assert ask(monkeypatch, GOOD, plan, "--method", "fexit") == 3
    lines = capsys.readouterr().out.splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("  UNSEEN  fexit was "))
    assert lines[at + 3].strip() == "→ try --method auto"


def test_what_a_kernel_need_not_have_is_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, GOOD, plan_of(tmp_path, ["hugetlbfs_setattr"]), "--json") == 0
    assert read(capsys)["complete"] is True


def test_something_forbids_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path)
    assert ask(monkeypatch, [*GOOD, NO_BCC], plan, "--json") == 2
    found = read(capsys)
    assert (found["can_record"], found["complete"]) == (False, False)
    assert found["sources"]["bpf"] == {
        "can": False,
        "blocking": [NO_BCC.to_json()],
        "methods": {
            "fexit": {"can": False, "because": ["bcc"]},
            "kprobe": {"can": False, "because": ["bcc"]},
        },
    }
    assert len(found["hooks"]) == len(FAMILIES), "the plan is worth seeing all the same"
    assert ask(monkeypatch, [*GOOD, NO_BCC], plan) == 2
    out = capsys.readouterr().out
    assert (
        "  MISSING bcc: no module bcc\n"
        "          bcc is not installed\n"
        "          → apt-get install it\n"
    ) in out
    assert "this host cannot be traced (bcc); trace another kernel: " in out.splitlines()[-1]
    assert "\n  can't   bpf (BPF programs, loaded by bcc): bcc\n" in out


def test_ftrace_can_do_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "by_source", lambda host, found: {"bpf": [NO_BCC], "ftrace": []})
    assert ask(monkeypatch, [*GOOD, NO_BCC], plan_of(tmp_path)) == 2
    lines = capsys.readouterr().out.splitlines()
    assert "  can     ftrace (kprobe events in tracefs, no BPF)" in lines
    assert lines[-1] == "BPF cannot trace this host (bcc); 'record --source ftrace' can"


def test_no_plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(monkeypatch, GOOD, None, "--json", obstacle="cannot read it") == 2
    found = read(capsys)
    assert (found["hooks"], found["no_plan_because"]) == (None, "cannot read it")
    assert found["can_record"] is False
    assert ask(monkeypatch, GOOD, None, obstacle="cannot read it") == 2
    out = capsys.readouterr().out
    assert (
        "\nhook families\n"
        "  none    no plan: cannot read it\n"
        "          → trace another kernel: `make live` boots a stock Debian kernel in QEMU\n"
    ) in out
    assert "this host cannot be traced (no hook plan); " in out.splitlines()[-1]


def test_no_hook_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = functions("6.12")
    nothing = Planner(btf_of(found), symbols_of(found, tmp_path), False, False).plan()
    assert ask(monkeypatch, GOOD, nothing, "--json") == 2
    assert read(capsys)["can_record"] is False


def test_for_audits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = functions("6.12")
    plan = Planner(btf_of(found), symbols_of(found, tmp_path)).plan(audit=True)
    assert ask(monkeypatch, GOOD, plan, "--audit", "--json") == 0, "KVM that is not there is no gap"
    assert read(capsys)["blind_spots"] == list(AUDIT_BLIND_SPOTS)
    assert ask(monkeypatch, GOOD, plan, "--audit") == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("  waits   by fexit: waits for the module kvm, which is not loaded")
    assert lines[at + 1].strip().startswith("memslot, ")
    assert any(line.strip().startswith("→ nothing to do: its hooks are set") for line in lines[at:])
    assert f"  {AUDIT_BLIND_SPOTS[0]}" in lines
    assert f"  {BLIND_SPOTS[0]}" not in lines


@pytest.mark.parametrize("method", ["auto", "fexit", "kprobe"])
def test_on_this_host(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run("--json", "--method", method)
    found = read(capsys)
    assert list(found) == KEYS
    blocked = blocking(check(Host.live()))
    assert found["can_record"] is (code != 2)
    assert found["self_test"] is None, "not asked for"
    assert code in ((2,) if blocked else (0, 2, 3))
    live = {step["method"] for step in found["hooks"] or () if step["method"]}
    assert live <= ({"fexit", "kprobe"} if method == "auto" else {method})


# ---- the self-test ----------------------------------------------------------------------------


FINDING: dict[str, Any] = {
    "cases": 600, "variants": {"bit_0x20": "exec"}, "open": [], "bit_0x20": "exec",
    "write_chunk": 4096, "holes": ["hugetlb-grow"], "verdicts": {"allowed": 600},
    "unexplained": [],
}  # fmt: skip


@pytest.mark.slow
def test_self_test_on_this_host(capsys: pytest.CaptureFixture[str]) -> None:
    code = run("--json", "--self-test")
    found = read(capsys)["self_test"]
    assert found["ran"]
    assert found["thorough"]
    assert found["unexplained"] == []
    assert found["cases"] > 5000
    if found["hooks"] is None:
        assert code in (2, 3)
        assert found["hooks_note"]


def test_calls_are_made_where_nothing_can_be_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cases, "all_sets", cases.short_sets)  # enough to be printed
    assert ask(monkeypatch, [*GOOD, NO_BCC], plan_of(tmp_path), "--self-test") == 2
    out = capsys.readouterr().out
    assert "\n  seal 0x20: " in out
    assert "\n  unexplained answers: none\n" in out
    assert "\n  hooks: could not be confirmed, this host cannot be traced\n" in out
    assert out.splitlines()[-1].startswith("this host cannot be traced (bcc);")


@pytest.mark.slow
def test_hooks_that_cannot_be_attached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def attached(kernel: object, method: str, *others: object) -> None:
        raise UserError(f"no hook could be attached by {method}")

    monkeypatch.setattr(attach.Kernel, "running", lambda: None)
    monkeypatch.setattr(attach, "attach", attached)
    plan = plan_of(tmp_path)
    assert ask(monkeypatch, GOOD, plan, "--self-test", "--json", "--method", "kprobe") == 3
    found = read(capsys)
    assert found["self_test"]["hooks_note"] == "no hook could be attached by kprobe"
    assert (found["can_record"], found["complete"]) == (True, False)


@pytest.mark.parametrize(
    ("hooks", "code", "last"),
    [
        ({"mmap": Count(9, 9), "read": Count(0, 0)}, 0, "recording would work here"),
        ({"mmap": Count(9, 8)}, 3,
         "recording would work here, but the self-test found something wrong"),
        (None, 3, "recording would work here, but the self-test found something wrong"),
    ],
)  # fmt: skip
def test_code_0_only_when_all_hooks_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hooks: dict[str, Count] | None,
    code: int,
    last: str,
) -> None:
    result = SelfTest(FINDING, hooks)
    monkeypatch.setattr(doctor, "_self_test", lambda examiner, method, traceable: result)
    assert ask(monkeypatch, GOOD, plan_of(tmp_path), "--self-test") == code
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert ask(monkeypatch, GOOD, plan_of(tmp_path), "--self-test", "--json") == code
    assert read(capsys)["self_test"] == json.loads(json.dumps(result.to_json()))
    without = plan_of(tmp_path, ["memfd_fcntl"])
    assert ask(monkeypatch, GOOD, without, "--self-test") == 3
    assert "with the gaps marked UNSEEN" in capsys.readouterr().out.splitlines()[-1]
