"""What one kernel of the matrix showed, as a row of docs/kernels.md."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.kernel.booted import Booted, Run
from tests.kernel.ground_truth import Truth, expected_calls
from tests.kernel.judged import ON_ANY_FILE, bad, judged
from tests.kernel.memfd_selftest import RUNS, ended

METHODS = ("fexit", "kprobe", "ftrace")
BY_BPF = METHODS[:2]
TITLE = """\
# Kernels

Made by `make matrix`, which boots every kernel here and compares what sealsnoop recorded and judged
with what the calls themselves returned. Nothing in the tool looks at a kernel's version: this table
is what its plan and its self-test found. Debian serves newer builds in time; the next run then has
those.
"""
LEGEND = """\
Hooks and calls: first by `--method fexit`, then by `--method kprobe`, then by `--source ftrace`.
memfd_test: how the kernel's own selftest ended on memfds, then on hugetlb memfds (134: it aborted
itself, at the hole hugetlb-exec where that is open). Where calls are short, the plan says so: on
5.10 a write begins at a function of seven parameters, too many for its trampolines, so fexit leaves
writes out, and ftrace never records mremap and remap_file_pages. Rows with two values are of runs
without ftrace. The kernel called `inaccessible` is 6.1 with F_SEAL_INACCESSIBLE as it was proposed
in January 2022; its calls are those of a program of its own
([inaccessible.c](../tests/kernel/programs/inaccessible.c)), and 6.1's selftest is not about it."""

WITHOUT = """\
Hook families of `record` and `record --audit`, by what `doctor --audit` says; those of KVM wait for
the module, which is not loaded in these boots."""


@dataclass(frozen=True)
class Shown:
    """One kernel's row."""

    release: str
    hooks: str
    """Live of known hook families, by method."""
    answers: dict[str, str]
    """Question of tracer.rules.variants -> this kernel's choice."""
    recorded: str
    holes: list[str]
    selftest: str
    """Exit codes of the kernel's own memfd_test: on memfds, on hugetlb memfds."""
    missing: dict[str, str] = field(default_factory=dict)
    """Hook family that is not there -> why."""


def shown(kernel: Booted) -> Shown:
    run = kernel.run("matrix-kprobe")
    breaches = bad(judged(run.path))
    return Shown(
        release=kernel.release,
        hooks=", ".join(_hooks(kernel.run(f"matrix-{method}")) for method in METHODS),
        answers=dict(run.manifest["self_test"]["variants"]),
        recorded=", ".join(_recorded(kernel, method) for method in METHODS),
        holes=sorted(set(breaches["hole"].dropna().astype(str))),
        selftest=", ".join(str(ended(kernel, name)) for name in RUNS),
        missing=_missing(kernel),
    )


def shown_proposal(kernel: Booted) -> Shown:
    """Of the proposal's own kernel, whose scene is another one (scenes_inaccessible.proposal)."""
    recorded = []
    for method in METHODS:
        run = kernel.run(f"calls-{method}")
        made = [json.loads(line) for line in run.stdout.splitlines()]
        right = judged(run.path)["verdict"].isin(["allowed", "blocked", "error"])
        recorded.append(f"{int(right.sum()):,} of {len(made):,}")
    breaches = bad(judged(kernel.run("calls-kprobe").path))
    return Shown(
        release=kernel.release,
        hooks=", ".join(_hooks(kernel.run(f"calls-{method}")) for method in METHODS),
        answers=dict(kernel.run("calls-kprobe").manifest["self_test"]["variants"]),
        recorded=", ".join(recorded),
        holes=sorted(set(breaches["hole"].dropna().astype(str))),
        selftest="-",
        missing=_missing(kernel),
    )


def truths(kernel: Booted, method: str) -> tuple[Truth, Truth]:
    """Of the workload, and of the holes."""
    return kernel.truth(f"matrix-{method}"), kernel.truth(f"matrix-holes-{method}")


def _recorded(kernel: Booted, method: str) -> str:
    made, seen = 0, 0
    rows = judged(kernel.run(f"matrix-{method}").path)
    for truth in truths(kernel, method):
        made += len(expected_calls(truth, **ON_ANY_FILE))
        seen += int(rows["pid"].isin(truth.pids).sum())
    return f"{seen:,} of {made:,}"


def _missing(kernel: Booted) -> dict[str, str]:
    audit = json.loads(kernel.told("doctor-audit").stdout)["hooks"]
    return {
        hook["family"]: hook["reason"]
        for hook in audit
        if hook["symbol"] is None and not hook["reason"].startswith("waits for the module")
    }


def _hooks(run: Run) -> str:
    hooks = run.manifest["hooks"]
    by = Counter(hook["method"] for hook in hooks)
    other = " and ".join(f"{n} by {how}" for how, n in sorted(by.items(), key=str) if how)
    return f"{other} of {len(hooks)}"


def markdown(rows: Iterable[Shown], absent: dict[str, str]) -> str:
    """The document. ``absent``: kernels that could not be fetched, and why."""
    rows = list(rows)
    questions = list(rows[0].answers)
    head = ["kernel", "hooks", *questions, "calls recorded and judged right", "known holes open",
            "memfd_test exits"]  # fmt: skip
    lines = [TITLE, _row(head), _row(["---"] * len(head))]
    lines += [
        _row([row.release, row.hooks, *(row.answers.get(each, "?") for each in questions),
              row.recorded, ", ".join(row.holes) or "none", row.selftest])
        for row in rows
    ]  # fmt: skip
    lines += ["", LEGEND, "", "## What a kernel does not have", "", WITHOUT, ""]
    for row in rows:
        missing = "; ".join(f"`{name}`: {why}" for name, why in row.missing.items())
        lines += [f"- **{row.release}**: {missing or 'nothing'}"]
    if absent:
        lines += ["", "## Not fetched", "", *(f"- {name}: {why}" for name, why in absent.items())]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
