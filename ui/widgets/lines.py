"""A widget of a few lines of text that is drawn anew only when its text is another one."""

from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from ui.themes import colour_of

SEPARATOR = "  "


class Lines(Widget):
    """Shows a Rich text: never markup, so that text from a recording stays text."""

    folds = False
    """Long lines go on in the next one; else they are cut."""
    grows = False
    """As tall as its text: another text lays the screen out anew, which costs much."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._text = Text()

    @property
    def text(self) -> str:
        """What it shows, without its styles."""
        return self._text.plain

    def put(self, text: Text) -> None:
        """Shows ``text``."""
        if text.plain != self._text.plain or text.spans != self._text.spans:
            self._text = text
            self.refresh(layout=self.grows)

    def render(self) -> Text:
        width = self.size.width
        if self.folds or not width:
            return self._text
        lines = list(self._text.split("\n", allow_blank=True))
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Text("\n").join(lines)

    def style_of(self, name: str) -> str:
        """The colour of a meaning, see :func:`ui.themes.colour_of`."""
        return colour_of(self, name)


def styled(*parts: tuple[str, str]) -> Text:
    """Pieces of text, each with its own style and no other."""
    text = Text()
    for value, style in parts:
        text.append(value, style)
    return text


def fields(parts: Sequence[tuple[int, Text]], width: int) -> Text:
    """Parts side by side; where they do not fit, those of the highest number go first."""
    shown = [part for part in parts if part[1].cell_len]

    def need() -> int:
        cells = sum(part[1].cell_len for part in shown)
        return cells + len(SEPARATOR) * (len(shown) - 1)

    while len(shown) > 1 and need() > width:
        shown.remove(max(shown, key=lambda part: part[0]))
    line = Text(SEPARATOR, end="").join([part[1] for part in shown])
    line.truncate(width, overflow="ellipsis")
    return line


def sides(left: Text, right: Text, width: int) -> Text:
    """One line with ``left`` and, at its end, ``right``; the left one is cut where need be."""
    room = width - right.cell_len - 1
    if room < 8:
        right = Text()
        room = width
    line = left.copy()
    line.truncate(room, overflow="ellipsis", pad=True)
    if right.cell_len:
        line.append(" ").append_text(right)
    return line
