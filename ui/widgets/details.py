"""Texts beside the tables: coverage and loss, an audit's evidence, seals by operation and time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tracer.escape import pad
from tracer.live import cells
from tracer.live.cells import SYMBOLS
from tracer.live.coverage import self_test
from tracer.live.snapshot import Audited, Row, Rows, Snapshot
from tracer.live.tables import moment
from tracer.output.coverage import loss_sentences
from tracer.rules.verdicts import Verdict
from ui.widgets.lines import Lines, Notes

if TYPE_CHECKING:
    from tracer.audit.result import ClaimResult, Finding

_MOST = 20
"""Proofs that are shown of an object."""
_COLOURS = {"fail": "breach", "indeterminate": "indeterminate", "pass": "allowed"}


class AuditNotes(Notes):
    """Evidence, doubts and coverage of one row; only on the tab of the audit."""

    def show(self, audited: Audited, row: Row | None) -> None:
        """``row``: the chosen one of the audit's table."""
        notes = self.body
        quiet = notes.style_of("quiet")
        if audited.found is None:
            state = audited.problem or "the first audit is being made"
            notes.put(Text(state, notes.style_of("breach") if audited.problem else quiet))
            return
        text = Text()
        wanted = None if row is None else row("claim")
        claim = next((one for one in audited.found.claims if one.id == wanted), None)
        if claim is not None and row is not None:
            self._claim(text, claim, row)
        lost = ", ".join(f"{count:,} {cause}" for cause, count in audited.found.losses.items())
        text.append("Loss  ", "bold").append(
            f"{lost}\n" if lost else "nothing lost\n", notes.style_of("breach" if lost else "quiet")
        )
        text.append("Blind spots, whatever the result\n", "bold")
        for spot in audited.found.blind_spots:
            text.append(f"  {cells.text(spot)}\n", quiet)
        text.rstrip()
        notes.put(text)

    def _claim(self, text: Text, claim: "ClaimResult", row: Row) -> None:
        notes = self.body
        quiet = notes.style_of("quiet")
        key = tuple(map(row, ("dev", "ino", "gen")))
        finding = next((one for one in claim.findings if _key(one) == key), None)
        result = (finding or claim).result.value
        colour = notes.style_of(_COLOURS.get(result, "quiet"))
        text.append(f"{cells.text(claim.id)}: ", "bold").append(f"{cells.text(claim.text)} ")
        text.append(f"{result.upper()}\n", f"bold {colour}")
        # Of a replay, what has been seen so far.
        now_ns = row.rows.now_ns
        proofs = [
            one
            for one in (finding.violations if finding else ())
            if now_ns is None or one.time_ns <= now_ns
        ]
        for proof in proofs[:_MOST]:
            when = moment(row.rows, proof.time_ns)
            times = f" ({proof.count:,} times)" if proof.count > 1 else ""
            text.append(f"  ✗ {when}  ", colour)
            text.append(f"{cells.text(proof.text)}{times}\n")
            args = f" [{cells.text(proof.asked)}]" if proof.asked else ""
            where = f"{cells.text(proof.op)}{args}, {proof.table}, CPU {proof.cpu} #{proof.seq}"
            text.append(f"      {where}\n", quiet)
        more = finding.more + max(0, len(proofs) - _MOST) if finding else 0
        if more:
            text.append(f"  and {more:,} more\n")
        doubts = [*(finding.doubts if finding else ()), *claim.doubts]
        for doubt in doubts:
            text.append(f"  ~ {cells.text(doubt.text)}\n", notes.style_of("indeterminate"))
        text.append("Coverage  ", "bold")
        text.append("what could break this claim is seen by:\n", quiet)
        for need in claim.needs:
            how = f"{cells.text(need.symbol)} {cells.text(need.method)}" if need.symbol else ""
            style = notes.style_of("allowed" if need.holds else "breach")
            text.append(f"  {cells.text(need.family)}: ", quiet)
            text.append(need.state, style)
            tested = f"  self-test {cells.text(need.tested)}" if need.tested else ""
            text.append(f"  {how or cells.text(need.reason)}{tested}\n", quiet)


def _key(finding: "Finding") -> tuple[object, ...]:
    return finding.object.dev, finding.object.ino, finding.object.gen


class CoverageNotes(Notes):
    """Sentences about coverage and loss; only on the tab of hooks."""

    def show(self, shot: Snapshot) -> None:
        notes = self.body
        cover = shot.coverage
        bad, good, quiet = (notes.style_of(name) for name in ("breach", "allowed", "quiet"))
        text = Text()

        def heading(title: str) -> None:
            text.append(f"\n{title}\n" if text else f"{title}\n", "bold")

        heading("Loss")
        if not cover.losses:
            text.append("  nothing lost\n", good)
        for sentence in loss_sentences(Counter(cover.losses)):
            text.append(f"  {cells.text(sentence)}\n", bad)
        for problem in cover.problems:
            text.append(f"  {cells.text(problem)}\n", bad)
        heading("Self-test")
        found, fine = self_test(shot.manifest.tested)
        text.append(f"  {found}\n", good if fine else bad)
        for question, choice in cover.variants.items():
            text.append(f"  {cells.text(question)}: ", quiet).append(f"{cells.text(choice)}\n")
        if cover.blind_spots:
            heading("Blind spots of this version")
            for spot in cover.blind_spots:
                text.append(f"  {cells.text(spot)}\n", quiet)
        text.rstrip()
        notes.put(text)


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
        names = [cells.text(reason) if reason else "nothing" for reason in reasons]
        first = min(max(len(name) for name in names), 26)
        text.append(" " * (first + 1))
        for title, width in zip(titles, widths, strict=True):
            text.append(title.rjust(width), quiet)
        for name, row in zip(names, grid, strict=True):
            text.append(f"\n {pad(name, first)}")
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

    def show(self, calls: Sequence[Mapping[str, Any]], rows: Rows) -> None:
        """Draws the calls (tracer.live.snapshot.Detail.seals); ``rows`` knows the clock."""
        text = Text()
        quiet = self.style_of("quiet")
        if not calls:
            text.append(" no F_ADD_SEALS seen", quiet)
        for place, call in enumerate(calls):
            verdict = Verdict(call["verdict"]) if call["verdict"] >= 0 else Verdict.ALLOWED
            when = moment(rows, call["time_ns"])
            text.append("\n" if place else "").append(f" {when} ", quiet)
            text.append(f"{SYMBOLS[verdict]} ", self.style_of(verdict.word))
            text.append(f"{cells.seals(call['before'])} → ", quiet)
            changed = call["after"] != call["before"]
            text.append(cells.seals(call["after"]), "bold" if changed else quiet)
            text.append(f"  +{call['added']} ").append(cells.who(call["comm"], call["pid"]), quiet)
            if call["errno"]:
                text.append(f"  {call['errno']}", self.style_of("blocked"))
            for note in call["notes"]:
                indent = " " * (len(when) + 2)
                text.append(f"\n{indent}{cells.text(note)}", self.style_of("unexplained"))
        self.put(text)
