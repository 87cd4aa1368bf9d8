"""A comparison of two recordings on a terminal, and for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from tracer.model.escape import clip
from tracer.report import cells, data, sentences
from tracer.report.diff import CHANGES, Diff
from tracer.report.model import WORST_FIRST
from tracer.report.terminal import STYLES, Terminal

HEADINGS = {
    "answer": "Answered otherwise",
    "only A": "Asked for in A only",
    "only B": "Asked for in B only",
    "count": "The same answers, not as often",
}
"""By change."""


def outcomes(found: Sequence[Mapping[str, Any]]) -> str:
    """``2 blocked EPERM, 1 allowed``; ``-`` for none."""
    said = []
    for one in found:
        answer = "" if one["answer"] in ("ok", "") else f" {one['answer']}"
        said.append(f"{one['count']:,} {one['verdict']}{answer}")
    return ", ".join(said) or "-"


def counts(found: Mapping[str, int]) -> str:
    """``2 blocked, 1 allowed``; ``-`` for none."""
    return ", ".join(f"{found[word]:,} {word}" for word in WORST_FIRST if found.get(word)) or "-"


def worst(row: Mapping[str, Any]) -> str:
    """The worst verdict on either side."""
    there = {one["verdict"] for one in [*row["a"], *row["b"]]}
    return next(word for word in WORST_FIRST if word in there)


class DiffTerminal(Terminal):
    """Prints a comparison; ``top`` entries of each kind of change."""

    def show_diff(self, diff: Diff) -> None:
        """Prints everything."""
        for letter, one in (("A", diff.a), ("B", diff.b)):
            self.coverage(one, f"{letter}: ")
        asked = sentences.question(diff.question)
        self.heading(f"Verdicts ({asked})" if asked else "Verdicts")
        self.line(f"{'':<14}{'A':>12}{'B':>12}", "dim", "  ")
        for word in WORST_FIRST:
            a, b = (side.get(word, 0) for side in diff.verdicts)
            self.line(f"{word:<14}{a:>12,}{b:>12,}", STYLES[word] if a or b else "dim", "  ")
        self._variants(diff.variants)
        for change in CHANGES:
            self._changes(diff.decisions, change)
        self._objects(diff.objects)
        self.console.print()
        self.line(f"{diff.same:,} classes of calls are answered the same, as often", "dim")

    def _variants(self, found: pd.DataFrame) -> None:
        if found.empty:
            return
        self.heading("What these kernels do differently (self-tests)")
        for row in cells.rows(found):
            a, b = (row[side] or "not known" for side in ("a", "b"))
            self.line(f"{row['question']}: A {a}, B {b}", "", "  ")

    def _changes(self, frame: pd.DataFrame, change: str) -> None:
        found = frame[frame["change"] == change]
        if found.empty:
            return
        self.heading(f"{HEADINGS[change]}: {len(found):,}")
        for row in cells.rows(found, self.top):
            said = f"{row['op']} {row['kind']} {cells.seals(row['seals'])} {row['request']}"
            self.line(clip(said, self.console.width - 2), "bold", "  ")
            style = STYLES[worst(row)] if change == "answer" else ""
            for letter, side in (("A", "a"), ("B", "b")):
                if row[side]:
                    self.line(f"{letter}: {outcomes(row[side])}", style, "      ")
        self.more(len(found))

    def _objects(self, frame: pd.DataFrame) -> None:
        if frame.empty:
            return
        self.heading(f"Files that differ, by name: {len(frame):,}")
        for row in cells.rows(frame, self.top):
            self.line(clip(cells.file(row), self.console.width - 2), "bold", "  ")
            for letter, side in (("A", "a"), ("B", "b")):
                self.line(f"{letter}: {counts(row[side])}", "", "      ")
        self.more(len(frame))


def diff_json(diff: Diff, top: int | None = None) -> Iterator[str]:
    """One JSON object: format ``sealsnoop report diff``, schema_version, question, recordings A
    and B as in a report, verdicts a and b, same, variants, decisions and objects as in
    :class:`tracer.report.diff.Diff`. A request has the names of seal 0x20 and of memfd_create's 0x8
    where both kernels have the same; else these are numbers in it."""
    head = {
        "format": "sealsnoop report diff",
        "schema_version": data.SCHEMA_VERSION,
        "question": asdict(diff.question),
        "recordings": [asdict(one) | {"whole": one.whole} for one in (diff.a, diff.b)],
        "verdicts": {"a": dict(diff.verdicts[0]), "b": dict(diff.verdicts[1])},
        "same": diff.same,
    }
    yield json.dumps(head, indent=1)[:-2]
    for name in ("variants", "decisions", "objects"):
        frame: pd.DataFrame = getattr(diff, name)
        yield f',\n "{name}": '
        yield from data.table(frame if top is None else frame.head(top))
    yield "\n}\n"


def diff_csv(diff: Diff, top: int | None = None) -> Iterator[str]:
    """The decisions that differ, outcomes as text."""
    texts = {side: [outcomes(one) for one in diff.decisions[side]] for side in ("a", "b")}
    return data.csv_lines(diff.decisions.assign(**texts), top)
