"""A headless Chromium, driven by its own protocol over a socket; no other software is needed."""

import asyncio
import base64
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.tty.tmux import PATIENCE_S

_ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[A-Za-z]|\].*?(\x07|\x1b\\)|.)", re.DOTALL)
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
    "--window-size=1280,800", "--proxy-server=127.0.0.1:9", "--proxy-bypass-list=127.0.0.1",
)  # fmt: skip
"""The proxy is none: whatever the page wants from elsewhere fails, and is told as an error."""


def chromium() -> str | None:
    """The program, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page. What its sockets receive is kept as text."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._called = 0
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.received = ""
        """All that came through web sockets, without escape sequences."""
        self.problems: list[str] = []
        """Errors of the page, refused content among them."""

    async def __aenter__(self) -> Self:
        program = chromium()
        assert program
        self._process = await asyncio.create_subprocess_exec(
            program, *_OPTIONS, f"--user-data-dir={self._folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        port_file = self._folder / "DevToolsActivePort"
        await self.until("Chromium", lambda: port_file.exists() and port_file.read_text().strip())
        self._client = ClientSession()
        port = port_file.read_text().split()[0]
        async with self._client.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = await answer.json()
        address = next(page for page in pages if page["type"] == "page")["webSocketDebuggerUrl"]
        self._socket: ClientWebSocketResponse = await self._client.ws_connect(
            address, max_msg_size=1 << 26
        )
        self._reader = asyncio.create_task(self._read())
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await self._socket.close()
        await self._client.close()
        self._process.terminate()
        await self._process.wait()

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type != WSMsgType.TEXT:
                continue
            told = message.json()
            if "id" in told:
                self._calls.pop(told["id"]).set_result(told)
            elif told["method"] == "Network.webSocketFrameReceived":
                frame = told["params"]["response"]
                if frame["opcode"] == 2:
                    text = base64.b64decode(frame["payloadData"]).decode(errors="replace")
                    self.received += _ESCAPES.sub("", text)
            elif told["method"] == "Log.entryAdded":
                entry = told["params"]["entry"]
                if entry["level"] == "error":
                    self.problems.append(f"{entry['text']} {entry.get('url', '')}")
            elif told["method"] == "Runtime.exceptionThrown":
                self.problems.append(str(told["params"]["exceptionDetails"]))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; its result."""
        number = self._called = self._called + 1
        future = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        told = await asyncio.wait_for(future, PATIENCE_S)
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    async def until(self, what: str, ready: Callable[[], object]) -> None:
        """Waits for something."""
        limit = time.monotonic() + PATIENCE_S
        while not ready():
            if time.monotonic() > limit:
                seen = self.received[-3000:]
                raise AssertionError(f"{what} did not come: {self.problems} {seen}")
            await asyncio.sleep(0.1)

    async def write(self, text: str) -> None:
        """Types text."""
        for key in text:
            await self.call("Input.dispatchKeyEvent", type="keyDown", text=key, key=key)
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def click(self, x: int, y: int) -> None:
        """Clicks."""
        for kind in ("mousePressed", "mouseReleased"):
            place: dict[str, Any] = {"x": x, "y": y, "button": "left", "clickCount": 1}
            await self.call("Input.dispatchMouseEvent", type=kind, **place)

    async def picture(self) -> bytes:
        """What is to be seen, as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    async def evaluate(self, code: str) -> Any:
        """The value of an expression in the page."""
        found = await self.call("Runtime.evaluate", expression=code, returnByValue=True)
        return found["result"].get("value")
