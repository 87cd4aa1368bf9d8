"""A table with a cursor: keys, mouse, marks."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from ui.columns import Column
from ui.request import Window
from ui.widgets.cursor import TOP
from ui.widgets.gridview import GridView


class Grid(GridView, can_focus=True):
    """Rows of a snapshot below a header that stays.

    The cursor stays on its row while rows come, go and change places; at the very top (or, in a
    log, at the very bottom) it stays there.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Row up", show=False),
        Binding("down", "move(1)", "Row down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge('top')", "First row", show=False),
        Binding("end", "edge('bottom')", "Last row (of a log: the newest)", show=False),
        Binding("left", "column(-1)", "Column to the left", show=False),
        Binding("right", "column(1)", "Column to the right", show=False),
        Binding("enter", "open", "Details", key_display="⏎"),
    ]

    class Told(Message):
        """Something about a grid."""

        def __init__(self, grid: "Grid") -> None:
            super().__init__()
            self.grid = grid

    class Opened(Told):
        """Enter or a double click on a row."""

    class Moved(Told):
        """The cursor is on another row."""

    class Title(Told):
        """A click on a column's title."""

        def __init__(self, grid: "Grid", column: Column) -> None:
            super().__init__(grid)
            self.column = column

    class Edge(Told):
        """The cursor is near an end of rows that are not all there: ``window`` is wanted."""

        def __init__(self, grid: "Grid", window: Window) -> None:
            super().__init__(grid)
            self.window = window

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
        """Takes all marks away."""
        self.marked.clear()
        self.refresh()

    def select(self, row_id: int) -> bool:
        """Puts the cursor on a row; False: it is not shown."""
        found = self.rows.find(row_id)
        if found >= 0:
            self._cursor.go(found)
            self._moved()
        return found >= 0

    def _moved(self) -> None:
        self.into_sight()
        self.refresh()
        self.post_message(self.Moved(self))
        if self._cursor.near() is not None:
            self.post_message(self.Edge(self, Window(around=self.cursor_id)))

    # Keys

    def action_move(self, rows: int) -> None:
        self._cursor.move(rows)
        self._moved()

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.page - 1))

    def action_edge(self, where: str) -> None:
        self._cursor.edge(where == TOP)
        self._moved()
        if self._cursor.log:
            self.post_message(self.Edge(self, Window(first=where == TOP)))

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
            self._column = self._column if column is None else column.name
            self._cursor.go(row)
            self._moved()
            if event.chain >= 2:
                self.action_open()

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3)

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3)
