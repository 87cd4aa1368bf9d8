"""Below the audit's rows: the chosen claim, its evidence, and what could have been missed."""

from typing import TYPE_CHECKING

from rich.text import Text

from ui import cells
from ui.snapshot import Audited
from ui.widgets.notes import Notes

if TYPE_CHECKING:
    from tracer.audit.results import ClaimResult, Finding

_MOST = 20
"""Proofs that are shown of an object."""
_COLOURS = {"fail": "breach", "indeterminate": "indeterminate", "pass": "allowed"}


class AuditNotes(Notes):
    """Evidence, doubts and coverage of one row; only on the tab of the audit."""

    def show(self, audited: Audited, row: tuple[object, ...] | None, start_ns: int | None) -> None:
        """``row``: claim, dev, ino and gen of the chosen row."""
        notes = self.body
        quiet = notes.style_of("quiet")
        if audited.found is None:
            said = audited.problem or "the first audit is being made"
            notes.put(Text(said, notes.style_of("breach") if audited.problem else quiet))
            return
        text = Text()
        claim = next((one for one in audited.found.claims if row and one.id == row[0]), None)
        if claim is not None:
            self._claim(text, claim, row, start_ns or 0)
        lost = ", ".join(f"{count:,} {cause}" for cause, count in audited.found.losses.items())
        text.append("Loss  ", "bold").append(
            f"{lost}\n" if lost else "nothing lost\n", notes.style_of("breach" if lost else "quiet")
        )
        text.append("Blind spots, whatever the result\n", "bold")
        for spot in audited.found.blind_spots:
            text.append(f"  {cells.text(spot)}\n", quiet)
        text.rstrip()
        notes.put(text)

    def _claim(
        self, text: Text, claim: "ClaimResult", row: tuple[object, ...] | None, start_ns: int
    ) -> None:
        notes = self.body
        quiet = notes.style_of("quiet")
        finding = next((one for one in claim.findings if row and _key(one) == row[1:]), None)
        result = (finding or claim).result.value
        colour = notes.style_of(_COLOURS.get(result, "quiet"))
        text.append(f"{cells.text(claim.id)}: ", "bold").append(f"{cells.text(claim.text)} ")
        text.append(f"{result.upper()}\n", f"bold {colour}")
        for proof in (finding.violations if finding else ())[:_MOST]:
            when = cells.clock((proof.time_ns - start_ns) / 1e9)
            times = f" ({proof.count:,} times)" if proof.count > 1 else ""
            text.append(f"  ✗ {when} s  ", colour)
            text.append(f"{cells.text(proof.text)}{times}\n")
            asked = f" [{cells.text(proof.asked)}]" if proof.asked else ""
            where = f"{cells.text(proof.op)}{asked}, {proof.table}, CPU {proof.cpu} #{proof.seq}"
            text.append(f"      {where}\n", quiet)
        more = finding.more + max(0, len(finding.violations) - _MOST) if finding else 0
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
