"""Keys of a replay; a live view has none of them."""

from ui.feed.protocol import Feed, Player
from ui.saving import Keeper, Saving
from ui.screens.ask import AskScreen
from ui.widgets.replaybar import ReplayBar


class Replaying(Saving):
    """The part of the application that plays."""

    def __init__(self, feed: Feed, keeper: Keeper | None, read_only: bool) -> None:
        super().__init__(keeper, read_only)
        self.feed = feed

    @property
    def _player(self) -> Player | None:
        return self.feed if isinstance(self.feed, Player) else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("play", "step", "next_violation", "seek", "speed"):
            return self._player is not None
        return True

    def action_play(self) -> None:
        if self._player is not None:
            self._player.toggle()

    def action_step(self) -> None:
        if self._player is not None:
            self._player.step()

    def action_next_violation(self) -> None:
        if self._player is not None:
            self._player.to_violation()

    def action_speed(self, step: int) -> None:
        if self._player is not None:
            self._player.faster(step)

    def action_seek(self) -> None:
        player = self._player
        if player is None:
            return

        def done(where: str | None) -> None:
            if where is not None:
                self.attempt(lambda: player.seek(where))

        note = "Seconds since the start (12.5), minutes (1:30), or a share (40%)."
        self.push_screen(AskScreen("Go to", note, placeholder="12.5"), done)

    def on_replay_bar_sought(self, event: ReplayBar.Sought) -> None:
        player = self._player
        if player is not None:
            self.attempt(lambda: player.seek(f"{event.share * 100:.2f}%"))
