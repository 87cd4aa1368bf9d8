"""Sentences below a table, folded; more than fits can be scrolled."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from ui.widgets.lines import Lines


class _Sentences(Lines):
    DEFAULT_CSS = "_Sentences { height: auto; }"
    folds = grows = True


class Notes(VerticalScroll):
    """What a widget below a table of the main screen is; it says what is put into ``body``."""

    can_focus = False

    def compose(self) -> ComposeResult:
        yield _Sentences()

    @property
    def body(self) -> Lines:
        """Its text."""
        return self.query_one(_Sentences)
