"""A feed without a thread and with a frozen clock, and how tests drive the application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec

from textual.pilot import Pilot

from tracer.live.feed import LiveFeed, Worker
from tracer.live.replay import ReplayFeed
from tracer.live.snapshot import Request
from ui.app import SealsnoopApp

SAMPLES = Path(__file__).parents[3] / "samples" / "recordings"
DEBIAN_6_1 = SAMPLES / "debian-6.1.seal"
DEBIAN_7_3 = SAMPLES / "debian-7.3.seal"
P = ParamSpec("P")


def run(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Runs a coroutine as a test."""

    @wraps(test)
    def running(*args: P.args, **kwargs: P.kwargs) -> None:
        async def body() -> None:
            await test(*args, **kwargs)

        asyncio.run(body())

    return running


class Still(LiveFeed):
    """Reads a finished recording in one go, and answers requests where they are asked."""

    def start(self) -> None:
        self.answer(Request())

    def stop(self) -> None:
        """It may be shown again."""

    def ask(self, request: Request) -> None:
        self.answer(request)


@cache
def still(path: Path = DEBIAN_6_1) -> Still:
    """A feed that was read before; every application asks it anew."""
    return Still(path)


class StillReplay(ReplayFeed):
    """A replay whose clock moves when the test says so."""

    def __init__(self, path: Path, **more: Any) -> None:
        self._time_s = 0.0
        self.request = Request()
        super().__init__(path, clock=lambda: self._time_s, **more)

    def start(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Does what was asked for, without letting time pass."""
        self.answer(self.request)

    def pass_time(self, seconds: float) -> None:
        """Lets time pass."""
        self._time_s += seconds
        self.settle()

    def ask(self, request: Request) -> None:
        self.request = request
        self.settle()


class Shown:
    """A running application."""

    def __init__(self, app: SealsnoopApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Presses keys one after the other, and draws what came of each."""
        for key in keys:
            await self.pilot.press(key)
            await self.draw()

    async def write(self, text: str) -> None:
        """Types a text."""
        names = {" ": "space", ":": "colon", "/": "slash", ".": "full_stop", "%": "percent_sign"}
        for char in text:
            await self.pilot.press(names.get(char, char))
        await self.draw()

    async def draw(self) -> None:
        """Draws the newest snapshot, and those that it makes the screen ask for."""
        await self.pilot.pause()
        while self.app.shot is not self.app.feed.snapshot:
            self.app.poll()
            await self.pilot.pause()

    def said(self) -> list[str]:
        """What notifications say."""
        return [one.message for one in self.app._notifications]

    def lines(self) -> list[str]:
        """What the terminal shows, a line each."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        """What the terminal shows."""
        return "\n".join(self.lines())


@asynccontextmanager
async def shown(
    feed: Worker, size: tuple[int, int] = (120, 24), **more: Any
) -> AsyncIterator[Shown]:
    """The application with ``feed`` on a terminal of ``size``."""
    app = SealsnoopApp(feed, **{"bell": False, "frozen": True, **more})
    async with app.run_test(size=size) as pilot:
        one = Shown(app, pilot)
        await one.draw()
        yield one
