"""``python -m tests.bench.ring``: how many records a second go from a ring buffer to a recording.

Each way runs in a process of its own on one CPU. A fake kernel fills a ring of 64 MiB laid out as
the kernel's; the ring reader and the writer empty it. The time is everything from the first record
to the closed recording, without what the fake kernel itself took (shown beside it). Each way has
two rounds and the faster one counts: memory that a virtual machine never used before is slow.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_RING = 1 << 26
_TEMPLATE = 1 << 18
_BATCH = 1 << 13
_ROUNDS = 2
Results = dict[str, dict[str, float]]


def measure(name: str, load: str, count: int, where: Path) -> dict[str, float]:
    """Runs one way in this process."""
    from tests.bench.ring.data import LOADS
    from tests.bench.ring.memory import FakeRing
    from tests.bench.ring.ways import WAYS

    ring = FakeRing(_RING, _TEMPLATE, LOADS[load])
    ring.produce(0)
    way = WAYS[name](where / f"{name.split()[0]}.seal")
    producing = 0.0
    done = 0
    start, cpu = time.perf_counter(), time.process_time()
    while done < count:
        before = time.perf_counter()
        ring.produce(min(_BATCH, count - done))
        producing += time.perf_counter() - before
        records = ring.reader.poll()
        way.append(records)
        done += len(records)
        ring.reader.release()
    size = way.end()
    return {
        "records": done,
        "seconds": time.perf_counter() - start - producing,
        "cpu_seconds": time.process_time() - cpu - producing,
        "producing": producing,
        "bytes": size,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        # of which the fake kernel: the ring and its template
        "bench_mb": (_RING + _TEMPLATE * (184 + 8)) / (1 << 20),
    }


def _child(name: str, load: str, count: int, where: Path, cpu: int) -> dict[str, float]:
    command = ["taskset", "-c", str(cpu), sys.executable, "-m", "tests.bench.ring"]
    done = subprocess.run(
        [*command, "--only", name, load, "--records", str(count), "--dir", str(where)],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _rate(result: dict[str, float]) -> float:
    return result["records"] / result["seconds"]


def _compare(load: str, records: int, where: Path, cpu: int) -> Results:
    # The peer is slow and steady: a fifth of the records will do.
    counts = {"sealsnoop": records, "plain pyarrow": records // 5}
    rounds = [
        {name: _child(name, load, count, where, cpu) for name, count in counts.items()}
        for _ in range(_ROUNDS)
    ]
    return {name: max((one[name] for one in rounds), key=_rate) for name in counts}


def _table(load: str, results: Results) -> None:
    print(
        f"{load:16}{'M records/s':>12}{'CPU ns/rec':>12}{'MB/s in':>10}{'bytes/rec':>11}"
        f"{'max RSS MB':>12}{'(bench':>8}{'+ kernel ns)':>13}"
    )
    for name, r in results.items():
        rate = _rate(r)
        print(
            f"{name:16}{rate / 1e6:12.2f}{r['cpu_seconds'] / r['records'] * 1e9:12.0f}"
            f"{rate * 176 / 1e6:10.0f}{r['bytes'] / r['records']:11.1f}{r['rss_mb']:12.0f}"
            f"{r['bench_mb']:8.0f}{r['producing'] / r['records'] * 1e9:13.0f}"
        )
    ratio = _rate(results["sealsnoop"]) / _rate(results["plain pyarrow"])
    print(f"sealsnoop / plain pyarrow: {ratio:.1f} x as fast")


def main() -> None:
    """Measures each way and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ring", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000_000)
    parser.add_argument("--cpu", type=int, default=0, help="run on this CPU alone")
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        name, load = args.only
        print(json.dumps(measure(name, load, args.records, args.dir)))
        return
    from tests.bench.ring.data import LOADS

    with tempfile.TemporaryDirectory(dir=args.dir) as where:
        found = {load: _compare(load, args.records, Path(where), args.cpu) for load in LOADS}
    if args.json:
        print(json.dumps(found))
        return
    print(f"one CPU ({args.cpu}) of {os.cpu_count()}, {args.records} records")
    for load, results in found.items():
        _table(load, results)


if __name__ == "__main__":
    main()
