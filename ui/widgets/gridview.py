"""Draws a table of a snapshot: a header that stays, and only the rows in sight.

Textual's DataTable keeps every cell; with 20,000 rows that change five times a second it would do
nothing else. Here the rows are columns of numbers in a snapshot, and a cell becomes text when it is
drawn.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tracer.model.verdicts import Verdict
from ui.columns import Column, Placed, fit
from ui.rows import Rows
from ui.widgets.cursor import ROW, Cursor
from ui.widgets.paint import Painter

_STYLES = (
    *("row", "header", "header-sort", "header-column", "cursor", "cell", "marked", "dim", "strong"),
    *("empty", *(verdict.word for verdict in Verdict)),
)


class GridView(ScrollView):
    """What a table shows, and where its cursor is."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"grid--{name}" for name in _STYLES}

    def __init__(
        self,
        columns: Sequence[Column] = (),
        *,
        empty: str = "",
        log: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """``log``: new rows come at the end, and the cursor begins there."""
        super().__init__(id=id, classes=classes)
        self.columns = columns
        self.empty = empty
        """What to say where there are no rows."""
        self.marked: dict[int, dict[str, Any]] = {}
        """Rows by id, as they were when they were marked: a log may have moved on."""
        self.sort: tuple[str | None, bool] = (None, False)
        self._cursor = Cursor(log)
        self._column: str | None = None
        self._painter = Painter(self._style)
        self._wide = -1
        self._present: frozenset[int] = frozenset()

    @property
    def rows(self) -> Rows:
        """What it shows."""
        return self._cursor.rows

    @property
    def place(self) -> int | None:
        """The place of the cursor's row in the snapshot's columns."""
        return self._cursor.place

    @property
    def cursor(self) -> int:
        """Which of the shown rows has the cursor, from 0."""
        return self._cursor.at

    @property
    def cursor_id(self) -> int | None:
        """The id of the cursor's row."""
        return self._cursor.id

    @property
    def column(self) -> Column | None:
        """The column that the cell cursor is in."""
        return next((one.column for one in self.placed if one.column.name == self._column), None)

    @property
    def placed(self) -> Sequence[Placed]:
        """The columns that have room."""
        return self._painter.placed

    def value(self, name: str) -> Any:
        """A value of the cursor's row."""
        return None if self.place is None else self.rows.value(name, self.place)

    def set_present(self, verdicts: frozenset[int]) -> None:
        """Verdicts that occurred: columns of other ones may be left out."""
        if verdicts != self._present:
            self._present = verdicts
            self._lay_out()

    def show(
        self, rows: Rows, columns: Sequence[Column] | None = None, *, log: bool | None = None
    ) -> None:
        """Draws ``rows`` from now on; ``columns`` and ``log`` where it is another table."""
        if columns is not None and columns is not self.columns:
            self.columns, self._column = columns, None
            self._lay_out()
        if rows is self.rows:
            return
        if log is not None:
            self._cursor.log = log
        offset = self._cursor.at - int(self.scroll_y)
        self._cursor.show(rows)
        self.virtual_size = Size(self.scrollable_content_region.width, len(rows) + 1)
        if self._cursor.stick == ROW:
            self._scroll(self._cursor.at - offset)
        self.into_sight()
        self.refresh()

    @property
    def page(self) -> int:
        """Rows in sight."""
        return max(1, self.scrollable_content_region.height - 1)

    def _scroll(self, top: int) -> None:
        self.scroll_to(y=max(0, top), animate=False, immediate=True)

    def into_sight(self) -> None:
        """Scrolls to the cursor."""
        top, at = int(self.scroll_y), self._cursor.at
        if at < top:
            self._scroll(at)
        elif at >= top + self.page:
            self._scroll(at - self.page + 1)

    # Drawing

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"grid--{name}", partial=name != "row")

    def on_resize(self) -> None:
        self._lay_out()
        self.into_sight()

    def _lay_out(self) -> None:
        self._fit(self.scrollable_content_region.width)
        self.virtual_size = Size(self._wide, len(self.rows) + 1)
        self.refresh()

    def _fit(self, width: int) -> None:
        wanted = [one for one in self.columns if one.only is None or one.only in self._present]
        self._wide = width
        self._painter.placed = fit(wanted, width)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if width != self._wide:
            self._fit(width)
        if y == 0:
            sort, reverse = self.sort
            return self._painter.header(width, sort, reverse, self._column)
        row = int(self.scroll_y) + y - 1
        if row >= len(self.rows):
            return self._nothing(y, width)
        place = int(self.rows.order[row])
        states = []
        if int(self.rows.ids[place]) in self.marked:
            states.append("marked")
        under = row == self._cursor.at
        if under:
            states.append("cursor")
        return self._painter.row(self.rows, place, width, states, self._column if under else None)

    def _nothing(self, y: int, width: int) -> Strip:
        base = self._style("row")
        if y == 2 and not len(self.rows) and self.empty:
            line = [Segment(f"  {self.empty}", base + self._style("empty"))]
            return Strip(line).adjust_cell_length(width, base)
        return Strip.blank(width, base)
