"""Where the cursor of a table is while rows come, go and change places."""

from ui.rows import Rows, no_rows

TOP, BOTTOM, ROW = "top", "bottom", "row"


class Cursor:
    """Stays on its row; at the very top, or at the very bottom of a log, it stays there."""

    def __init__(self, log: bool) -> None:
        self.log = log
        """New rows come at the end, and the end is where one wants to be."""
        self.rows: Rows = no_rows("")
        self.at = 0
        """Which of the shown rows it is on."""
        self.stick = BOTTOM if log else TOP
        self._id: int | None = None

    @property
    def place(self) -> int | None:
        """The place of its row in the columns."""
        return int(self.rows.order[self.at]) if self.at < len(self.rows) else None

    @property
    def id(self) -> int | None:
        """What stays with its row."""
        return None if self.place is None else int(self.rows.ids[self.place])

    def show(self, rows: Rows) -> None:
        """Other rows of the same table, or another table."""
        if rows.table != self.rows.table:
            self.stick, self._id = (BOTTOM if self.log else TOP), None
        self.rows = rows
        last = max(0, len(rows) - 1)
        if self.stick == ROW and self._id is not None:
            found = rows.find(self._id)
            self.at = found if found >= 0 else min(self.at, last)
        else:
            self.at = last if self.stick == BOTTOM else 0
        self._id = self.id

    def go(self, at: int, stick: str = ROW) -> None:
        """To one of the shown rows."""
        self.at = max(0, min(at, len(self.rows) - 1))
        self.stick = stick
        self._id = self.id

    def move(self, rows: int) -> None:
        """So many rows down; at an end where there is nothing more it sticks."""
        at = self.at + rows
        if rows < 0 and at <= 0 and not self.rows.before:
            self.go(0, TOP)
        elif self.log and at >= len(self.rows) - 1 and not self.rows.after:
            self.go(at, BOTTOM)
        else:
            self.go(at)

    def edge(self, first: bool) -> None:
        """To the first or the last row."""
        stick = TOP if first else BOTTOM if self.log else ROW
        self.go(0 if first else len(self.rows) - 1, stick)

    def near(self) -> str | None:
        """The end that is near and behind which there are more rows: ``top`` or ``bottom``."""
        if self.stick != ROW:
            return None
        margin = min(50, len(self.rows) // 4)
        if self.rows.before and self.at <= margin:
            return TOP
        if self.rows.after and self.at >= len(self.rows) - 1 - margin:
            return BOTTOM
        return None
