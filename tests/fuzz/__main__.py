"""``python -m tests.fuzz``: changed recordings against every verb that reads one.

Takes an hour for 20,000 on one CPU. What it finds it prints with the seed: ``--first SEED
--count 1`` does it again.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import bases
from tests.fuzz.run import Findings, controls, run


def main() -> int:
    """Prints what is wrong; 1 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first mutant")
    parser.add_argument(
        "--controls", type=int, default=10, help="encodings tried of each recording"
    )
    args = parser.parse_args()
    start = time.monotonic()
    shown = 0

    def tell(found: Findings) -> None:
        nonlocal shown
        for one in found.wrong[shown:]:
            print(one, flush=True)
        shown = len(found.wrong)
        if found.mutants % 500 == 0:
            print(f"{found.mutants} in {time.monotonic() - start:.0f} s", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="fuzz") as place:
        where = Path(place)
        made = bases.make(where)
        policy = where / "policy.toml"
        policy.write_bytes(bases.POLICY)
        found = run(made, policy, where, range(args.first, args.first + args.count), tell)
        found.wrong += controls(made, policy, where, args.controls)
        tell(found)
    print(
        f"{found.mutants} mutants, {found.changed} of them different, {found.fitted} made to fit; "
        f"{len(found.wrong)} findings; longest {found.worst_s:.1f} s, "
        f"most {found.worst_bytes >> 20} MiB, {time.monotonic() - start:.0f} s in all"
    )
    print("  ".join(f"{what}: {count}" for what, count in sorted(found.codes.items())))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
