"""Goes to the next breach or blocked decision: in a table, or far back in the log."""

from tracer.model.verdicts import Verdict
from tracer.query import Query
from ui.marks import VIOLATIONS
from ui.request import Window
from ui.screens.table import TableScreen
from ui.snapshot import Snapshot


class Jumps(TableScreen):
    """Jumps and searches."""

    def __init__(self) -> None:
        super().__init__()
        self._searched = 0  # number of the search whose answer is awaited
        self._awaited: int | None = None  # the event that the cursor goes to when it is shown

    def action_tab(self, name: str) -> None:
        """Shows another table."""
        raise NotImplementedError

    def action_jump(self, what: str, step: int) -> None:
        verdicts = VIOLATIONS if what == "violation" else (Verdict.BLOCKED,)
        if self.table == "hooks":
            self.action_tab("objects")
            return
        if self.table == "events":
            self._search(verdicts, step)
            return
        grid = self.grid
        places = grid.rows.order.tolist()
        words = [verdict.word for verdict in verdicts]
        around = range(1, len(places) + 1)
        for distance in around:
            at = (grid.cursor + step * distance) % len(places)
            if any(grid.rows.value(word, places[at]) for word in words):
                grid.select(int(grid.rows.ids[places[at]]))
                return
        self.notify(f"No {' and no '.join(words)} here.")

    def _search(self, verdicts: tuple[Verdict, ...], step: int) -> None:
        row = self.grid.cursor_id
        start = 0 if row is None else row + step
        if start < 0:
            self.notify("No further one.")
        else:
            self._searched = self.view.search(verdicts, start, forward=step > 0)

    def arrive(self, shot: Snapshot) -> None:
        """Goes to what a search has found."""
        number, row = shot.found
        if number and number == self._searched:
            self._searched = 0
            if row is None:
                self.notify("No further one.")
            else:
                self._awaited = row
                self.view.ask(window=Window(around=row))
        if self._awaited is not None and self.table == "events" and self.grid.select(self._awaited):
            self._awaited = None

    def go_to_event(self, row: int) -> None:
        """Shows the log with the cursor on one event."""
        if self.view.request.query:
            self.filter(Query())
        self.action_tab("events")
        self._awaited = row
        self.view.ask(window=Window(around=row))
