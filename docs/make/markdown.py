"""The little Markdown that the documents need: templates in ``text/`` and what is filled in."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

_TEXT = Path(__file__).parent / "text"
_WIDTH = 100


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar in a cell must come escaped."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += (f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in rows)
    return "\n".join(lines)


def code(text: str) -> str:
    """As code; nothing for nothing."""
    return f"`{text}`" if text else ""


def wrapped(text: str, indent: str = "", hang: str = "") -> str:
    """A paragraph in lines of at most 100 characters; ``hang`` indents all but the first."""
    return textwrap.fill(
        text, _WIDTH, initial_indent=indent, subsequent_indent=hang, break_on_hyphens=False
    )


def filled(name: str, **parts: str) -> str:
    """The template ``text/NAME.md`` with ``@part@`` replaced; each part must be used."""
    source = f"docs/make/text/{name}.md"
    parts["made"] = f"<!-- Made by `make docs` from the code and {source}: edit those. -->"
    text = (_TEXT / f"{name}.md").read_text()
    wanted = set(re.findall(r"@(\w+)@", text))
    if wanted != set(parts):
        raise ValueError(f"{source}: {wanted ^ set(parts)}")
    return re.sub(r"@(\w+)@", lambda match: parts[match[1]], text)
