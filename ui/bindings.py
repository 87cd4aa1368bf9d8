"""The keys of screens and widgets in words, from their bindings, so that none is forgotten."""

from typing import NamedTuple

from textual.binding import Binding
from textual.keys import format_key

FIRST = ("question_mark", "k", "full_stop", "greater_than_sign", "g")
"""Keys that have room before others: the one that tells all, and those of a replay."""


class Entry(NamedTuple):
    """One key, what it does, and the action behind it."""

    key: str
    text: str
    action: str


def key_name(keys: str) -> str:
    """Keys as people write them: ``ctrl+s``, ``/``, ``esc backspace``."""
    return " ".join(key if key == "backspace" else format_key(key) for key in keys.split(","))


def of(node: type) -> list[Entry]:
    """The keys that a screen, a widget or the application itself brings."""
    return [
        Entry(key_name(binding.key), binding.description, binding.action)
        for binding in vars(node).get("BINDINGS", ())
        if isinstance(binding, Binding) and binding.description
    ]
