"""``python -m tests.bench.ui.peer RECORDING COUNT``: the same rows in Textual's own DataTable.

The same reader feeds it; each new snapshot changes the cells of every row that changed, which is
how a DataTable is kept up to date. The file COUNT has a byte for each time that was done.
"""

import sys
from typing import Any

from textual.app import App, ComposeResult
from textual.widgets import DataTable

from tracer.live.feed import LiveFeed
from tracer.live.snapshot import Request, Rows, Snapshot

_COLUMNS = ("kind", "name", "seals", "size", "decisions", "blocked", "breach", "last_op")


class Peer(App[None]):
    """One table."""

    def __init__(self, path: str, count: str) -> None:
        super().__init__()
        self._count = count
        self._feed = LiveFeed(path)
        self._shot = Snapshot()
        self._cells: dict[int, tuple[str, ...]] = {}

    def compose(self) -> ComposeResult:
        yield DataTable[str]()

    def on_mount(self) -> None:
        for name in _COLUMNS:
            self.query_one(DataTable).add_column(name, key=name)
        self._feed.start()
        self._feed.ask(Request())
        self.set_interval(0.04, self._poll)

    def on_unmount(self) -> None:
        self._feed.stop()

    def _poll(self) -> None:
        shot = self._feed.snapshot
        if shot is self._shot:
            return
        self._shot = shot
        table: DataTable[Any] = self.query_one(DataTable)
        self._update(table, shot.rows)
        with open(self._count, "ab") as file:
            file.write(b".")

    def _update(self, table: "DataTable[Any]", rows: Rows) -> None:
        for place in rows.order.tolist():
            key = int(rows.ids[place])
            row = tuple(str(rows.value(name, place)) for name in _COLUMNS)
            known = self._cells.get(key)
            if known is None:
                table.add_row(*row, key=str(key))
            elif known != row:
                for name, before, after in zip(_COLUMNS, known, row, strict=True):
                    if before != after:
                        table.update_cell(str(key), name, after)
            self._cells[key] = row


if __name__ == "__main__":
    Peer(sys.argv[1], sys.argv[2]).run()
