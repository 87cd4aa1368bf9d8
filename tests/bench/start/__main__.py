"""``python -m tests.bench.start``: from enter to the first decision, step by step.

Boots a kernel and runs tests/bench/start/inside.py there: ``record -- true`` by fexit and kprobe,
timed by the steps that it tells (--steps). Further options are the recorder's (``--audit``).

--instructions counts instructions instead of time, on one CPU. Such a guest ages by what it waits
for, too: where this machine is busy, a step that reads files (imports) says little, and the best of
the rounds counts for each.
"""

import argparse

from tests.bench.capture.__main__ import Rows, run_inside
from tests.bench.start.inside import METHODS, WHOLE


def print_table(rows: Rows, unit: str, per: float) -> None:
    print(f"{'':36}" + "".join(f"{method + ', ' + unit:>18}{'share':>8}" for method in METHODS))
    whole = {method: rows[f"{WHOLE}, {method}"]["ns"] for method in METHODS}
    for what in dict.fromkeys(name.rpartition(", ")[0] for name in rows):
        columns = ""
        for method in METHODS:
            ns = rows.get(f"{what}, {method}", {"ns": 0})["ns"]
            columns += f"{ns / per:18,.2f}{ns / whole[method]:>8.1%}"
        print(f"{what:36}{columns}")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--kernel", default="6.1", help="as tests/vm/boot has it")
    options.add_argument("--instructions", action="store_true", help="billions of them")
    args, rest = options.parse_known_args()
    inside = "tests.bench.start.inside"
    if args.instructions:
        facts, rows = run_inside(args.kernel, ["--count"], ["--rounds", "2", *rest], inside)
    else:
        facts, rows = run_inside(args.kernel, [], rest, inside)
    print(f"kernel {facts['kernel']} under TCG, {facts['cpus']} CPUs")
    print_table(rows, "10^9" if args.instructions else "s", 1e9)


if __name__ == "__main__":
    main()
