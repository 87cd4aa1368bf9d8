"""Is anything wrong? One sentence, and for each verdict its count and how it went."""

from rich.text import Text

from tracer.model.verdicts import Verdict
from ui import cells
from ui.marks import SYMBOLS, WORST_FIRST, sparkline
from ui.snapshot import Snapshot
from ui.summary import summary
from ui.widgets.lines import Lines

_SHORT = {Verdict.INDETERMINATE: "indet.", Verdict.UNEXPLAINED: "unexpl."}
_ALARMING = (Verdict.BREACH, Verdict.UNEXPLAINED)


class VerdictStrip(Lines):
    """The sentence, then a tile for each verdict, the worst first."""

    def __init__(self) -> None:
        super().__init__()
        self._shot = Snapshot()

    def show(self, shot: Snapshot) -> None:
        """Draws what ``shot`` says."""
        self._shot = shot
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = max(1, self.size.width)
        lines = [self._sentence(width)]
        tile = max(6, width // len(WORST_FIRST))
        for row in range(3):
            line = Text()
            for place, verdict in enumerate(WORST_FIRST):
                last = place == len(WORST_FIRST) - 1
                line.append_text(self._tile(verdict, width - tile * place if last else tile, row))
            lines.append(line)
        self.put(Text("\n").join(lines))

    def _sentence(self, width: int) -> Text:
        style, text = summary(self._shot)
        line = Text(f" {cells.text(text)}")
        line.truncate(width, overflow="ellipsis", pad=True)
        colour = self.style_of("quiet" if style == "dim" else style)
        if style in ("breach", "unexplained"):
            line.stylize(f"bold reverse {colour}")
        else:
            line.stylize(colour if style == "dim" else f"bold {colour}")
        return line

    def _tile(self, verdict: Verdict, width: int, row: int) -> Text:
        count = self._shot.verdicts.of(verdict)
        colour = self.style_of(verdict.word)
        quiet = self.style_of("quiet")
        alarm = bool(count) and verdict in _ALARMING
        inner = width - 2
        if row == 0:
            word = verdict.word if len(verdict.word) + 2 <= inner else _SHORT.get(verdict, "")
            text = Text(f"{SYMBOLS[verdict]} {word or verdict.word}", colour if count else quiet)
        elif row == 1:
            text = Text(cells.count(count, inner - 1) if count else "0",
                        f"bold {colour}" if count else quiet)  # fmt: skip
        else:
            verdicts = self._shot.verdicts
            history = verdicts.history[verdict].tolist()
            text = Text(sparkline(history, inner, verdicts.whole), colour)
        text.truncate(inner, overflow="ellipsis", pad=True)
        if alarm:
            edge = Text(" ", colour).append_text(text)
            edge.stylize("reverse")
        else:
            edge = Text("▌", colour if count else self.style_of("edge")).append_text(text)
        return edge.append(" ")
