"""The scenes in the guest where memory files are executed."""

from pathlib import Path

from tests.kernel.guest_tools import HERE, Recorder, Results
from tests.kernel.scenes_decisions import by_both_methods
from tests.kernel.scenes_ftrace import BY_FTRACE
from tests.kernel.scenes_judge import huge_pages

TIMES = 60
"""Memory files that are executed, among as many ordinary ones: more than there are ways in
which they alternate."""
TIMES_AT_LENGTH = 1000
_ALONE = ("--ops", "exec", "--no-self-test", "--no-baseline")
"""Other scenes record the rest beside it, and test it."""


def _execs(results: Results, scene: str, times: int) -> None:
    """Half of them sealed; by fork, vfork and threads; and each way in which it is refused."""

    def command(name: str) -> list[str | Path]:
        folder = results.out / f"{name}-ordinary"  # of the host's disk: no memory file
        folder.mkdir()
        return [HERE / "programs" / "build" / "execs", str(times), folder]

    with huge_pages(results, scene, 2):
        by_both_methods(results, scene, command, attempts=1, options=_ALONE)
        name = f"{scene}-ftrace"
        Recorder(results, name, *BY_FTRACE, *_ALONE, command=command(name)).wait()


def execs(results: Results) -> None:
    _execs(results, "execs", TIMES)


def execs_at_length(results: Results) -> None:
    _execs(results, "execs_at_length", TIMES_AT_LENGTH)
