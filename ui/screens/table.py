"""A screen with one table that can be sorted and filtered."""

from tracer.query import Query, QueryError
from ui import cells
from ui.request import TABLES, Window
from ui.screens.base import Base
from ui.widgets.filterline import FilterLine
from ui.widgets.grid import Grid


class TableScreen(Base):
    """Order and filter of the tables."""

    def __init__(self) -> None:
        super().__init__()
        self.sorts: dict[str, tuple[str | None, bool]] = dict.fromkeys(TABLES, (None, False))
        """By table: the column that it is sorted by, and whether backwards."""

    @property
    def grid(self) -> Grid:
        """The table."""
        return self.query_one("#grid", Grid)

    @property
    def table(self) -> str:
        """The tab's name."""
        return self.view.request.table

    def action_sort(self, step: int) -> None:
        columns = [placed.column for placed in self.grid.placed]
        if self.table == "events":
            self.notify("Events stay in the order of their arrival; filter them with /.")
            return
        names = [None, *(column.name for column in columns)]
        sort, _ = self.sorts[self.table]
        at = names.index(sort) if sort in names else 0
        name = names[(at + step) % len(names)]
        chosen = next((column for column in columns if column.name == name), None)
        self._sort(name, chosen.falling if chosen else False)

    def action_reverse(self) -> None:
        name, reverse = self.sorts[self.table]
        if self.table != "events":
            self._sort(name, not reverse)

    def on_grid_title(self, event: Grid.Title) -> None:
        if self.table == "events":
            return
        name, reverse = self.sorts[self.table]
        again = event.column.name == name
        self._sort(event.column.name, not reverse if again else event.column.falling)

    def _sort(self, name: str | None, reverse: bool) -> None:
        self.sorts[self.table] = (name, reverse)
        self.grid.sort = (name, reverse)
        self.grid.refresh()
        self.view.ask(sort=name, reverse=reverse)

    def action_filter(self) -> None:
        self.query_one(FilterLine).edit()

    def on_filter_line_changed(self, event: FilterLine.Changed) -> None:
        self.view.ask(query=event.query, window=Window())

    def on_filter_line_left(self) -> None:
        self.grid.focus()

    def filter(self, query: Query) -> None:
        """Another filter, as if it had been typed."""
        self.query_one(FilterLine).put(query)
        self.view.ask(query=query, window=Window())

    def action_cell_filter(self) -> None:
        grid = self.grid
        column = grid.column or next((c for c in grid.columns if c.name == "name"), None)
        place = grid.place
        if column is None or column.ask is None or place is None:
            self.notify("Choose a cell with ← and → first; this one cannot be a filter.")
            return
        asked = column.ask(grid.rows, place)
        if asked is None:
            self.notify("This cell cannot be a filter.")
            return
        try:
            bit5 = self.view.shot.facts.bit5
            self.filter(self.view.request.query.plus(*asked, bit5=bit5))
        except (QueryError, ValueError) as error:
            self.notify(cells.text(str(error).splitlines()[0]), markup=False, severity="warning")

    def action_clear(self) -> None:
        if self.view.request.query:
            self.filter(Query())
        else:
            self.grid.unmark()
