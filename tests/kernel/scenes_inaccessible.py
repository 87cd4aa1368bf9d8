"""Scenes on the proposal's own kernel (tests/vm/inaccessible), which no distribution has."""

import json
import subprocess
from pathlib import Path

from tests.kernel.guest_tools import HERE, PROJECT, Recorder, Results, Tool, python
from tests.kernel.scenes_decisions import UNPREEMPTED, by_both_methods
from tests.kernel.scenes_ftrace import BY_FTRACE

PROGRAM = HERE / "programs" / "build" / "inaccessible"
POLICY = PROJECT / "samples" / "policies" / "inaccessible-memfd.toml"
TRIES, MANY_TRIES = 5_000, 100_000
"""Of the race: `make test`, and `make matrix`."""


def proposal(results: Results) -> None:
    """Every call once by each method, and an audit of a guest that behaves."""
    Tool(results, "doctor-audit", ["doctor", "--audit", "--json"]).wait()
    by_both_methods(results, "calls", lambda name: [*UNPREEMPTED, PROGRAM, "calls"])
    Recorder(results, "calls-ftrace", *BY_FTRACE, command=[PROGRAM, "calls"]).wait()
    _audit(results, "quiet")


def proposal_swap(results: Results) -> None:
    """The kernel reclaims ordinary and inaccessible files alike; not recorded, no call does it."""
    done = subprocess.run(python("swapped.py"), stdout=subprocess.PIPE, text=True, check=True)
    results.tell("swap", files=[json.loads(line) for line in done.stdout.splitlines()])


def proposal_race(results: Results) -> None:
    _race(results, TRIES)


def proposal_long_race(results: Results) -> None:
    _race(results, MANY_TRIES)


def _race(results: Results, tries: int) -> None:
    # A million events while both CPUs are busy: room for all of them.
    options = ("--method", "kprobe", "--ring", "256")
    Recorder(results, "race", *options, command=[PROGRAM, "race", str(tries)]).wait(1800)


def proposal_broken(results: Results) -> None:
    """Booted with break_inaccessible_mmap: the breach that no healthy kernel can show."""
    by_both_methods(results, "calls", lambda name: [*UNPREEMPTED, PROGRAM, "calls"])
    _audit(results, "mapped", "map")


def _audit(results: Results, name: str, *how: str) -> None:
    recording = results.out / f"{name}.seal"
    words: list[str | Path] = [
        "audit",
        POLICY,
        "--json",
        "-o",
        recording,
        "--",
        PROGRAM,
        "guest",
        *how,
    ]
    Tool(results, f"audit-{name}", words).wait()
