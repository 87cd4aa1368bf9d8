"""Draws the lines of a table: a header and rows, as strips."""

from collections.abc import Callable, Collection, Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tracer.model.escape import clip
from ui.columns import Placed
from ui.rows import Rows

Styles = Callable[[str], Style]
"""The style of a name (``cursor``, ``breach`` …) in the theme of now."""


def fitted(text: str, width: int, right: bool) -> str:
    """``text`` in exactly ``width`` cells of the terminal; cut texts end with ``…``."""
    if text.isascii():
        if len(text) > width:
            text = clip(text, width)
    elif cell_len(text) > width:
        # clip keeps escapes whole; Rich decides about widths, since it lays out the line.
        text = set_cell_size(clip(text, width), width).rstrip(" ")
    room = width - (len(text) if text.isascii() else cell_len(text))
    return " " * room + text if right else text + " " * room


class Painter:
    """Turns rows into strips of ``width`` cells."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self.placed: Sequence[Placed] = ()

    def header(self, width: int, sort: str | None, reverse: bool, column: str | None) -> Strip:
        """The titles; the column that rows are sorted by has an arrow."""
        plain, chosen = self._styles("header"), self._styles("header-sort")
        segments: list[Segment] = []
        for placed in self.placed:
            one = placed.column
            title = one.title
            if one.name == sort:
                title = f"{title[: placed.width - 1]}{'▼' if reverse else '▲'}"
            style = chosen if one.name == sort else plain
            if one.name == column:
                style += self._styles("header-column")
            segments.append(Segment(fitted(title, placed.width, one.right), style))
            segments.append(Segment(" " * placed.gap, plain))
        return Strip(segments).adjust_cell_length(width, plain)

    def row(
        self, rows: Rows, place: int, width: int, states: Collection[str], column: str | None
    ) -> Strip:
        """One row; ``states`` are the styles of the whole of it, ``column`` has the cursor."""
        base = self._styles("row")
        for state in states:
            base += self._styles(state)
        segments: list[Segment] = []
        texts: list[str] = []
        for placed in self.placed:
            one, gap = placed.column, " " * placed.gap
            text = fitted(one.text(rows, place), placed.width, one.right)
            if "marked" in states and not placed.start:
                text = "*" + fitted(text.strip(), placed.width - 1, one.right)
            name = one.style(rows, place) if one.style is not None else None
            if name is None and one.name != column:
                texts.append(text + gap)
                continue
            style = base
            if name is not None:
                style = base + self._styles(name)
            if one.name == column:
                style += self._styles("cell")
            if texts:
                segments.append(Segment("".join(texts), base))
                texts = []
            segments.append(Segment(text, style))
            texts.append(gap)
        last = self.placed[-1] if self.placed else None
        used = last.start + last.width + last.gap if last is not None else 0
        segments.append(Segment("".join(texts) + " " * (width - used), base))
        # Its length is known, so that nobody has to count cells.
        return Strip(segments, width) if used <= width else Strip(segments, used).crop(0, width)
