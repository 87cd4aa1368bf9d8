"""A long text that is scrolled; only the lines in sight are drawn."""

from collections.abc import Callable, Sequence

from rich.segment import Segment
from rich.text import Text
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip


class Page(ScrollView, can_focus=True):
    """Lines of Rich text below each other: never markup."""

    def __init__(self, make: Callable[[int], Sequence[Text]], *, id: str | None = None) -> None:
        """``make`` gives the lines for a width in cells."""
        super().__init__(id=id)
        self._make = make
        self._lines: Sequence[Text] = ()
        self._wide = -1

    def on_resize(self) -> None:
        self._fit(self.scrollable_content_region.width)
        self.virtual_size = Size(self._wide, len(self._lines))
        self.refresh()

    def _fit(self, width: int) -> None:
        if width != self._wide:
            self._wide, self._lines = width, self._make(width)

    def render_line(self, y: int) -> Strip:
        width, base = self.scrollable_content_region.width, self.rich_style
        self._fit(width)  # it is drawn first, and told its size then
        at = int(self.scroll_y) + y
        if at >= len(self._lines):
            return Strip.blank(width, base)
        found = list(self._lines[at].render(self.app.console, end=""))
        return Strip(list(Segment.apply_style(found, base))).adjust_cell_length(width, base)
