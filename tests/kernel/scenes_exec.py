"""The scene in the guest where memory files are executed."""

from pathlib import Path

from tests.kernel.guest_tools import HERE, Results
from tests.kernel.scenes_decisions import by_both_methods
from tests.kernel.scenes_judge import huge_pages

TIMES = 60
"""Memory files that are executed, among as many ordinary ones: more than there are ways in
which they alternate."""


def execs(results: Results) -> None:
    """Half of them sealed; by fork, vfork and threads; and each way in which it is refused."""

    def command(name: str) -> list[str | Path]:
        folder = results.out / f"{name}-ordinary"  # of the host's disk: no memory file
        folder.mkdir()
        return [HERE / "programs" / "build" / "execs", str(TIMES), folder]

    with huge_pages(results, "execs", 2):
        by_both_methods(results, "execs", command)
