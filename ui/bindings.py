"""All keys in words, taken from the bindings themselves, so that none can be forgotten."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from textual.binding import Binding, BindingType

_NAMES = {
    "slash": "/",
    "question_mark": "?",
    "full_stop": ".",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "plus": "+",
    "minus": "-",
    "escape": "esc",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "equals_sign": "=",
}


class Entry(NamedTuple):
    """One key, what it does, and the action behind it."""

    key: str
    text: str
    action: str


def key_name(key: str) -> str:
    """A key as people write it: ``ctrl+s``, ``/``, ``esc``."""
    return " ".join(_NAMES.get(one, one) for one in key.split(","))


def entries(bindings: Sequence[BindingType]) -> Iterator[Entry]:
    """What a list of bindings says."""
    for binding in bindings:
        if isinstance(binding, Binding) and binding.description:
            shown = binding.key_display if binding.key_display and "," not in binding.key else ""
            yield Entry(shown or key_name(binding.key), binding.description, binding.action)


def of(node: type) -> list[Entry]:
    """The keys that a screen, a widget or the application itself brings."""
    return list(entries(vars(node).get("BINDINGS", ())))
