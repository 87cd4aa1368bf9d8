"""Every key and every sign, on one page."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from tracer.model.seals import LETTERS
from tracer.query.keys import KEYS
from ui.bindings import Entry
from ui.marks import MEANING, SYMBOLS, WORST_FIRST
from ui.widgets.lines import Lines, styled

_KEY = 13


class _Page(Lines):
    DEFAULT_CSS = "_Page { height: auto; }"


class HelpScreen(ModalScreen[None]):
    """The help overlay; ``groups`` are headings and the keys below them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close", key_display="esc"),
    ]

    def __init__(self, groups: list[tuple[str, list[Entry]]]) -> None:
        super().__init__()
        self._groups = groups

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield _Page()

    def on_mount(self) -> None:
        box = self.query_one("#help")
        box.border_title = "Keys and signs"
        box.border_subtitle = "esc closes, ↑ ↓ scroll"
        box.focus()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        page = self.query_one(_Page)
        width = page.size.width
        columns = 2 if width >= 100 else 1
        page.put(self._text(page, max(20, width // columns - 2), columns))
        page.refresh(layout=True)

    def _text(self, page: Lines, width: int, columns: int) -> Text:
        blocks = [self._keys(page, title, keys, width) for title, keys in self._groups]
        blocks += [self._signs(page, width), self._filters(page, width)]
        if columns == 1:
            return Text("\n\n").join([Text("\n").join(block) for block in blocks])
        sides: list[list[Text]] = [[], []]
        for block in blocks:
            side = min(sides, key=len)
            side += [*block, Text()]
        rows = []
        for place in range(max(map(len, sides))):
            left, right = (side[place] if place < len(side) else Text() for side in sides)
            line = left.copy()
            line.truncate(width, overflow="ellipsis", pad=True)
            rows.append(line.append("  ").append_text(right))
        return Text("\n").join(rows)

    def _keys(self, page: Lines, title: str, keys: list[Entry], width: int) -> list[Text]:
        lines = [styled((title, f"bold {page.style_of('primary')}"))]
        for key in keys:
            line = styled((f"{key.key:>{_KEY}}  ", "bold"), (key.text, ""))
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
        return lines

    def _signs(self, page: Lines, width: int) -> list[Text]:
        lines = [styled(("Verdicts and seals", f"bold {page.style_of('primary')}"))]
        for verdict in WORST_FIRST:
            head = f"{SYMBOLS[verdict]} {verdict.word:<13} "
            line = styled((head, page.style_of(verdict.word)))
            lines += _wrapped(line, MEANING[verdict], width)
        said = "seal, shrink, grow, write, future write, exec (or inaccessible); - is not set"
        return [*lines, *_wrapped(styled((f"{LETTERS:<15} ", "bold")), said, width)]

    def _filters(self, page: Lines, width: int) -> list[Text]:
        lines = [styled(("Filter", f"bold {page.style_of('primary')}"))]
        said = "all words must hold; a comma between values is 'or', ! before a word is 'not'"
        lines += _wrapped(Text(), said, width)
        for key in KEYS:
            lines += _wrapped(styled((f"{key.example:<24} ", "bold")), key.help, width)
        return lines


def _wrapped(head: Text, said: str, width: int) -> list[Text]:
    """``said`` behind ``head``, its further lines below its first."""
    room = max(10, width - head.cell_len)
    words, lines = said.split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{word}"
    first, *rest = lines
    return [head.copy().append(first), *(Text(" " * head.cell_len + line) for line in rest)]
