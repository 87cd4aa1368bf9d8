"""What the application writes: pictures, exports, recordings that are kept, the clipboard."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from textual.app import App

from tracer.errors import UserError
from ui import cells
from ui.export import records, write
from ui.rows import Rows
from ui.screens.ask import AskScreen


class Keeper(Protocol):
    """Keeps what is shown as a recording of its own."""

    name: str | None
    """The recording that is being kept now."""

    def start(self, name: str) -> str:
        """Begins to keep; what happened, in a sentence. UserError."""
        ...

    def stop(self) -> str:
        """Ends it; what happened, in a sentence. UserError."""
        ...


class Saving(App[None]):
    """The part of the application that writes."""

    def __init__(self, keeper: Keeper | None, read_only: bool) -> None:
        """``read_only``: it writes nothing, whoever asks."""
        super().__init__()
        self._keeper = keeper
        self._read_only = read_only

    def _refused(self) -> bool:
        if self._read_only:
            self.notify("Nothing is written from a browser; open the view in a terminal for that.")
        return self._read_only

    def action_picture(self) -> None:
        if self._refused():
            return
        try:
            where = Path(self.save_screenshot()).resolve()
        except OSError as error:
            self.notify(f"No screenshot: {error.strerror or error}", severity="error", markup=False)
        else:
            self.notify(f"Screenshot: {where}", markup=False)

    def copy_row(self, text: str) -> None:
        """Puts text on the clipboard of the terminal."""
        self.copy_to_clipboard(text)
        self.notify("Copied.")

    def export(self, rows: Rows, marked: Mapping[int, Mapping[str, Any]]) -> None:
        """Asks for a file name and writes the marked rows, or all that are shown."""
        if self._refused():
            return
        which = "marked" if marked else "shown"
        count = len(marked) if marked else len(rows)
        note = f"{count:,} {which} rows of {rows.table} with all their columns."
        if rows.table == "events" and not marked and count < rows.total:
            note += " Only those around the cursor; 'sealsnoop script' writes all."
        note += " The name's end chooses the form: .json (a line each), .csv, .parquet"
        found = records(rows, marked)

        def done(name: str | None) -> None:
            if name is not None:
                self.attempt(lambda: write(name, found))

        title = f"Export {which} rows"
        self.push_screen(AskScreen(title, note, f"{rows.table}.json"), done)

    def action_record(self) -> None:
        if self._refused():
            return
        keeper = self._keeper
        if keeper is None:
            self.notify("This recording is kept already where it is.")
            return
        if keeper.name is not None:
            self.attempt(keeper.stop)
            return

        def done(name: str | None) -> None:
            if name is not None:
                self.attempt(lambda: keeper.start(name))

        note = (
            "A folder; it gets what was recorded so far and what comes, until r is pressed again."
        )
        self.push_screen(AskScreen("Keep as a recording", note, placeholder="NAME.seal"), done)

    def attempt(self, work: Callable[[], str]) -> None:
        """Does ``work`` and says what it says, or why it could not be done."""
        try:
            said = work()
        except UserError as error:
            self.notify(cells.text(str(error)), severity="error", markup=False)
        else:
            self.notify(cells.text(said), markup=False)
