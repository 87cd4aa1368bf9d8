"""Scenes in the guest: how recorders end, and what they refuse."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.kernel.guest_tools import (
    NOBODY,
    PROJECT,
    Recorder,
    Results,
    Tool,
    boottime_ns,
    bpf_programs,
    kprobes,
    python,
    wait_until,
)
from tests.kernel.scenes_decisions import METHODS
from tracer.kernel.privileges import LEAST

_TICKS_S = 8.0  # longer than a segment
_BPF_GONE_S = 20.0
_TICKS = ("--ops", "create,write")
"""All that is asked of tickers, and of what does nothing: the rest takes long to compile."""


def killed(results: Results) -> None:
    """kill -9 of two recorders, one of each method, in the middle of their commands' work."""
    before = bpf_programs(), kprobes()
    logs = [results.out / f"killed-{method}.json" for method in METHODS]
    recorders = [
        Recorder(
            results,
            f"killed-{method}",
            *("--method", method),
            command=python("ticker.py", log),
        )
        for method, log in zip(METHODS, logs, strict=True)
    ]
    pids = [Path(f"{log}.pid") for log in logs]
    for recorder in recorders:
        recorder.wait_for(*pids)
    time.sleep(_TICKS_S)
    during = bpf_programs(), kprobes()
    for recorder in recorders:
        results.tell(recorder.name, killed_ns=boottime_ns())
        recorder.process.kill()
        recorder.wait()
    with contextlib.suppress(TimeoutError):
        wait_until("the end of all hooks", lambda: (bpf_programs(), kprobes()) == before,
                   _BPF_GONE_S)  # fmt: skip
    after = bpf_programs(), kprobes()
    for name, (programs, probes) in zip(
        ("before", "during", "after"), (before, during, after), strict=True
    ):
        results.tell("hooks", **{name: {"programs": sorted(programs), "kprobes": probes}})
    for pid in pids:
        os.kill(int(pid.read_text()), signal.SIGTERM)
    wait_until("the tickers' logs", lambda: all(log.exists() for log in logs))


def interrupted(results: Results) -> None:
    """SIGTERM without a command; Ctrl-C twice with a command that does not listen."""
    log = results.out / "stubborn.json"
    stubborn = Recorder(
        results, "stubborn", *_TICKS, command=python("ticker.py", log, "--ignore-interrupts")
    )
    terminated = Recorder(results, "terminated", *_TICKS, "--name", "ticker")
    terminated.wait_ready()
    stubborn.wait_for(Path(f"{log}.pid"))
    time.sleep(2)
    terminated.stop(signal.SIGTERM)
    stubborn.interrupt_all()
    time.sleep(2)
    results.tell("stubborn", after_one=stubborn.process.poll(), second_ns=boottime_ns())
    stubborn.interrupt_all()
    stubborn.wait()


def full_disk_and_killed_command(results: Results) -> None:
    disk = Path("/tmp/small-disk")
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=True)
    log = Path("/tmp/full.json")
    full = Recorder(
        results, "full", *_TICKS, output=disk / "full.seal", command=python("ticker.py", log)
    )
    killed = Recorder(results, "by-signal", *_TICKS, command=["sh", "-c", "kill -KILL $$"])
    killed.wait()
    said = results.out / "full.stderr"

    def stopped() -> bool:
        full.check_alive()
        return "RECORDING STOPPED" in said.read_text()

    wait_until("the full disk", stopped)
    time.sleep(1)
    results.tell("full", command_alive=Path(f"/proc/{Path(f'{log}.pid').read_text()}").exists())
    full.stop(signal.SIGTERM)
    shutil.copytree(full.output, results.out / "full.seal")


def hostile_names(results: Results) -> None:
    """Names from hell, as the user behind sudo; and a plain command that ends by Ctrl-C."""
    nobody = {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}
    _let_in(PROJECT)
    names = Recorder(results, "names", command=python("names.py"), env=nobody)
    log = results.out / "ctrl-c.json"
    ctrl_c = Recorder(results, "ctrl-c", *_TICKS, command=python("ticker.py", log))
    ctrl_c.wait_for(Path(f"{log}.pid"))
    time.sleep(1)
    ctrl_c.interrupt_all()
    ctrl_c.wait()
    names.wait()


def interrupted_early(results: Results) -> None:
    """Ctrl-C while the recorder still imports, and while the BPF program is compiled."""
    early = Recorder(results, "at-once", command=["true"])
    _wait_for_library(early, "numpy")  # before it, Python itself starts, which is not our code
    early.interrupt_all()
    compiling = Recorder(results, "compiling", command=["true"])
    _wait_for_library(compiling, "libbcc")
    time.sleep(2)
    compiling.interrupt_all()
    early.wait()
    compiling.wait()


def _wait_for_library(recorder: Recorder, name: str) -> None:
    maps = Path(f"/proc/{recorder.process.pid}/maps")
    wait_until(name, lambda: name in maps.read_text())


def refused(results: Results) -> None:
    out = results.out
    _let_in(PROJECT)

    def run(name: str, arguments: Sequence[str | Path], user: int | None = None) -> None:
        running.append(Tool(results, name, arguments, user=user))

    running: list[Tool] = []

    there = out / "default-fexit.seal"
    run("not-found", ["record", "-o", out / "no.seal", "--", "no-such-program"])
    run("not-executable", ["record", "-o", out / "no.seal", "--", "/etc/passwd"])
    run("there-already", ["record", "-o", there, "--", "true"])
    run("no-folder", ["record", "-o", out / "missing" / "no.seal", "--", "true"])
    private = Path("/tmp/private.seal")
    shutil.copytree(there, private)
    private.chmod(0o700)
    run("unprivileged-script", ["script", private], NOBODY)
    run("unprivileged-record", ["record", "-o", "/tmp/no.seal", "--", "true"], NOBODY)
    run("unprivileged-doctor", ["doctor"], NOBODY)
    for one in running:
        one.wait()


def silent_file_system(results: Results) -> None:
    """Somebody holds and maps a file of a FUSE file system that never answers again."""
    subprocess.run(["modprobe", "fuse"], check=True)
    folder, ready = Path("/tmp/silent"), Path("/tmp/silent.ready")
    folder.mkdir()
    with subprocess.Popen(python("silent.py", folder, ready)) as server:
        wait_until("the file system", ready.exists, 60)
        holder, ino, _ = map(int, ready.read_text().split())
        time.sleep(1)  # by now it is silent
        try:
            Tool(results, "silent-ls", ["ls", "--json", "--all"]).wait(120)
            Recorder(results, "silent-record", "--audit", command=["true"]).wait()
        finally:
            os.kill(holder, signal.SIGKILL)
            server.kill()
    results.tell("silent", holder=holder, ino=ino)


def privileges(results: Results) -> None:
    """What a recorder may, and each of its threads, when its hooks are attached; what its command
    may. And how a flood ends."""
    own = Path("/tmp/own-privileges")
    script = f"cp /proc/self/status {own}; sleep 1000"
    results.tell("may-before", status=Path("/proc/self/status").read_text())
    nobody = {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}
    for name, env, *options in (
        ("may-plain", {}),
        ("may-audit", nobody, "--audit"),
        ("may-ftrace", {}, "--source", "ftrace"),
    ):
        own.unlink(missing_ok=True)
        command = ["sh", "-c", script]
        recorder = Recorder(results, name, "--no-self-test", *options, command=command, env=env)
        recorder.wait_for(own)
        time.sleep(3)  # it looks at /proc first
        threads = [
            (task / "status").read_text()
            for task in Path(f"/proc/{recorder.process.pid}/task").iterdir()
        ]
        results.tell(f"{name}-threads", statuses=threads, command=own.read_text())
        # It ends the command then, which takes a privilege where that is another user's.
        recorder.process.send_signal(signal.SIGTERM)
        recorder.wait()
    options = ["--no-self-test", "--max-size", "1M", "--duration", "30"]
    Recorder(results, "flooded", *options, command=python("rush.py")).wait()


def without_root(results: Results) -> None:
    """Recorders of an ordinary user that has a few capabilities, one left out in turn."""
    _let_in(PROJECT)
    own = Path("/tmp/unprivileged")
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    own.chmod(0o755)
    least = [cap.name.lower() for cap in LEAST]
    for left_out in ("none", "bpf", "perfmon", "sys_ptrace"):
        given = ",".join(f"+{cap}" for cap in least if cap != left_out)
        words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                 f"--inh-caps={given}", f"--ambient-caps={given}"]  # fmt: skip
        output = own / f"{left_out}.seal"
        held = python("beside.py", own / "beside")
        with subprocess.Popen(held) as holder:
            wait_until("somebody's memfd", (own / "beside").exists)
            done = subprocess.run(
                [*map(str, words), "sealsnoop", "record", "--no-self-test",
                 *(() if left_out == "none" else _TICKS), "-o", output, "--", "true"],
                capture_output=True, text=True, timeout=300, check=False,
                env={**os.environ, "HOME": str(own), "TMPDIR": str(own)},
            )  # fmt: skip
            holder.kill()
        (own / "beside").unlink()
        results.tell(f"least-{left_out}", code=done.returncode, said=done.stderr)
        if output.exists():
            shutil.copytree(output, results.out / f"least-{left_out}.seal")


def _let_in(folder: Path) -> None:
    """An ordinary user must be able to run the checkout, wherever it lies (a scratch layer)."""
    for one in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            one.chmod(one.stat().st_mode | 0o011)


def lockdown(results: Results) -> None:
    """On a kernel in confidentiality lockdown, which forbids BPF to read kernel memory."""
    Tool(results, "doctor", ["doctor"]).wait()
    Tool(results, "doctor-json", ["doctor", "--json"]).wait()
    for source in ("bpf", "ftrace"):
        words = ["record", "--source", source, "-o", results.out / "no.seal", "--", "true"]
        Tool(results, f"record-{source}", words).wait()
