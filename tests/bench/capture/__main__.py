"""``python -m tests.bench.capture``: what recording a write costs, beside bpftrace and trace-cmd.

Boots a kernel, runs tests/bench/capture/inside.py there and prints the table. "over" is what a
write costs more than untraced; the floor is an empty BPF program on the same functions: on
shmem_write_begin alone ("one hook"), and on the two functions that our programs stand on.
"a kept" is the same for each event that is kept: who loses half pays twice for what arrives.

--instructions counts them instead of time: exact on a busy machine too, but without the peers and
without the recorder's own work, and blind to what one instruction costs more than another.

--stacks measures nothing but what an allowed write costs more with --stacks of those refused.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
Rows = dict[str, dict[str, Any]]


def run_inside(
    kernel: str, options: list[str], rest: list[str], module: str = "tests.bench.capture.inside"
) -> tuple[dict[str, Any], Rows]:
    """What ``module`` printed in a booted kernel: facts, and the best of each measurement."""
    command = [str(ROOT / "tests/vm/boot"), "--kernel", kernel, "--timeout", "1500", *options, "--"]
    inside = ["python", "-m", module, *rest]
    facts: dict[str, Any] = {}
    rows: Rows = {}
    with subprocess.Popen(
        [*command, *inside], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as guest:
        for line in guest.stdout or ():
            found = json.loads(line)
            if "name" in found:
                before = rows.setdefault(found["name"], found)
                before["ns"] = min(before["ns"], found["ns"])
                print(".", end="", file=sys.stderr, flush=True)
            else:
                facts = found
    print(file=sys.stderr)
    if guest.returncode != 0:
        print(f"the benchmark failed inside the kernel (exit {guest.returncode})", file=sys.stderr)
    return facts, rows


def floors(name: str) -> list[str]:
    method = "fexit" if "fexit" in name else "kprobe"
    end = ", tmpfs" if name.endswith("tmpfs") else ""
    return [f"empty {method}, {where}{end}" for where in ("one hook", "both hooks")]


def over(rows: Rows, name: str) -> float:
    """Nanoseconds that a write costs more than untraced."""
    bare = rows["untraced, tmpfs" if name.endswith("tmpfs") else "untraced"]["ns"]
    return float(rows[name]["ns"] - bare)


def over_kept(rows: Rows, name: str) -> float | None:
    """Nanoseconds over for each event that is kept; None where none is meant to be."""
    kept = rows[name]["kept"]
    return over(rows, name) / min(kept, 1) if kept else None


def print_table(facts: dict[str, Any], rows: Rows, unit: str) -> None:
    print(
        f"kernel {facts['kernel']} under TCG, {facts['cpus']} CPUs, clock {facts['clock']}; "
        f"{facts['count']:,} writes of 8 bytes, best of {facts['rounds']}"
    )
    print(
        f"{'':40}{unit:>9}{'over':>7}{'kept':>8}{'a kept':>8}"
        f"{'over/floor':>12}{'total/floor':>13}\n{'':72}{'one  both':>12}{'one  both':>13}"
    )
    for name, row in rows.items():
        extra = over(rows, name)
        kept = "" if row["kept"] is None else f"{row['kept']:.1%}"
        one = over_kept(rows, name)
        each = "" if one is None else f"{one / 1000:.2f}"
        ratios = ["", ""]
        if name.startswith("sealsnoop") and all(floor in rows for floor in floors(name)):
            pair = floors(name)
            ratios[0] = " ".join(f"{extra / over(rows, floor):5.2f}" for floor in pair)
            ratios[1] = " ".join(f"{row['ns'] / rows[floor]['ns']:5.2f}" for floor in pair)
        line = f"{name:40}{row['ns'] / 1000:9.2f}{extra / 1000:7.2f}{kept:>8}{each:>8}"
        print(f"{line}{ratios[0]:>12}{ratios[1]:>13}".rstrip())
    print_stacks(rows)
    for peer in (name for name in rows if name.startswith(("bpftrace", "trace-cmd"))):
        for ours in ("sealsnoop fexit", "sealsnoop kprobe"):
            line = f"{ours} / {peer}: {rows[ours]['ns'] / rows[peer]['ns']:.2f}"
            one, other = over_kept(rows, ours), over_kept(rows, peer)
            print(f"{line}, over a kept event {one / other:.2f}" if one and other else line)


def print_stacks(rows: Rows) -> None:
    """What an allowed write costs more when stacks are taken of those that are refused."""
    for name, row in rows.items():
        plain, _, words = name.partition(", --stacks ")
        if words and plain in rows:
            before, extra = rows[plain]["ns"], row["ns"] - rows[plain]["ns"]
            print(
                f"{plain}: --stacks {words} makes an allowed write {extra / before:+.2%} "
                f"({extra / over(rows, plain):+.2%} of what recording it costs)"
            )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--kernel", default="6.1", help="as tests/vm/boot has it")
    options.add_argument("--instructions", action="store_true", help="thousands of them a write")
    args, rest = options.parse_known_args()
    if args.instructions:
        few = ["--held", "--no-peers", "--count", "10000", "--rounds", "2"]
        print_table(*run_inside(args.kernel, ["--count"], [*few, *rest]), "k/write")
    else:
        print_table(*run_inside(args.kernel, [], rest), "µs/write")


if __name__ == "__main__":
    main()
