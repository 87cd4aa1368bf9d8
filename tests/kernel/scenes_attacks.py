"""Scenes of thieves: samples/vmm/attacks plays them, beside well-behaved programs, for audits."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernel.attack_cases import ATTACKS, BY_MANAGER, SHOWN, TWINS
from tests.kernel.guest_tools import PROJECT, Results, Tool, wait_for_end, wait_until
from tests.kernel.scenes_decisions import UNPREEMPTED
from tests.kernel.scenes_guest import KVM_MODULES, VMM, kvm_changes, modprobe

PROGRAM = PROJECT / "samples" / "vmm" / "build" / "attacks"
POLICY = PROJECT / "samples" / "policies" / "only-vmm.toml"
VICTIM = "memory-backend-memfd"
"""As QEMU names it, so that the ready policy for QEMU is about it, too."""
LATE = ("plain", "fd-thief")
_AT_ONCE = 3
_LIMIT_S = 120
_LOCKDOWN = Path("/sys/kernel/security/lockdown")


def attack_log(out: Path, name: str) -> Path:
    """What the program says that it did and got."""
    return out / f"attack-{name}.jsonl"


def _start(results: Results, attack: str, name: str) -> "subprocess.Popen[bytes]":
    words = [*UNPREEMPTED, PROGRAM, "--name", f"{VICTIM}-{name}"]
    words += ["--out", attack_log(results.out, name), attack]
    with (results.out / f"attack-{name}.stderr").open("wb") as err:
        return subprocess.Popen([*map(str, words)], stderr=err)


def _play(results: Results, names: Iterable[str], at_once: int = _AT_ONCE, more: str = "") -> None:
    waiting = [*names]
    while waiting:
        some, waiting = waiting[:at_once], waiting[at_once:]
        running = {f"{name}{more}": _start(results, name, f"{name}{more}") for name in some}
        for name, process in running.items():
            results.tell(f"attack-{name}", code=wait_for_end(process, _LIMIT_S))


@contextmanager
def _audited(results: Results, name: str) -> Iterator[None]:
    """`audit` records meanwhile."""
    finish = results.out / f"{name}.finish"
    tool = Tool(
        results, name,
        ["audit", POLICY, "-o", results.out / f"{name}.seal", "--json", "--",
         "sh", "-c", ': >"$0.begun"; while [ ! -e "$0" ]; do sleep 0.2; done', finish],
    )  # fmt: skip
    tool.wait_for(Path(f"{finish}.begun"))
    try:
        yield
    finally:
        finish.touch()
        tool.wait()


@contextmanager
def _another_vm(results: Results) -> Iterator[None]:
    """A guest of somebody else, all the time; and KVM patches the kernel once, not at each VM."""
    end = Path("/tmp/another-vm.end")
    words = [VMM, "--name", "another", "--stay", end, "--out", results.out / "another-vm.jsonl"]
    process = subprocess.Popen([*map(str, words)])
    try:
        yield
    finally:
        end.touch()
        wait_for_end(process, _LIMIT_S)


def attacks(results: Results) -> None:
    """Thieves, and who behaves well on a host as busy as that."""
    alone = [one.name for one in ATTACKS if one.alone]
    together = [one.name for one in ATTACKS if not one.alone]
    together += [*SHOWN[1:], *(one.name for one in TWINS), BY_MANAGER]
    with _another_vm(results), _audited(results, "attacks"):
        _play(results, together)
        # Races need both CPUs.
        _play(results, [*alone, SHOWN[0]], 1)


def late_kvm(results: Results) -> None:
    """KVM comes while `audit` records, and is hooked a moment later."""
    _late_kvm(results, "late")


def late_kvm_refused(results: Results) -> None:
    """KVM comes when the kernel permits no more hooks. Nothing else does then: the last scene."""
    _late_kvm(results, "late-refused", refused=True)


def _late_kvm(results: Results, name: str, refused: bool = False) -> None:
    modprobe("-r", *KVM_MODULES)
    with _audited(results, name):
        if refused:
            # What is attached stays; more of it the kernel does not permit.
            _LOCKDOWN.write_text("confidentiality")
        modprobe(KVM_MODULES[0])
        recording = results.out / f"{name}.seal"
        wait_until("KVM in the recording", lambda: kvm_changes(recording) > 0)
        with _another_vm(results):
            _play(results, LATE, 1, f"-{name}")
