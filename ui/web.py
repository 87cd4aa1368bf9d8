"""The view in a browser: textual-serve, on this host's loopback, for those who have the address.

Any web page can make its browser open a socket to 127.0.0.1, and any user of this host can connect
to it. So the path of every address has a secret, and requests under another name or from another
origin are refused. There is no cookie: a browser sends those to every port of a host (RFC 6265,
8.5), and so to whatever another user of this host serves. Nothing is loaded from elsewhere.
"""

import asyncio
import contextlib
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from hmac import compare_digest
from typing import Any

from aiohttp import web
from textual_serve.server import Server

from tracer.errors import UserError
from tracer.recording.reader import Recording

HOST = "127.0.0.1"
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>sealsnoop</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="static/css/xterm.css">
<style>
@font-face {{ font-family: "Roboto Mono"; font-weight: 100 700;
  src: url("static/fonts/RobotoMono-VariableFont_wght.ttf") }}
html, body {{ margin: 0; height: 100%; background: #12161c; color: #d5dbe3;
  font-family: "Roboto Mono", monospace }}
.closed-dialog {{ display: none; position: absolute; z-index: 1; inset: 0 0 auto; padding: 1em;
  background: #222a35 }}
body.-closed .closed-dialog {{ display: block }}
</style>
<script src="static/js/textual.js"></script></head><body>
<div class="closed-dialog">The view has ended. Load this page again for another.</div>
<div id="terminal" class="textual-terminal" data-session-websocket-url="ws://{host}{path}ws"
 data-font-size="{size}"></div>
</body></html>
"""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve_recording(verb: str, recording: str | None, words: Sequence[str], port: int) -> int:
    """Serves ``sealsnoop VERB RECORDING WORDS`` until Ctrl-C; the exit code.

    UserError: no RECORDING (the browser would hold a recorder that runs as root), or the port is
    taken. StoreError: it is none.
    """
    if recording is None:
        who = "refused as root" if os.geteuid() == 0 else "needs a RECORDING"
        raise UserError(
            f"--web: {who}; record with 'sudo sealsnoop record -o S.seal', and show that with "
            "'sealsnoop live S.seal --web'",
        )
    Recording.open(recording).close()
    path = os.path.abspath(recording)  # so that it does not look like an option
    command = [sys.executable, "-P", "-m", "sealsnoop", verb, path, *words]
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise UserError(f"--port {port}: {error.strerror}; choose another") from error
        server = BrowserView(shlex.join(command), listening.getsockname()[1])
        print(f"sealsnoop: open {server.address}   (Ctrl-C ends it)", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(server.run(listening))
    return 0


class BrowserView(Server):
    """Serves one command to browsers that know the secret."""

    def __init__(self, command: str, port: int) -> None:
        super().__init__(command, host=HOST, port=port, title="sealsnoop")
        secret = secrets.token_urlsafe(24)
        self._root = f"/{secret}/"
        self._names = (f"{HOST}:{port}", f"localhost:{port}")
        self.address = f"http://{HOST}:{port}{self._root}"

    async def run(self, listening: socket.socket) -> None:
        """Serves on a bound socket until it is cancelled."""
        whole = web.Application(middlewares=[self._guard])
        whole.add_subapp(self._root, await self._make_app())
        runner = web.AppRunner(whole, access_log=None, shutdown_timeout=2)
        await runner.setup()
        task = asyncio.current_task()
        assert task
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            await web.SockSite(runner, listening).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def on_startup(self, app: web.Application) -> None:
        """Prints nothing: the address was printed before."""

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host not in self._names:
            raise web.HTTPForbidden(text="another host's name")  # DNS rebinding
        origin = request.headers.get("Origin")
        # Every browser says where a socket comes from; of a page's own parts it need not.
        if origin is None and "Upgrade" in request.headers:
            raise web.HTTPForbidden(text="no origin")
        if origin is not None and origin != f"http://{request.host}":
            raise web.HTTPForbidden(text="another origin")
        root = request.path[: len(self._root)]
        if not compare_digest(root.encode(), self._root.encode()):
            raise web.HTTPForbidden(text="the address that sealsnoop printed has a key in it")
        return await handler(request)

    async def handle_index(self, request: web.Request) -> Any:
        """The page; what it loads lies below its own address."""
        size = request.query.get("fontsize", "16")
        size = size if size.isdecimal() else "16"
        page = _PAGE.format(host=request.host, path=self._root, size=size)
        response = web.Response(text=page, content_type="text/html")
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
            f"font-src 'self'; img-src 'self' data:; connect-src ws://{request.host}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response
