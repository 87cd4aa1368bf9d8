"""Every key and every sign, on one page."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from tracer.model.seals import LETTERS
from tracer.query.keys import KEYS
from ui.bindings import Entry
from ui.marks import MEANING, SYMBOLS, WORST_FIRST
from ui.themes import colour_of
from ui.widgets.lines import styled
from ui.widgets.page import Page

_KEY = 13


class HelpScreen(ModalScreen[None]):
    """The help; ``groups`` are headings and the keys below them.

    It hides what is behind it: Textual would draw all of that anew with each change of it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close", key_display="esc"),
    ]

    def __init__(self, groups: list[tuple[str, list[Entry]]]) -> None:
        super().__init__()
        self._groups = groups

    def compose(self) -> ComposeResult:
        yield Page(self._lines, id="help")

    def on_mount(self) -> None:
        box = self.query_one(Page)
        box.border_title = "Keys and signs"
        box.border_subtitle = "esc closes, ↑ ↓ scroll"
        box.focus()

    def _lines(self, whole: int) -> list[Text]:
        columns = 2 if whole >= 100 else 1
        width = max(20, whole // columns - 2)
        blocks = [self._keys(title, keys, width) for title, keys in self._groups]
        blocks += [self._signs(width), self._filters(width)]
        if columns == 1:
            return [line for block in blocks for line in (*block, Text())][:-1]
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
        return rows

    def _keys(self, title: str, keys: list[Entry], width: int) -> list[Text]:
        lines = [styled((title, f"bold {colour_of(self, 'primary')}"))]
        for key in keys:
            line = styled((f"{key.key:>{_KEY}}  ", "bold"), (key.text, ""))
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
        return lines

    def _signs(self, width: int) -> list[Text]:
        lines = [styled(("Verdicts and seals", f"bold {colour_of(self, 'primary')}"))]
        for verdict in WORST_FIRST:
            head = f"{SYMBOLS[verdict]} {verdict.word:<13} "
            line = styled((head, colour_of(self, verdict.word)))
            lines += _wrapped(line, MEANING[verdict], width)
        said = "seal, shrink, grow, write, future write, exec (or inaccessible); - is not set"
        return [*lines, *_wrapped(styled((f"{LETTERS:<15} ", "bold")), said, width)]

    def _filters(self, width: int) -> list[Text]:
        lines = [styled(("Filter", f"bold {colour_of(self, 'primary')}"))]
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
