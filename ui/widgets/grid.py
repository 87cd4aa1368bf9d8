"""A table of a snapshot: a header that stays, the rows in sight, a cursor, marks.

Textual's DataTable keeps every cell; with 20,000 rows that change five times a second it would do
nothing else. Here the rows are columns of numbers in a snapshot, and a cell becomes text when it is
drawn.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tracer.escape import clip
from tracer.live.snapshot import Rows, Window, no_rows
from tracer.live.tables import Column, Placed, fit
from tracer.rules.verdicts import Verdict

TOP, BOTTOM, ROW = "top", "bottom", "row"


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


_STYLES = (
    *("row", "header", "header-sort", "header-column", "cursor", "cell", "marked", "dim", "strong"),
    *("empty", "known", *(verdict.word for verdict in Verdict)),
)


class Grid(ScrollView, can_focus=True):
    """Rows of a snapshot below a header that stays.

    The cursor stays on its row while rows come, go and change places; at the very top (or, in a
    log, at the very bottom, where new rows come) it stays there.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"grid--{name}" for name in _STYLES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Row up", show=False),
        Binding("down", "move(1)", "Row down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge('top')", "First row", show=False),
        Binding("end", "edge('bottom')", "Last row (of a log: the newest)", show=False),
        Binding("left", "column(-1)", "Column to the left", show=False),
        Binding("right", "column(1)", "Column to the right", show=False),
        Binding("enter", "open", "open"),
    ]

    class GridMessage(Message):
        def __init__(self, grid: "Grid") -> None:
            super().__init__()
            self.grid = grid

    class Opened(GridMessage):
        """Enter, or a second click on a row."""

    class Moved(GridMessage):
        """The cursor is on another row."""

    class Title(GridMessage):
        """A click on a column's title."""

        def __init__(self, grid: "Grid", column: Column) -> None:
            super().__init__(grid)
            self.column = column

    class Edge(GridMessage):
        """The cursor is near an end of rows that are not all there: ``window`` is wanted."""

        def __init__(self, grid: "Grid", window: Window) -> None:
            super().__init__(grid)
            self.window = window

    def __init__(
        self,
        columns: Sequence[Column] = (),
        *,
        empty: str = "",
        log: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """``log``: new rows come at the end, and the cursor starts there."""
        super().__init__(id=id, classes=classes)
        self.columns = columns
        self.empty = empty
        """What to say where there are no rows."""
        self.rows: Rows = no_rows("")
        self.cursor = 0
        """Which of the shown rows it is on."""
        self.marked: dict[int, dict[str, Any]] = {}
        """Rows by id, as they were when they were marked: a log may have moved on."""
        self.sort: tuple[str | None, bool] = (None, False)
        self.placed: Sequence[Placed] = ()
        """The columns that have room."""
        self._log = log
        self._stick = BOTTOM if log else TOP
        self._row_id: int | None = None  # of the cursor's row
        self._column: str | None = None
        self._wide = -1
        self._present: frozenset[int] = frozenset()
        self._dull: frozenset[str] = frozenset()

    @property
    def sorted_by(self) -> str | None:
        """The column whose title has the arrow."""
        default = next((one.name for one in self.columns if one.default), None)
        return self.sort[0] or default

    def set_sort(self, sort: tuple[str | None, bool]) -> None:
        """What rows are sorted by, and whether backwards: only the arrow."""
        if sort != self.sort:
            self.sort = sort
            self._lay_out()

    @property
    def place(self) -> int | None:
        """The place of the cursor's row in the snapshot's columns."""
        return int(self.rows.order[self.cursor]) if self.cursor < len(self.rows) else None

    @property
    def cursor_id(self) -> int | None:
        """What stays with the cursor's row."""
        return None if self.place is None else int(self.rows.ids[self.place])

    @property
    def column(self) -> Column | None:
        """The column that the cell cursor is in."""
        return next((one.column for one in self.placed if one.column.name == self._column), None)

    def value(self, name: str) -> Any:
        """A value of the cursor's row."""
        return None if self.place is None else self.rows.value(name, self.place)

    @property
    def line(self) -> str:
        """The cursor's row as text, all its columns, separated by tabs."""
        return "\t".join(self.texts(self.cursor)) if self.cursor < len(self.rows) else ""

    def texts(self, at: int) -> list[str]:
        """The cells of one of the shown rows, whether they have room or not."""
        row = self.rows.row(int(self.rows.order[at]))
        return [column.text(row) for column in self.columns]

    def set_present(self, verdicts: frozenset[int]) -> None:
        """Verdicts that occurred: columns of other ones may be left out."""
        if verdicts != self._present:
            self._present = verdicts
            self._lay_out()

    def show(
        self, rows: Rows, columns: Sequence[Column] | None = None, *, log: bool | None = None
    ) -> None:
        """Draws ``rows`` from now on; ``columns`` and ``log`` where it is another table."""
        other = columns is not None and columns is not self.columns
        if columns is not None and other:
            self.columns, self._column = columns, None
        if other or rows is not self.rows:
            dull = frozenset(one.name for one in self.columns if one.is_dull(rows))
            if other or dull != self._dull:
                self._dull = dull
                self._lay_out()
        if rows is self.rows:
            return
        self._log = self._log if log is None else log
        offset = self.cursor - int(self.scroll_y)
        self._follow(rows)
        self.virtual_size = Size(self.scrollable_content_region.width, len(rows) + 1)
        if self._stick == ROW:
            self._scroll(self.cursor - offset)
        self.into_sight()
        self.refresh()

    def _follow(self, rows: Rows) -> None:
        """Other rows of the same table, in which the cursor stays on its row, or another table."""
        if rows.table != self.rows.table:
            self._stick, self._row_id = (BOTTOM if self._log else TOP), None
        self.rows = rows
        last = max(0, len(rows) - 1)
        if self._stick == ROW and self._row_id is not None:
            found = rows.find(self._row_id)
            self.cursor = found if found >= 0 else min(self.cursor, last)
        else:
            self.cursor = last if self._stick == BOTTOM else 0
        self._row_id = self.cursor_id

    @property
    def page(self) -> int:
        return max(1, self.scrollable_content_region.height - 1)

    def _scroll(self, top: int) -> None:
        self.scroll_to(y=max(0, top), animate=False, immediate=True)

    def into_sight(self) -> None:
        top, at = int(self.scroll_y), self.cursor
        if at < top:
            self._scroll(at)
        elif at >= top + self.page:
            self._scroll(at - self.page + 1)

    # Drawing

    def _style(self, name: str) -> Style:
        """The style of a name (``cursor``, ``breach`` …) in the theme of now."""
        return self.get_component_rich_style(f"grid--{name}", partial=name != "row")

    def on_resize(self) -> None:
        self._lay_out()
        self.into_sight()

    def _lay_out(self) -> None:
        self._fit(self.scrollable_content_region.width)
        self.virtual_size = Size(self._wide, len(self.rows) + 1)
        self.refresh()

    def _fit(self, width: int) -> None:
        wanted = [
            one
            for one in self.columns
            if (one.only is None or one.only in self._present) and one.name not in self._dull
        ]
        self._wide = width
        self.placed = fit(wanted, width, self.sorted_by)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if width != self._wide:
            self._fit(width)
        if y == 0:
            return self._header(width)
        row = int(self.scroll_y) + y - 1
        return self._row(row, width) if row < len(self.rows) else self._nothing(y, width)

    def _header(self, width: int) -> Strip:
        """The titles; the column that rows are sorted by has an arrow, beside its title."""
        sort, reverse = self.sorted_by, self.sort[1]
        plain, chosen = self._style("header"), self._style("header-sort")
        segments: list[Segment] = []
        for placed in self.placed:
            one = placed.column
            title = one.title
            if one.name == sort and title:
                # The worst first is from the highest to the lowest.
                down = reverse != one.default
                title = f"{title} {'▼' if down else '▲'}"
            style = chosen if one.name == sort else plain
            if one.name == self._column:
                style += self._style("header-column")
            segments.append(Segment(fitted(title, placed.width, one.right), style))
            segments.append(Segment(" " * placed.gap, plain))
        return Strip(segments).adjust_cell_length(width, plain)

    def _row(self, at: int, width: int) -> Strip:
        row = self.rows.row(int(self.rows.order[at]))
        marked, under = int(self.rows.ids[row.place]) in self.marked, at == self.cursor
        base = self._style("row")
        for state in (["marked"] if marked else []) + (["cursor"] if under else []):
            base += self._style(state)
        segments: list[Segment] = []
        texts: list[str] = []
        for placed in self.placed:
            one, gap = placed.column, " " * placed.gap
            text = fitted(one.text(row, placed.width), placed.width, one.right)
            if marked and not placed.start:
                text = "*" + fitted(text.strip(), placed.width - 1, one.right)
            name = one.style(row) if one.style is not None else None
            chosen = under and one.name == self._column
            if name is None and not chosen:
                texts.append(text + gap)
                continue
            style = base if name is None else base + self._style(name)
            if chosen:
                style += self._style("cell")
            if texts:
                segments.append(Segment("".join(texts), base))
            segments.append(Segment(text, style))
            texts = [gap]
        last = self.placed[-1] if self.placed else None
        used = last.start + last.width + last.gap if last is not None else 0
        segments.append(Segment("".join(texts) + " " * (width - used), base))
        # Its length is known, so that nobody has to count cells.
        return Strip(segments, width) if used <= width else Strip(segments, used).crop(0, width)

    def _nothing(self, y: int, width: int) -> Strip:
        base = self._style("row")
        if y == 2 and not len(self.rows) and self.empty:
            line = [Segment(f"  {self.empty}", base + self._style("empty"))]
            return Strip(line).adjust_cell_length(width, base)
        return Strip.blank(width, base)

    # Rows

    def mark(self) -> None:
        """Marks the cursor's row, or takes its mark away, and goes on to the next."""
        row_id, place = self.cursor_id, self.place
        if row_id is None or place is None:
            return
        if self.marked.pop(row_id, None) is None:
            self.marked[row_id] = self.rows.record(place)
        self.action_move(1)

    def unmark(self) -> None:
        self.marked.clear()
        self.refresh()

    def select(self, row_id: int) -> bool:
        """Puts the cursor on a row; False: it is not shown."""
        found = self.rows.find(row_id)
        if found >= 0:
            self._go(found)
        return found >= 0

    def jump(self, step: int, wanted: Callable[[int], bool]) -> bool:
        """Puts the cursor on the next row (-1: the one before) whose place is ``wanted``.

        It goes on at the other end. False: there is none.
        """
        order = self.rows.order
        for distance in range(1, len(order) + 1):
            place = int(order[(self.cursor + step * distance) % len(order)])
            if wanted(place):
                return self.select(int(self.rows.ids[place]))
        return False

    def _go(self, at: int, stick: str = ROW) -> None:
        """To one of the shown rows; near an end behind which there are more, they are wanted."""
        rows = self.rows
        self.cursor, self._stick = max(0, min(at, len(rows) - 1)), stick
        self._row_id = self.cursor_id
        self.into_sight()
        self.refresh()
        self.post_message(self.Moved(self))
        margin = min(50, len(rows) // 4)
        above, below = self.cursor <= margin, self.cursor >= len(rows) - 1 - margin
        if stick == ROW and ((above and rows.before) or (below and rows.after)):
            self.post_message(self.Edge(self, Window(around=self._row_id)))

    # Keys

    def action_move(self, rows: int) -> None:
        """At an end where there is nothing more the cursor sticks."""
        at = self.cursor + rows
        if rows < 0 and at <= 0 and not self.rows.before:
            self._go(0, TOP)
        elif self._log and at >= len(self.rows) - 1 and not self.rows.after:
            self._go(at, BOTTOM)
        else:
            self._go(at)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.page - 1))

    def action_edge(self, where: str) -> None:
        first = where == TOP
        self._go(0 if first else len(self.rows) - 1, where if first or self._log else ROW)
        if self._log:
            self.post_message(self.Edge(self, Window(first=first)))

    def action_column(self, step: int) -> None:
        """To the next column; left of the first one there is no cell cursor."""
        names: list[str | None] = [None, *(placed.column.name for placed in self.placed)]
        at = names.index(self._column) if self._column in names else 0
        self._column = names[max(0, min(at + step, len(names) - 1))]
        self.refresh()

    def action_open(self) -> None:
        if self.place is not None:
            self.post_message(self.Opened(self))

    # The mouse

    def _column_at(self, x: int) -> Column | None:
        for placed in self.placed:
            if placed.start <= x < placed.start + placed.width + placed.gap:
                return placed.column
        return None

    async def _on_click(self, event: events.Click) -> None:
        column = self._column_at(event.x)
        if event.y == 0:
            if column is not None:
                self.post_message(self.Title(self, column))
            return
        row = int(self.scroll_y) + event.y - 1
        if 0 <= row < len(self.rows):
            again = row == self.cursor and self._stick == ROW
            self._column = self._column if column is None else column.name
            self._go(row)
            if again or event.chain >= 2:
                self.action_open()

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3)

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3)
