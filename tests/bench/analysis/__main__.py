"""``python -m tests.bench.analysis``: judging and summing up recordings, beside DuckDB.

Each way is a process of its own from its start to its end, on the same Parquet files, in turns; of
some runs the one with the least CPU time counts (wall-clock time is no measure on a machine that is
shared), and its wall time and peak memory are shown beside it. DuckDB only groups and judges
nothing: "1 table" is the group-by of decisions by object alone, "5 tables" has those by object, fd,
process, op and time that a report has too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

OURS = ("report --json", "all tables")
PEERS = ("DuckDB, 1 table", "DuckDB, 5 tables")


@dataclass(frozen=True)
class Run:
    """One process from its start to its end."""

    seconds: float
    cpu_seconds: float
    rss_mb: float


def command(way: str, path: Path) -> list[str]:
    """What is run for ``way``."""
    if way == "report --json":
        return [sys.executable, "-m", "sealsnoop", "report", "--json", str(path)]
    return [sys.executable, "-m", "tests.bench.analysis", "--only", way, "--dir", str(path)]


def measure(arguments: list[str]) -> Run:
    """Runs a command with its output thrown away."""
    start = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        process = subprocess.Popen(arguments, stdout=nowhere)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def only(way: str, path: Path) -> object:
    """Runs one way in this process."""
    from tests.bench.analysis import ours, peer

    match way:
        case "all tables":
            return ours.tables(path)
        case "DuckDB, 1 table":
            return peer.group_by(path, ("object",))
        case "DuckDB, 5 tables":
            return peer.group_by(path, peer.ALL)
    return ours.live(path)


def write(path: Path, millions: float, objects: int, sharers: int) -> None:
    """Writes a recording in a process of its own: a child's peak memory begins with its parent's.

    SystemExit: that failed.
    """
    code = f"""
from pathlib import Path
from tests.bench.analysis.synthetic import write
write(Path({os.fspath(path)!r}), {int(millions * 1e6)}, {objects}, {sharers})
"""
    measure([sys.executable, "-c", code])


def compare(path: Path, turns: int) -> dict[str, Run]:
    """The best run of each way."""
    best: dict[str, Run] = {}
    for _ in range(turns):
        for way in (*OURS, *PEERS):
            run = measure(command(way, path))
            if way not in best or run.cpu_seconds < best[way].cpu_seconds:
                best[way] = run
    return best


def show(millions: float, runs: dict[str, Run]) -> None:
    """One block of the table."""
    for way, run in runs.items():
        of = [(run.seconds / runs[peer].seconds, run.cpu_seconds / runs[peer].cpu_seconds)
              for peer in PEERS]  # fmt: skip
        ratios = "".join(f"{wall:9.2f}{cpu:8.2f}" for wall, cpu in of)
        print(
            f"{millions:6g} {way:18}{run.seconds:9.2f}{run.cpu_seconds:9.2f}"
            f"{run.rss_mb:9.0f}{ratios if way in OURS else ''}",
            flush=True,
        )


def conclude(millions: float, runs: dict[str, Run]) -> None:
    """The ratio that counts, in one line."""
    run, peer = runs[OURS[0]], runs[PEERS[1]]
    print(
        f"{millions:g} M: report --json takes {run.cpu_seconds / peer.cpu_seconds:.1f} times "
        f"DuckDB's CPU time and {run.seconds / peer.seconds:.1f} times its wall time for the same "
        f"five groupings, and {run.rss_mb:.0f} MB"
    )


def growth(results: dict[str, dict[str, Run]]) -> None:
    """What each further million costs, which is the same everywhere if it is linear."""
    sizes = sorted(results, key=float)
    for few, many in pairwise(sizes):
        one, other = results[few][OURS[0]], results[many][OURS[0]]
        more = float(many) - float(few)
        print(
            f"{few} to {many} M: {(other.cpu_seconds - one.cpu_seconds) / more:.2f} s of CPU and "
            f"{(other.rss_mb - one.rss_mb) / more:.1f} MB for each million more"
        )


def main() -> None:
    """Measures each way and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.analysis", description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10, 30])
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument("--sharers", type=int, default=2, help="processes that use a file")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(only(args.only, args.dir)))
        return
    results: dict[str, dict[str, Run]] = {}
    with tempfile.TemporaryDirectory(dir=args.dir) as where:
        if not args.json:
            print(f"{os.cpu_count()} CPUs, {args.objects} objects, each used by {args.sharers} "
                  f"processes through a descriptor each; best of {args.turns}")  # fmt: skip
            print(f"{'':25}{'wall s':>9}{'CPU s':>9}{'RSS MB':>9}"
                  f"{'/ DuckDB 1 table':>17}{'/ 5 tables':>17}   (wall, CPU)")  # fmt: skip
            print("10^6", "decisions")
        for millions in args.millions:
            path = Path(where) / f"{millions:g}.seal"
            write(path, millions, args.objects, args.sharers)
            results[f"{millions:g}"] = runs = compare(path, args.turns)
            if not args.json:
                show(millions, runs)
        done = subprocess.run(command("live", path), stdout=subprocess.PIPE, check=True)
        live: dict[str, float] = json.loads(done.stdout)
    if args.json:
        found = {
            size: {way: asdict(run) for way, run in runs.items()} for size, runs in results.items()
        }
        print(json.dumps({"runs": found, "live": live}))
        return
    for size, runs in results.items():
        conclude(float(size), runs)
    growth(results)
    rates = [live["events"] / live[clock] / 1e6 for clock in ("cpu_seconds", "seconds")]
    print(f"live: {rates[0]:.1f} M events a CPU second, {rates[1]:.1f} M a second of wall time")
    print(
        f"  in batches of 100,000 (median {live['median_ms']:.0f} ms a batch); "
        f"snapshot {live['tables_ms']:.0f} ms, table of objects {live['by_object_ms']:.0f} ms"
    )


if __name__ == "__main__":
    main()
