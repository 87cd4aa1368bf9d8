"""Which seal decided which operation how often, and the seals over time."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from tracer.model.verdicts import Verdict
from ui import cells
from ui.marks import SYMBOLS
from ui.widgets.lines import Lines

NO_SEAL = ""
_OPS = ("mmap", "mremap", "mprotect", "write", "read", "truncate", "chmod", "allocate",
        "punch_hole", "add_seals", "create")  # fmt: skip
_SHORT = {"punch_hole": "punch", "add_seals": "seal", "truncate": "trunc", "allocate": "alloc",
          "mprotect": "mprot"}  # fmt: skip


class Matrix(Lines):
    """Rows: what stood in the way; columns: operations; cells: counts by verdict."""

    DEFAULT_CSS = "Matrix { height: auto; }"
    grows = True

    def show(self, matrix: Mapping[tuple[str, str], Sequence[int]]) -> None:
        """Draws the counts: (reason, op) → one number a verdict."""
        ops = [op for op in _OPS if any(key[1] == op for key in matrix)]
        ops += sorted({op for _, op in matrix} - set(_OPS))
        reasons = sorted({reason for reason, _ in matrix}, key=lambda one: (one == NO_SEAL, one))
        quiet = self.style_of("quiet")
        text = Text()
        if not matrix:
            self.put(Text(" no decisions yet", quiet))
            return
        grid = [[self._cell(matrix.get((reason, op))) for op in ops] for reason in reasons]
        titles = [_SHORT.get(op, op) for op in ops]
        widths = [
            max(len(title), *(row[place].cell_len for row in grid)) + 1
            for place, title in enumerate(titles)
        ]
        names = [cells.text(reason) if reason else "nothing in the way" for reason in reasons]
        first = min(max(len(name) for name in names), 26)
        text.append(" " * (first + 1))
        for title, width in zip(titles, widths, strict=True):
            text.append(title.rjust(width), quiet)
        for name, row in zip(names, grid, strict=True):
            text.append(f"\n {cells.clipped(name, first)}")
            for cell, width in zip(row, widths, strict=True):
                text.append(" " * (width - cell.cell_len)).append_text(cell)
        self.put(text)

    def _cell(self, counts: Sequence[int] | None) -> Text:
        cell = Text()
        if counts is None:
            return cell.append(cells.NONE, self.style_of("quiet"))
        for verdict in sorted(Verdict, reverse=True):
            if counts[verdict]:
                shown = f"{SYMBOLS[verdict]}{cells.count(counts[verdict], 6)}"
                style = self.style_of(verdict.word)
                cell.append(" " if cell else "").append(shown, style)
        return cell


class SealLine(Lines):
    """The add_seals calls of one object, oldest first: when, who, what, and what came of it."""

    DEFAULT_CSS = "SealLine { height: auto; }"
    grows = True

    def show(self, calls: Sequence[Mapping[str, Any]], start_ns: int | None) -> None:
        """Draws the calls (ui.snapshot.Detail.seals)."""
        text = Text()
        quiet = self.style_of("quiet")
        if not calls:
            text.append(" no F_ADD_SEALS seen", quiet)
        for place, call in enumerate(calls):
            verdict = Verdict(call["verdict"]) if call["verdict"] >= 0 else Verdict.ALLOWED
            when = max(0, call["time_ns"] - (start_ns or 0)) / 1e9
            text.append("\n" if place else "").append(f" {cells.clock(when):>9}s ", quiet)
            text.append(f"{SYMBOLS[verdict]} ", self.style_of(verdict.word))
            text.append(f"{cells.seals(call['before'])} → ", quiet)
            changed = call["after"] != call["before"]
            text.append(cells.seals(call["after"]), "bold" if changed else quiet)
            text.append(f"  +{call['asked']} ").append(cells.who(call["comm"], call["pid"]), quiet)
            if call["errno"]:
                text.append(f"  {call['errno']}", self.style_of("blocked"))
            for note in call["notes"]:
                text.append(f"\n{' ' * 11}{cells.text(note)}", self.style_of("unexplained"))
        self.put(text)
