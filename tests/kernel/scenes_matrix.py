"""The scene that every kernel of the matrix plays: one recording by each method, of everything.

The two of BPF record at the same time, each a workload, the holes and (one of them) the kernel's
own selftest; tests.kernel.test_matrix takes them apart by process. Then ftrace records the same.
"""

from pathlib import Path

from tests.kernel.guest_tools import HERE, WORKLOAD, Recorder, Results, Tool
from tests.kernel.scenes_decisions import HUGE_PAGES, by_both_methods, tmpfs
from tests.kernel.scenes_ftrace import BY_FTRACE
from tests.kernel.scenes_judge import HOLES, memfd_test_runs

SELFTEST_BY = "kprobe"
"""By this method no kernel loses what is preempted, and strace makes for much preemption."""


def matrix(results: Results) -> None:
    Tool(results, "doctor-audit", ["doctor", "--audit", "--json"]).wait()
    (results.out / "memfd_test.sh").write_text("\n".join(memfd_test_runs(results)) + "\n")
    huge = Path("/proc/sys/vm/nr_hugepages")
    huge.write_text(str(HUGE_PAGES))
    results.tell("matrix", huge_pages=int(huge.read_text()))
    with tmpfs() as folder:
        options = ("--quick", "--fork", "--threads", "--hugetlb", "--tmpfs", folder)

        def command(name: str) -> list[str | Path]:
            method = name.removeprefix("matrix-")
            selftest = "yes" if method == SELFTEST_BY else "no"
            script = HERE / "programs" / "matrix.sh"
            return ["sh", script, results.out, method, selftest, HOLES, WORKLOAD, *options]

        by_both_methods(results, "matrix", command, attempts=1)
        by_ftrace = command("matrix-ftrace")
        Recorder(results, "matrix-ftrace", *BY_FTRACE, command=by_ftrace).wait()
    huge.write_text("0")
