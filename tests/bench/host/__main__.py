"""``python -m tests.bench.host``: what a recorder costs those who have no memory file at all.

Boots a kernel and runs tests/bench/host/inside.py there: processes that are made and end, opens,
mappings of ordinary files, page faults, pipes and sockets, untraced and beside ``record``, by fexit
and by kprobe. The bar is 2 % on each.

--instructions counts instructions instead of time: exact on a busy machine too, but without the
recorder's own work, and blind to what one instruction costs more than another. With
``--ops exec --load fork+exec+exit`` the hooks of one operation pay for themselves alone.
"""

import argparse
from typing import Any

from tests.bench.capture.__main__ import Rows, run_inside
from tests.bench.host.inside import LOADS, METHODS

MOST = 0.02


def print_table(facts: dict[str, Any], rows: Rows, unit: str) -> None:
    print(f"kernel {facts['kernel']} under TCG, {facts['cpus']} CPUs, best of {facts['rounds']}")
    print(f"{'':18}{unit:>12}" + "".join(f"{f'{method}, more':>16}" for method in METHODS))
    for load in (load for load in LOADS if load in rows):
        bare = rows[load]["ns"]
        more = [rows[f"{load}, {method}"]["ns"] / bare - 1 for method in METHODS]
        shown = "".join(f"{share:>+15.2%}{'!' if share > MOST else ' '}" for share in more)
        print(f"{load:18}{bare / 1000:12.3f}{shown}".rstrip())
    print(f"!: more than {MOST:.0%}")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--kernel", default="6.1", help="as tests/vm/boot has it")
    options.add_argument("--instructions", action="store_true", help="thousands of them each")
    args, rest = options.parse_known_args()
    inside = "tests.bench.host.inside"
    if args.instructions:
        few = ["--held", "--count", "100", "--rounds", "3", *rest]
        print_table(*run_inside(args.kernel, ["--count"], few, inside), "k each")
    else:
        print_table(*run_inside(args.kernel, [], rest, inside), "µs each")


if __name__ == "__main__":
    main()
