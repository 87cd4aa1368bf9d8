"""One object in one line."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from tracer.model.verdicts import Verdict
from ui import cells
from ui.marks import SYMBOLS
from ui.widgets.lines import Lines, fields, styled


class ObjectTitle(Lines):
    """Its worst verdict, its name, its seals and what else has room."""

    def __init__(self) -> None:
        super().__init__(id="title")
        self._record: Mapping[str, Any] | None = None

    def show(self, record: Mapping[str, Any]) -> None:
        """Draws an object; ``record`` has the columns of the table of objects."""
        self._record = record
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._record is None:
            return
        get = self._record.get
        verdict = Verdict(max(0, get("worst") or 0))
        quiet = self.style_of("quiet")
        name = cells.name_of(get("kind"), get("name"), get("dev"), get("ino"))
        mark = (f" {SYMBOLS[verdict]} {verdict.word} ", f"bold {self.style_of(verdict.word)}")
        seals = styled(("seals ", quiet), (cells.seals(get("seals")), "bold"))
        gone = get("evicted_ns") is not None

        def part(label: str, value: str) -> Text:
            return styled((f"{label} ", quiet), (value, ""))

        maps = cells.text(get("mappings") or 0)
        if get("writable"):
            maps += f" ({get('writable')} writable)"
        parts = [
            (0, styled(mark, (name, "bold"))),
            (1, seals),
            (2, part("size", f"{cells.size(get('size'))}")),
            (3, part("mapped", maps)),
            (4, part("kind", cells.text(get("kind")))),
            (5, part("owner", cells.text(get("owner_uid")))),
            (7, part("object", f"{get('dev')}:{get('ino')}:{get('gen')}")),
            (
                1,
                Text("never sealable: its further calls were not recorded", quiet)
                if get("left_out")
                else Text(),
            ),
            (6, Text("gone", self.style_of("unexplained")) if gone else Text()),
        ]
        self.put(fields(parts, max(8, self.size.width)))
