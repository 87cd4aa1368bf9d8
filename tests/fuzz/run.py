"""Runs the verbs on mutants, in forked children of one warm process, and judges what they did.

No verb may end with a traceback or by a signal, take ten seconds or a gigabyte; each error names
the file and the fault; and a recording that was changed and whose chain was not made to fit is
never whole.
"""

import gc
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz import mutate
from tests.fuzz.mutate import Mutant

SECONDS = 10
"""Of a processor: other programs on this machine are not the verb's fault …"""
PATIENCE_S = 100
"""… but it may not wait for something that never comes."""
BYTES = 1 << 30
_BATCH = 10
"""Mutants of one child: to fork a process of this size takes as long as to look at one."""
CODES = {"verify": {0, 1, 2, 3}, "script": {0, 1}, "report": {0, 1, 3, 4}, "audit": {0, 1, 2, 3, 4}}


_DAMAGE = re.compile(r"  damage: |unexplained [1-9]")


@dataclass
class Ran:
    """What one verb did."""

    verb: str
    code: int | None = None
    """None: it did not come to an end."""
    seconds: float = 0.0
    grown: int = 0
    """Bytes that the process grew by since it was forked."""
    fault: str = ""
    """A traceback."""
    out: str = ""
    err: str = ""


@dataclass
class Findings:
    """All that was found."""

    mutants: int = 0
    changed: int = 0
    fitted: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    worst_s: float = 0.0
    worst_bytes: int = 0
    wrong: list[str] = field(default_factory=list)


def verbs(path: Path, policy: Path) -> list[list[str]]:
    """Command lines."""
    return [
        ["verify", str(path)],
        ["script", str(path), "--json"],
        ["report", str(path), "--json"],
        ["audit", str(policy), str(path), "--json"],
    ]


def _memory() -> int:
    """The most that this process had in memory since the last call; and begins anew."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return found << 10


def _run(words: list[str], base: int) -> Ran:
    """One verb, in this process, whose standard output and error go to files."""
    from sealsnoop import main

    ran = Ran(words[0])
    outs = [os.memfd_create(name) for name in ("out", "err")]
    for fd, to in zip(outs, (1, 2), strict=True):
        os.dup2(fd, to)
    sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(
        os.fdopen(os.dup(2), "wb"), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)  # which kills
    signal.setitimer(signal.ITIMER_PROF, SECONDS + 1)
    start = time.process_time()
    try:
        ran.code = main(words)
        sys.stdout.flush()
    except SystemExit as error:
        ran.code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        ran.fault = traceback.format_exc()
    ran.seconds = time.process_time() - start
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    ran.grown = _memory() - base
    for fd, name in zip(outs, ("out", "err"), strict=True):
        size = min(os.fstat(fd).st_size, 1 << 22)
        setattr(ran, name, os.pread(fd, size, 0).decode("utf-8", "replace"))
        os.close(fd)
    if "Traceback (most recent call last)" in ran.err:
        ran.fault = ran.err
    return ran


def _child(work: list[list[list[str]]], to: int) -> None:
    """Runs the verbs of some mutants and tells what they did, line by line."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    gc.disable()  # it would only make pages of the warm process our own
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2 * BYTES, size + 2 * BYTES))
    _memory()
    base = _memory()
    with os.fdopen(to, "w") as told:
        for number, lines in enumerate(work):
            for words in lines:
                print(json.dumps({"mutant": number, "verb": words[0]}), file=told, flush=True)
                print(json.dumps(asdict(_run(words, base))), file=told, flush=True)


def _forked(work: list[list[list[str]]]) -> list[list[Ran]]:
    """What the verbs did of each mutant; a child that died is followed by another one."""
    found: list[list[Ran]] = [[] for _ in work]
    first = 0
    while first < len(work):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with suppress(BaseException):
                _child(work[first:], writing)
            os._exit(0)
        os.close(writing)
        running = None
        with os.fdopen(reading) as told:
            for line in told:
                said = json.loads(line)
                if "mutant" in said:
                    running = first + said["mutant"], said["verb"]
                elif running is not None:
                    found[running[0]].append(Ran(**said))
                    running = None
        _, status = os.waitpid(child, 0)
        if running is None:
            return found
        why = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "ended"
        place, verb = running
        found[place].append(Ran(verb, fault=f"killed by {why}"))
        first = place + 1
    return found


def warm(recordings: list[Path], policy: Path) -> None:
    """Does once what each child then need not do: imports, and what they cache."""
    import sealsnoop  # noqa: F401

    saved = os.dup(1), os.dup(2)
    streams = sys.stdout, sys.stderr
    for path in recordings:
        for words in verbs(path, policy):
            if fault := _run(words, 0).fault:
                os.dup2(saved[1], 2)
                raise AssertionError(fault)
    for fd, to in zip(saved, (1, 2), strict=True):
        os.dup2(fd, to)
        os.close(fd)
    sys.stdout, sys.stderr = streams
    gc.collect()
    gc.freeze()


def judge(mutant: Mutant, rans: list[Ran], whole: bool) -> Iterator[str]:
    """What is wrong, in words. ``whole``: what it was made of passes ``verify``."""
    for ran in rans:
        if ran.fault:
            yield f"{ran.verb}: {ran.fault}"
        elif ran.code not in CODES[ran.verb]:
            yield f"{ran.verb} ended with {ran.code}"
        if ran.seconds > SECONDS:
            yield f"{ran.verb} took {ran.seconds:.1f} s"
        if ran.grown > BYTES:
            yield f"{ran.verb} took {ran.grown >> 20} MiB"
        if ran.code == 1 and not _says(ran.err, mutant.path):
            yield f"{ran.verb} does not say what is wrong: {ran.err[:300]!r}"
        if ran.verb == "verify" and ran.code == 2 and not _DAMAGE.search(ran.out):
            yield f"verify does not say what is damaged: {ran.out[:300]!r}"
    if mutant.differs and not mutant.fits and rans and rans[0].code == 0:
        yield "verify says that it is whole"
    if not mutant.differs and whole and rans and rans[0].code != 0:
        yield f"nothing was changed and verify says {rans[0].code}: {rans[0].out}"


def _says(err: str, path: Path) -> bool:
    """One clear error: the recording's or a file's name, and no more than a line or two."""
    lines = [line for line in err.splitlines() if line.startswith("sealsnoop: ")]
    return bool(lines) and path.name in lines[-1] and len(lines[-1]) < 1000


def run(
    bases: dict[str, Path], policy: Path, where: Path, seeds: range,
    tell: Callable[[Findings], None] = lambda _: None,
) -> Findings:  # fmt: skip
    """The mutants of ``seeds``."""
    found = Findings()
    names = sorted(bases)
    whole = {name: name != "killed" for name in names}
    warm([bases[name] for name in names], policy)
    for start in range(seeds.start, seeds.stop, _BATCH):
        mutants: list[tuple[int, str, Mutant]] = []
        for seed in range(start, min(start + _BATCH, seeds.stop)):
            # The real one is large: one of sixteen is of it.
            name = names[seed % 4 % len(names)] if seed % 16 else "real"
            made = mutate.change(bases[name], where / f"{seed}.seal", seed)
            mutants.append((seed, name, made))
        rans = _forked([verbs(mutant.path, policy) for _, _, mutant in mutants])
        for (seed, name, mutant), ran in zip(mutants, rans, strict=True):
            found.mutants += 1
            found.changed += mutant.differs
            found.fitted += mutant.fits
            for one in ran:
                found.codes[f"{one.verb} {one.code}"] += 1
                found.worst_s = max(found.worst_s, one.seconds)
                found.worst_bytes = max(found.worst_bytes, one.grown)
            wrong = list(judge(mutant, ran, whole[name]))
            said = "; ".join(mutant.said)
            found.wrong += [f"seed {seed}, {name} ({said}): {one}" for one in wrong]
            shutil.rmtree(mutant.path)
        tell(found)
    return found


# ---- controls -----------------------------------------------------------------------------------


def controls(bases: dict[str, Path], policy: Path, where: Path, count: int) -> list[str]:
    """Untouched recordings, and the same rows encoded otherwise with a chain that fits: all verbs
    say the same of them, and ``verify`` that they are whole."""
    wrong = []
    for name, base in sorted(bases.items()):
        if name == "killed":
            continue
        path = where / "control.seal"
        said: list[Any] = []
        for seed in range(count + 1):
            shutil.copytree(base, path)
            if seed:
                rng = random.Random(seed)
                for file in sorted(path.glob("*/*.parquet")):
                    mutate.encode(file, rng)
                mutate.fit(path, rng)
            [rans] = _forked([verbs(path, policy)])
            shutil.rmtree(path)
            wrong += [
                f"control {name} {seed}: {one.verb}: {one.fault}" for one in rans if one.fault
            ]
            if rans[0].code != 0:
                wrong.append(f"control {name} {seed}: verify says {rans[0].code}: {rans[0].out}")
            said.append([(one.verb, one.code, one.out) for one in rans[1:]])
            if said[-1] != said[0]:
                wrong.append(f"control {name} {seed}: another answer")
    return wrong
