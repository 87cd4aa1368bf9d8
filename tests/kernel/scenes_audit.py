"""Scenes in a guest that can run guests: everything that samples/vmm and QEMU do, for the audit."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tests.kernel.audit_cases import Guest, guests
from tests.kernel.guest_tools import (
    PROJECT,
    Recorder,
    Results,
    Tool,
    python,
    wait_for_end,
    wait_until,
)
from tests.kernel.scenes_decisions import UNPREEMPTED
from tests.kernel.scenes_guest import VMM, has_gmem

POLICY = PROJECT / "samples" / "policies" / "only-vmm.toml"
WITHOUT_PINS = (
    "mmap,mprotect,write,read,truncate,chmod,allocate,punch_hole,add_seals,create,fault,map,unmap,"
    "memslot,remote_read,remote_write,uffd_register,receive"
)
QEMU = {"qemu": ("a", ""), "qemu-mapped": ("b", ""), "qemu-named": ("a", "bank")}
"""Machines of the real QEMU: what each claims to be called, and what root calls it, if anything.
Another process maps the memory of the second one; the third one claims to be the first."""
_HUGE_PAGES = 4
_AT_ONCE = 4
_STORED_S = 4.0  # a recorder has written what it has seen so long ago


def vmm_log(out: Path, name: str) -> Path:
    """What a guest says that it did."""
    return out / f"audited-{name}.jsonl"


class _Guests:
    """Guests of one scene; the last of them end with the scene."""

    def __init__(self, results: Results, stack: ExitStack) -> None:
        self._results, self._stack = results, stack
        self._files = Path("/tmp")
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        stack.callback(self._end)

    def start(self, guest: Guest, *more: str | Path) -> None:
        out = vmm_log(self._results.out, guest.name)
        command = [*UNPREEMPTED, VMM, "--name", f"guest-{guest.name}", "--out", out]
        err: IO[bytes] = (self._results.out / f"audited-{guest.name}.stderr").open("wb")
        self._stack.enter_context(err)
        words = [*map(str, command), *guest.options, *map(str, more)]
        self.running[guest.name] = subprocess.Popen(words, stderr=err)

    def start_waiting(self, guest: Guest) -> None:
        """Until it has done what it does before the trace; it goes on with `go`."""
        ready = self._files / f"{guest.name}.ready"
        self.start(guest, "--ready", ready, "--go", self._files / f"{guest.name}.go")
        wait_until(guest.name, ready.exists)

    def start_staying(self, guest: Guest) -> None:
        """Until it has done all; it ends with the scene."""
        self.start(guest, "--stay", self._files / f"{guest.name}.end")
        log = vmm_log(self._results.out, guest.name)
        wait_until(guest.name, lambda: log.exists() and '"stay"' in log.read_text())

    def go(self, guest: Guest) -> None:
        (self._files / f"{guest.name}.go").touch()

    def wait(self, *names: str) -> None:
        for name in names:
            code = wait_for_end(self.running.pop(name), 120)
            self._results.tell(f"audited-{name}", code=code)

    def _end(self) -> None:
        for name in self.running:
            for word in ("go", "end"):
                (self._files / f"{name}.{word}").touch()
        self.wait(*self.running)


class _Qemus:
    """Debian's QEMU with its guest's memory in a sealed memfd; the machines stand still (-S)."""

    def __init__(self, results: Results, stack: ExitStack) -> None:
        self._results, self._stack = results, stack
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, claims: str, called: str) -> None:
        monitor = Path(f"/tmp/{name}.qmp")
        memory = "memory-backend-memfd,id=ram,share=on,seal=on,size=32M"
        err = self._stack.enter_context((self._results.out / f"{name}.stderr").open("wb"))
        words = ["qemu-system-x86_64", "-accel", "kvm", "-S", "-display", "none", "-nodefaults"]
        words += ["-no-user-config", "-machine", "pc,memory-backend=ram", "-m", "32M"]
        words += ["-object", memory, "-qmp", f"unix:{monitor},server,nowait"]
        words += ["-name", f"guest={claims}"]
        process = subprocess.Popen([*UNPREEMPTED, *_in_scope(called), *words], stderr=err)
        self._processes[name] = process
        self._stack.callback(self._end, process)

        def there() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}")
            return monitor.exists()

        wait_until(name, there, 120)
        _wait_for_machine(monitor)
        fd = self._memory(process.pid)
        st = os.stat(fd)
        dev = os.major(st.st_dev) << 20 | os.minor(st.st_dev)
        self._results.tell(name, pid=process.pid, dev=dev, ino=st.st_ino)

    def map_it(self, name: str) -> None:
        """Another process maps the machine's memory, and ends."""
        command = [*UNPREEMPTED, *python("intruder.py", self._memory(self._processes[name].pid))]
        done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
        self._results.tell(name, intruder=json.loads(done.stdout)["pid"])

    def stop(self) -> None:
        for process in self._processes.values():
            self._end(process)

    @staticmethod
    def _memory(pid: int) -> Path:
        folder = Path(f"/proc/{pid}/fd")
        return next(fd for fd in folder.iterdir() if "memory-backend" in os.readlink(fd))

    @staticmethod
    def _end(process: "subprocess.Popen[bytes]") -> None:
        process.terminate()
        wait_for_end(process, 60)


def _in_scope(called: str) -> list[str]:
    """A command that runs another one in a cgroup as libvirt makes it for a machine."""
    if not called:
        return []
    tree = Path("/sys/fs/cgroup")
    # It may be there.
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", tree], check=False, capture_output=True)
    scope = tree / "machine.slice" / f"machine-qemu\\x2d1\\x2d{called}.scope"
    scope.mkdir(parents=True, exist_ok=True)
    return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(scope / "cgroup.procs")]


def _wait_for_machine(monitor: Path) -> None:
    """Until the main loop answers: the machine and its memory are there then."""
    with socket.socket(socket.AF_UNIX) as to:
        to.settimeout(120)
        to.connect(str(monitor))
        with to.makefile("rw") as lines:
            assert "QMP" in lines.readline()
            for command in ("qmp_capabilities", "query-status"):
                lines.write(json.dumps({"execute": command}) + "\n")
                lines.flush()
                assert "return" in lines.readline()


def audits(results: Results) -> None:
    """One recording by `audit` itself, and three that lose evidence, each in its way."""
    has = has_gmem()
    all_ = guests(has)
    results.tell("audits", gmem=has)
    Path("/proc/sys/vm/nr_hugepages").write_text(str(_HUGE_PAGES))
    with ExitStack() as stack:
        players = _Guests(results, stack)
        old = Guest("old", "", (), "only-vmm")
        players.start_staying(old)
        early = [one for one in all_ if one.before]
        for guest in early:
            players.start_waiting(guest)
        finish = results.out / "audit.finish"
        main = Tool(
            results, "audit",
            ["audit", POLICY, "-o", results.out / "audit.seal", "--json",
             "--html", results.out / "audit.html", "--sarif", results.out / "audit.sarif",
             "--statement", results.out / "audit.statement.json", "--",
             "sh", "-c", ': >"$0.begun"; while [ ! -e "$0" ]; do sleep 0.2; done', finish],
        )  # fmt: skip
        blind = _recorder(results, "blind", "--ops", WITHOUT_PINS, "--no-baseline")
        main.wait_for(Path(f"{finish}.begun"))
        blind.wait_ready()
        _play(players, all_, early)
        qemus = _Qemus(results, stack)
        for name, (claims, called) in QEMU.items():
            qemus.start(name, claims, called)
        qemus.map_it("qemu-mapped")
        qemus.stop()
        blind.stop()
        finish.touch()
        main.wait()
        _lose(results, players)


def _recorder(results: Results, name: str, *options: str) -> Recorder:
    return Recorder(results, f"audit-{name}", "--audit", "--unsealable", *options)


def _play(players: _Guests, all_: Sequence[Guest], early: Sequence[Guest]) -> None:
    late = [one for one in all_ if not one.before]
    for start in range(0, len(late), _AT_ONCE):
        some = late[start : start + _AT_ONCE]
        for guest in some:
            players.start(guest)
        players.wait(*(one.name for one in some))
    for guest in early:
        players.go(guest)
    players.wait(*(one.name for one in early))


def _lose(results: Results, players: _Guests) -> None:
    """A ring too small while the recorder is held up; a recorder that is killed."""
    ring, killed = _recorder(results, "ring", "--ring", "1"), _recorder(results, "killed")
    for one in (ring, killed):
        one.wait_ready()
    good = Guest("good-2", "", (), "only-vmm")
    bad = Guest("second-2", "", ("--second-process",), "only-vmm")
    for guest in (good, bad):
        players.start(guest)
    players.wait(good.name, bad.name)
    time.sleep(_STORED_S)
    killed.process.kill()
    killed.wait()
    ring.process.send_signal(signal.SIGSTOP)
    subprocess.run([*map(str, [*UNPREEMPTED, *python("flood.py")])], check=True)
    ring.process.send_signal(signal.SIGCONT)
    ring.stop()
