"""Below the hooks: what was lost, what stays unseen, what this kernel was found to do."""

from collections import Counter

from rich.text import Text

from tracer.text.narrate import loss_sentences
from ui import cells
from ui.snapshot import Snapshot
from ui.widgets.notes import Notes


class CoverageNotes(Notes):
    """Sentences about coverage and loss; only on the tab of hooks."""

    def show(self, shot: Snapshot) -> None:
        """Draws what ``shot`` says."""
        notes = self.body
        cover = shot.coverage
        bad, good, quiet = (notes.style_of(name) for name in ("breach", "allowed", "quiet"))
        text = Text()

        def heading(title: str) -> None:
            text.append(f"\n{title}\n" if text else f"{title}\n", "bold")

        heading("Loss")
        if not cover.lost and not cover.incomplete:
            text.append("  nothing lost\n", good)
        for sentence in loss_sentences(Counter({**cover.lost, **cover.incomplete})):
            text.append(f"  {cells.text(sentence)}\n", bad)
        for problem in cover.problems:
            text.append(f"  {cells.text(problem)}\n", bad)
        heading("Self-test")
        text.append(f"  {cells.text(shot.facts.self_test)}\n",
                    good if shot.facts.self_test_ok else bad)  # fmt: skip
        for question, choice in cover.variants.items():
            text.append(f"  {cells.text(question)}: ", quiet).append(f"{cells.text(choice)}\n")
        if cover.blind_spots:
            heading("Blind spots of this version")
            for spot in cover.blind_spots:
                text.append(f"  {cells.text(spot)}\n", quiet)
        text.rstrip()
        notes.put(text)
