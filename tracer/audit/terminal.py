"""An audit on a terminal or in a pipe: what limits it first, then the claims, the worst first."""

from rich.console import Console
from rich.text import Text

from tracer.audit import sentences
from tracer.audit.results import Audit, ClaimResult, Finding, RecordingAudit, Result

STYLES = {
    Result.FAIL: "bold red",
    Result.INDETERMINATE: "yellow",
    Result.PASS: "green",
    Result.NOT_APPLICABLE: "dim",
}


class Terminal:
    """Prints audits on ``console``; ``top`` objects and proofs of each claim."""

    def __init__(self, console: Console, top: int) -> None:
        self.console = console
        self.top = top

    def show(self, audit: Audit) -> None:
        """Prints everything."""
        self._line(f"policy {audit.policy} (sha256 {audit.policy_sha256[:16]}…)", "bold")
        for one in audit.recordings:
            self._recording(one)
        self.console.print()
        self._line(f"RESULT: {audit.result.value}", STYLES[audit.result])

    def _line(self, text: str, style: str = "", indent: int = 0) -> None:
        room = max(20, self.console.width - indent)
        for piece in Text(text, style).wrap(self.console, room):
            piece.rstrip()
            self.console.print(Text(" " * indent), piece, sep="", no_wrap=True, overflow="ellipsis")

    def _recording(self, one: RecordingAudit) -> None:
        self._line(f"{one.path}: {sentences.host(one)}", "bold")
        for said in sentences.window(one):
            self._line(said, "", 2)
        self._line(f"{sentences.coverage(one)}; {sentences.losses(one)}",
                   "bold red" if one.losses else "", 2)  # fmt: skip
        for doubt in one.doubts:
            self._line(f"! {doubt.text}", "yellow", 2)
        for said in sentences.gaps(one):
            self._line(f"UNSEEN: {said}", "yellow", 2)
        self._line("blind spots, whatever the result:", "dim", 2)
        for said in one.blind_spots:
            self._line(f"- {said}", "dim", 4)
        for claim in one.claims:
            self._claim(claim, one)

    def _claim(self, claim: ClaimResult, one: RecordingAudit) -> None:
        self.console.print()
        word = claim.result.value.upper()
        self._line(f"{word}  {sentences.title(claim)}", STYLES[claim.result])
        self._line(sentences.counted(claim), "", 2)
        if claim.result is not Result.PASS:
            for doubt in claim.doubts:
                self._line(f"? {doubt.text}", "", 2)
        for finding in claim.findings[: self.top]:
            self._finding(finding, one)
        if len(claim.findings) > self.top:
            self._line(f"and {len(claim.findings) - self.top:,} objects more (--top)", "dim", 2)

    def _finding(self, finding: Finding, one: RecordingAudit) -> None:
        style = STYLES[finding.result]
        self._line(f"{finding.result.value}: {sentences.named(finding.object)}", style, 2)
        for proof in finding.violations[: self.top]:
            self._line(sentences.proof(proof, one.window.start_ns), "", 4)
        hidden = len(finding.violations) - self.top + finding.more
        if hidden > 0:
            self._line(f"and {hidden:,} more like these", "dim", 4)
        for doubt in finding.doubts:
            self._line(f"? {doubt.text}", "", 4)
