"""What a report comes to: its first line, what to do about it, and the exit code.

``report`` and ``report --diff`` say it first, in text, on the page, and as ``result`` and
``summary`` in JSON.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.errors import Exit
from tracer.escape import clip, printable
from tracer.labels import counted
from tracer.output.coverage import Coverage

if TYPE_CHECKING:
    import pandas as pd

_RELEASE = 48  # cells of a kernel's release, which a recording of somebody else may choose


@dataclass(frozen=True)
class Breach:
    """Breaches of one kernel that have one cause."""

    kernel: str
    """Its release."""
    hole: str | None
    """The known hole of this kernel that they went through; None: it is none, they are new."""
    count: int


@dataclass(frozen=True)
class Summary:
    """The result of a report."""

    result: str
    """``breach`` (a new one), ``known-holes`` (breaches by these alone), ``unexplained``,
    ``uncertain``, ``fine`` or ``nothing``; of a comparison ``different``, ``same``, ``uncertain``
    or ``nothing``."""
    text: str
    """The first line."""
    todo: tuple[str, ...]
    """What to do about it."""
    exit_code: Exit
    """Without --fail-on."""


def release(kernel: str) -> str:
    """The kernel's release, in little room."""
    return clip(printable(kernel), _RELEASE)


def breaches(by_rule: "pd.DataFrame", coverage: Sequence[Coverage]) -> tuple[Breach, ...]:
    """The breaches of a table of rules (:attr:`tracer.analysis.totals.Tables.by_rule`)."""
    kernels = {one.boot_id: release(one.kernel) for one in coverage}
    counts: dict[tuple[str, str | None], int] = {}
    rows = by_rule[by_rule["verdict"] == "breach"]
    columns = (rows[name].astype(object) for name in ("boot_id", "hole", "decisions"))
    for boot, hole, count in zip(*columns, strict=True):
        name = hole if isinstance(hole, str) else None
        key = (kernels.get(boot, "unknown"), name)
        counts[key] = counts.get(key, 0) + int(count)
    return tuple(Breach(kernel, hole, count) for (kernel, hole), count in counts.items())


def breach_text(found: Sequence[Breach]) -> str:
    """``8 breaches: 0 new, 8 by known holes of 6.1.0-56``."""
    new = sum(one.count for one in found if one.hole is None)
    parts = [f"{new:,} new"]
    for kernel in dict.fromkeys(one.kernel for one in found if one.hole is not None):
        count = sum(one.count for one in found if one.kernel == kernel and one.hole is not None)
        parts.append(f"{count:,} by known holes of {kernel}")
    total = counted(sum(one.count for one in found), "breach")
    return f"{total}: {', '.join(parts)}"


def of_report(
    found: Sequence[Breach],
    verdicts: Mapping[str, int],
    coverage: Sequence[Coverage],
    question: str,
    busy: int = 0,
    left_out: int = 0,
    unread: int = 0,
) -> Summary:
    """The result of a report.

    :param verdicts: decisions by verdict.
    :param question: what the report is limited to, empty: nothing.
    :param busy: F_ADD_SEALS that failed EBUSY.
    :param left_out: files that can never be sealed, of which only the creation was recorded.
    :param unread: recordings that could not be read.
    """
    decisions = sum(verdicts.values())
    doubts = list(dict.fromkeys(doubt for one in coverage for doubt in one.doubts()))
    if unread:
        doubts.insert(0, f"{unread:,} of {len(coverage) + unread:,} recordings could not be read")
    undecided = verdicts.get("indeterminate", 0)
    if undecided:
        doubts.append(f"{counted(undecided, 'decision')} could not be judged")
    unexplained = verdicts.get("unexplained", 0)
    refused = f"{counted(unexplained, 'refusal')} that no seal explains"
    code = Exit.UNCERTAIN if doubts else Exit.FINE
    if found:
        result = "breach" if any(one.hole is None for one in found) else "known-holes"
        parts = [breach_text(found), *([refused] if unexplained else []), *doubts]
        text = "; ".join(parts)
    elif unexplained:
        result, text = "unexplained", "; ".join([f"No breach, but {refused}", *doubts])
    elif not decisions:
        none = "no decision matches" if question else "no decision was recorded"
        result, text = "nothing", f"Nothing to judge: {none}"
        if doubts:
            result, text = "uncertain", f"N{none[1:]}, but not certain: {'; '.join(doubts)}"
        code = code or Exit.NOTHING
    elif doubts:
        result, text = "uncertain", f"No breach seen, but not certain: {'; '.join(doubts)}"
    else:
        blocked = verdicts.get("blocked", 0)
        seals = f"; seals blocked {blocked:,} of them" if blocked else ""
        result = "fine"
        text = f"No breach: the kernel answered all {decisions:,} decisions as its rules say{seals}"
        if decisions == 1:
            text = f"No breach: the kernel answered the one decision as its rules say{seals}"
    todo = _todo(result, found, unexplained, coverage, busy, left_out)
    return Summary(result, f"{text} ({question})" if question else text, tuple(todo), code)


def _todo(
    result: str,
    found: Sequence[Breach],
    unexplained: int,
    coverage: Sequence[Coverage],
    busy: int,
    left_out: int,
) -> Iterator[str]:
    paths = " ".join(shlex.quote(one.path) for one in coverage[:1])
    if result == "breach":
        yield f"see who, when and on which file: sealsnoop trace {paths} --filter verdict:breach"
    by_hole: dict[str, int] = {}
    for one in found:
        if one.hole is not None:
            by_hole[one.hole] = by_hole.get(one.hole, 0) + one.count
    if by_hole:
        named = ", ".join(f"{hole} {count:,}" for hole, count in by_hole.items())
        yield f"known holes stay open until the kernel is replaced: {named}"
    if unexplained:
        yield f"see what was refused: sealsnoop trace {paths} --filter verdict:unexplained"
    if busy:
        yield (
            f"{busy:,} F_ADD_SEALS failed EBUSY: the holders named below must unmap the file first"
        )
    yield from _again(coverage)
    if result == "nothing" and left_out:
        yield "record with --unsealable to see files that can never be sealed"


def _again(coverage: Sequence[Coverage]) -> Iterator[str]:
    """How to record so that nothing is missing the next time."""
    causes = {cause for one in coverage for cause in one.lost}
    if causes & {"ring_full", "seq_hole"}:
        yield (
            "to lose nothing, record again with a larger ring (--ring 64) or less of the host "
            "(--pid, --name, --ops)"
        )
    if "missed" in causes:
        yield "to miss nothing, record again with --method kprobe"
    if any(one.state == "killed" for one in coverage):
        yield "let the recorder end by itself (Ctrl-C, --duration) to have the last events"


def of_diff(
    a: Coverage,
    b: Coverage,
    answers: Mapping[str, int],
    variants: Sequence[str],
    only: tuple[int, int],
    same: int,
    verdicts: tuple[Mapping[str, int], Mapping[str, int]],
    question: str,
) -> Summary:
    """The result of a comparison.

    :param answers: by operation, classes of calls that were answered differently.
    :param variants: questions that the self-tests answered differently.
    :param only: classes of calls that were requested in A or in B alone.
    :param same: classes that both answer alike.
    :param verdicts: decisions of each by verdict.
    """
    names = [release(one.kernel) for one in (a, b)]
    who = f"A {names[0]}, B {names[1]}" if names[0] != names[1] else f"both {names[0]}"
    sides = list(zip("AB", verdicts, (a, b), strict=True))
    doubts = [f"{letter}: {doubt}" for letter, _, one in sides for doubt in one.doubts()]
    empty = [letter for letter, counts, _ in sides if not any(counts.values())]
    classes = sum(answers.values())
    if empty:
        none = "matches" if question else "was recorded"
        text = f"Nothing to compare: no decision {none} in {' and in '.join(empty)}"
        result, code = "nothing", Exit.NOTHING
    elif classes or variants:
        parts = []
        if classes:
            named = ", ".join(f"{op} {count}" for op, count in answers.items())
            parts.append(f"{counted(classes, 'class')} of calls ({named})")
        if variants:
            parts.append(f"what the self-tests found ({', '.join(variants)})")
        text = f"The kernels differ ({who}) in {' and in '.join(parts)}"
        result, code = "different", Exit.FINDING
    elif doubts:
        text = f"No difference seen ({who}), but not certain"
        result, code = "uncertain", Exit.UNCERTAIN
    else:
        text = f"The kernels do not differ ({who}): {counted(same, 'class')} of calls alike"
        result, code = "same", Exit.FINE
    breached = [counts.get("breach", 0) for counts in verdicts]
    more = [f"breaches: A {breached[0]:,}, B {breached[1]:,}"] if any(breached) else []
    more += [
        f"{counted(count, 'class')} in {letter} alone"
        for letter, count in zip("AB", only, strict=True)
        if count and not empty
    ]
    text = "; ".join([text, *more, *doubts])
    return Summary(
        result, f"{text} ({question})" if question else text, tuple(_again((a, b))), code
    )
