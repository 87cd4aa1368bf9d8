"""The filter, as it is typed; what is wrong with it stands beside it."""

from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input

from tracer.filter.grammar import QueryError
from tracer.filter.query import KEYS, Query, parse
from tracer.live import cells
from ui.widgets.lines import Lines


def understood(text: str) -> tuple[Query, str]:
    """The filter that ``text`` is, and what is wrong with it; empty: nothing.

    Of a text whose last word is not finished yet, the words before it.
    """
    try:
        return parse(text), ""
    except QueryError as error:
        problem = error.problem
    try:
        return parse(text.rpartition(" ")[0]), problem
    except QueryError:
        return Query(), problem


class Known(Suggester):
    """Completes the last word: a key, or one of the words that the key knows."""

    def __init__(self) -> None:
        super().__init__(use_cache=True, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        head, _, word = value.rpartition(" ")
        start = f"{head} " if head else ""
        bang = "!" if word.startswith("!") else ""
        word = word.removeprefix("!")
        if not word:
            return None
        name, colon, rest = word.partition(":")
        if not colon:
            for key in KEYS:
                if key.name.startswith(name) and key.name != name:
                    return f"{start}{bang}{key.name}:"
            return None
        done, _, last = rest.rpartition(",")
        known = next((key.words for key in KEYS if name in (key.name, *key.aliases)), ())
        for one in known:
            if last and one.startswith(last) and one != last:
                return f"{start}{bang}{name}:{done}{',' if done else ''}{one}"
        return None


class Entry(Input):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave(False)", "Drop the filter"),
        Binding("enter", "leave(True)", "Keep the filter", priority=True),
        Binding("tab", "complete", "Complete the word", priority=True),
        Binding("up,down", "leave(True)", "Back to the rows", show=False),
    ]

    def action_leave(self, keep: bool) -> None:
        line = self.parent
        if isinstance(line, FilterLine):
            line.leave(keep)

    def action_complete(self) -> None:
        if self._suggestion:
            self.action_cursor_right()
        else:
            self.action_leave(True)


class FilterLine(Horizontal):
    """One line; hidden while there is no filter and nobody types."""

    class Changed(Message):
        """What is typed means ``query``."""

        def __init__(self, query: Query) -> None:
            super().__init__()
            self.query = query

    class Left(Message):
        """The user is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = Query()
        """The last filter that was understood."""
        self._problem = ""
        self._note = ""

    def compose(self) -> ComposeResult:
        yield Lines(id="filter-mark")
        yield Entry(
            placeholder="op:mmap verdict:blocked,breach comm:qemu* name:~ram seals:+WRITE size:>1M",
            compact=True,
            select_on_focus=False,
            suggester=Known(),
            max_length=1000,
            id="filter-entry",
        )
        yield Lines(id="filter-note")

    def on_mount(self) -> None:
        self.query_one("#filter-mark", Lines).put(Text(" / "))
        self._settle()

    @property
    def entry(self) -> Input:
        return self.query_one(Entry)

    def edit(self) -> None:
        """Lets the user type."""
        self.add_class("-shown")
        self.entry.focus()

    def put(self, query: Query) -> None:
        """Another filter, not from typing."""
        with self.entry.prevent(Input.Changed):
            self.entry.value = str(query)
            self.entry.cursor_position = len(self.entry.value)
        self.filter, self._problem = query, ""
        self._settle()

    def note(self, note: str) -> None:
        """What stands at the right while the filter is understood."""
        if note != self._note:
            self._note = note
            self._show_note()

    def leave(self, keep: bool) -> None:
        """Ends typing; without ``keep`` there is no filter any more."""
        if not keep:
            self.put(Query())
            self.post_message(self.Changed(self.filter))
        elif self._problem:
            self.put(self.filter)
        self._settle()
        self.post_message(self.Left())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        query, self._problem = understood(event.value)
        if query != self.filter:
            self.filter = query
            self.post_message(self.Changed(query))
        self._show_note()

    def _settle(self) -> None:
        self.set_class(bool(self.filter), "-shown")
        self._show_note()

    def _show_note(self) -> None:
        line = self.query_one("#filter-note", Lines)
        before, text = line.text, self._problem or self._note
        colour = line.style_of("unexplained" if self._problem else "quiet")
        line.put(Text(cells.text(text) if text else "", colour))
        if line.text != before:
            line.styles.width = cell_len(line.text) + 2 if line.text else 0
