"""What all full screens have: the strips on top, the banner, and a word for tiny terminals."""

from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual import events
from textual.screen import Screen

from ui.snapshot import Snapshot
from ui.widgets.banner import Banner
from ui.widgets.header import Header
from ui.widgets.lines import Lines
from ui.widgets.replaybar import ReplayBar

if TYPE_CHECKING:
    from ui.app import SealsnoopApp

LEAST_WIDTH, LEAST_HEIGHT = 50, 14
NARROW = 100


class TooSmall(Lines):
    """Says how large the terminal has to be."""

    folds = True

    def on_resize(self) -> None:
        width, height = self.app.size
        least = f"{LEAST_WIDTH}x{LEAST_HEIGHT}"
        said = f"terminal too small: {width}x{height}, sealsnoop needs {least}; q quits"
        self.put(Text(said))


class Base(Screen[None]):
    """A screen that is told of each new snapshot."""

    AUTO_FOCUS = ""

    @property
    def view(self) -> "SealsnoopApp":
        """The application, by its own type."""
        return cast("SealsnoopApp", self.app)

    def show(self, shot: Snapshot) -> None:
        """Draws what ``shot`` holds."""
        for header in self.query(Header):
            header.show(shot, self.view.paused)
        for banner in self.query(Banner):
            banner.show(self.view.open_alerts)
        for bar in self.query(ReplayBar):
            bar.show(shot.now)

    def settle_focus(self) -> None:
        """Gives the focus to what the screen is about."""

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        if self.has_class("-tiny"):
            # What was hidden lost the focus.
            self.call_after_refresh(self.settle_focus)
        self.set_class(width < LEAST_WIDTH or height < LEAST_HEIGHT, "-tiny")
        self.set_class(width < NARROW, "-narrow")
        self.set_class(height < 30, "-low")

    def on_screen_resume(self) -> None:
        self.show(self.view.shot)

    def on_banner_clicked(self) -> None:
        self.view.action_show_alert()
