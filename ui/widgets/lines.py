"""Widgets of plain text: lines, lines with buttons, notes, a long page, labels with values."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from ui.explain import Line
from ui.themes import colour_of

SEPARATOR = "  "


class Lines(Widget):
    """Shows a Rich text: never markup, so that text from a recording stays text.

    It is redrawn only for another text. Either it is given one (:meth:`put`), or it makes its own
    for its width (:meth:`draw`).
    """

    folds = False
    """Long lines go on in the next one; else they are cut."""
    grows = False
    """As tall as its text: another text lays the whole screen out again, which is expensive."""

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

    def draw(self, width: int) -> Text | None:
        """Its text for ``width`` cells; None: as it is."""
        return None

    def redraw(self) -> None:
        """Shows what :meth:`draw` makes now."""
        text = self.draw(max(1, self.size.width))
        if text is not None:
            self.put(text)

    def on_resize(self) -> None:
        self.redraw()

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


Shown = TypeVar("Shown")


class Drawn(Lines, Generic[Shown]):
    """Lines that :meth:`draw` makes of what they were given last."""

    shown: Shown | None = None

    def show(self, shown: Shown) -> None:
        """Draws ``shown`` from now on."""
        self.shown = shown
        self.redraw()


class Buttons(Lines):
    """A line of which parts can be clicked."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.buttons: list[tuple[int, int, str]] = []
        """First cell, first cell behind and name of each."""

    def press(self, name: str) -> None:
        raise NotImplementedError

    def on_click(self, event: events.Click) -> None:
        for start, end, name in self.buttons:
            if start <= event.x < end:
                self.press(name)


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


class _Sentences(Lines):
    DEFAULT_CSS = "_Sentences { height: auto; }"
    folds = grows = True


class Notes(VerticalScroll):
    """What a widget below a table of the main screen is; it says what is put into ``body``."""

    can_focus = False

    def __init__(self) -> None:
        self.body: Lines = _Sentences()
        super().__init__(self.body)


class Page(ScrollView, can_focus=True):
    """Lines of Rich text below each other: never markup."""

    def __init__(self, make: Callable[[int], Sequence[Text]], *, id: str | None = None) -> None:
        """``make`` gives the lines for a width in cells."""
        super().__init__(id=id)
        self._make = make
        self._lines: Sequence[Text] = ()
        self._wide = -1

    def on_resize(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Makes the lines again."""
        self._wide = -1
        self._fit(self.scrollable_content_region.width)
        self.virtual_size = Size(self._wide, len(self._lines))
        self.refresh()

    @property
    def text(self) -> str:
        """All its lines, in sight or not."""
        return "\n".join(line.plain for line in self._lines)

    def _fit(self, width: int) -> None:
        if width != self._wide:
            self._wide, self._lines = width, self._make(width)

    def render_line(self, y: int) -> Strip:
        width, base = self.scrollable_content_region.width, self.rich_style
        self._fit(width)  # it is drawn first, and gets its size then
        at = int(self.scroll_y) + y
        if at >= len(self._lines):
            return Strip.blank(width, base)
        found = list(self._lines[at].render(self.app.console, end=""))
        return Strip(list(Segment.apply_style(found, base))).adjust_cell_length(width, base)


def facts(widget: Widget, lines: Sequence[Line], width: int) -> list[Text]:
    """Labels, and values beside them that go on in further rows."""
    width = max(20, width)
    labels = max([len(line.label) for line in lines], default=0)
    rows: list[Text] = []
    for line in lines:
        colour = colour_of(widget, line.style) if line.style not in ("", "strong") else ""
        style = f"bold {colour}".strip() if line.style in ("strong", "breach") else colour
        pieces = Text(line.value, style).wrap(widget.app.console, width - labels - 1) or [Text()]
        for place, piece in enumerate(pieces):
            label = line.label if place == 0 else ""
            row = styled((label.rjust(labels) + " ", colour_of(widget, "quiet")))
            piece.rstrip()
            rows.append(row.append_text(piece))
    return rows


class _Body(Drawn[Sequence[Line]]):
    DEFAULT_CSS = "_Body { height: auto; width: 1fr; }"
    grows = True

    def draw(self, width: int) -> Text:
        return Text("\n").join(facts(self, self.shown or (), width))


class FactList(VerticalScroll):
    """A scrolling list of facts."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        self._body = _Body()
        super().__init__(self._body, id=id, classes=classes)

    def show(self, lines: Sequence[Line]) -> None:
        if list(lines) != list(self._body.shown or ()):
            self._body.show(lines)

    @property
    def text(self) -> str:
        return self._body.text
