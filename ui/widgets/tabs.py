"""One line of tabs; the chosen one is bright and has brackets."""

from collections.abc import Mapping

from rich.text import Text
from textual import events
from textual.message import Message

from ui.widgets.lines import Lines


class TabBar(Lines):
    """Tabs by name; a click chooses one."""

    class Chosen(Message):
        """A click on a tab."""

        def __init__(self, bar: "TabBar", name: str) -> None:
            super().__init__()
            self.bar = bar
            self.name = name

    def __init__(self, titles: Mapping[str, str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles = titles
        self._counts: Mapping[str, str] = {}
        self._note = Text()
        self.active = next(iter(titles))
        self._places: list[tuple[int, int, str]] = []

    def show(
        self,
        active: str,
        counts: Mapping[str, str],
        note: Text | None = None,
        titles: Mapping[str, str] | None = None,
    ) -> None:
        """Chooses ``active``; ``counts`` stand behind titles, ``note`` at the right.

        ``titles``: other tabs than before.
        """
        self._titles = titles or self._titles
        self.active, self._counts, self._note = active, counts, note or Text()
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = max(1, self.size.width)
        line = self._line(width, with_counts=True)
        if line.cell_len + self._note.cell_len > width:
            line = self._line(width, with_counts=False)
        room = width - line.cell_len - self._note.cell_len
        if self._note.cell_len and room >= 1:
            line.append(" " * room).append_text(self._note)
        line.truncate(width, overflow="ellipsis", pad=True)
        self.put(line)

    def _line(self, width: int, with_counts: bool) -> Text:
        line = Text()
        self._places = []
        quiet = self.style_of("quiet")
        for number, (name, title) in enumerate(self._titles.items(), 1):
            count = self._counts.get(name, "") if with_counts else ""
            body = f"{number} {title}{f' {count}' if count else ''}"
            start = line.cell_len
            if name == self.active:
                line.append(f"[{body}]", f"bold reverse {self.style_of('primary')}")
            else:
                line.append(f" {body} ", quiet)
            self._places.append((start, line.cell_len, name))
        return line

    def on_click(self, event: events.Click) -> None:
        for start, end, name in self._places:
            if start <= event.x < end:
                self.post_message(self.Chosen(self, name))
