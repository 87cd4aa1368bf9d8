"""Scenes on the proposal's own kernel (tests/vm/inaccessible), which no distribution has."""

from pathlib import Path

from tests.kernel.guest_tools import HERE, PROJECT, Recorder, Results, Tool
from tests.kernel.scenes_decisions import UNPREEMPTED, by_both_methods

PROGRAM = HERE / "programs" / "build" / "inaccessible"
POLICY = PROJECT / "samples" / "policies" / "inaccessible-memfd.toml"
RACES = 100_000


def proposal(results: Results) -> None:
    """Every call once by both methods, the race, and an audit of a guest that behaves."""
    by_both_methods(results, "calls", lambda name: [*UNPREEMPTED, PROGRAM, "calls"])
    _audit(results, "quiet")
    # A million events while both CPUs are busy: room for all of them.
    options = ("--method", "kprobe", "--ring", "256")
    Recorder(results, "race", *options, command=[PROGRAM, "race", str(RACES)]).wait(1800)


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
