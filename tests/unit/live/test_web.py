"""``--web``: who may see the page and open its socket. Real server, real requests."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar, WSServerHandshakeError

from tracer.errors import UserError
from ui import web

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "samples" / "recordings" / "debian-6.1.seal"
Check = Callable[[ClientSession, web.BrowserView], Awaitable[None]]


def served(check: Check, command: str = "cat") -> None:
    """Runs ``check`` beside a server of ``command``."""

    async def both() -> None:
        with socket.socket() as listening:
            listening.bind((web.HOST, 0))
            server = web.BrowserView(command, listening.getsockname()[1])
            serving = asyncio.create_task(server.run(listening))
            async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
                await asyncio.sleep(0)
                await check(client, server)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            # The command ends when its socket does; asyncio takes note of that while it runs.
            while has_child():
                await asyncio.sleep(0.01)

    asyncio.run(both())


def has_child() -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False


async def status(client: ClientSession, url: str, **headers: str) -> int:
    async with client.get(url, headers=headers) as answer:
        return answer.status


def test_the_secret_opens_the_page_and_what_belongs_to_it() -> None:
    async def check(client: ClientSession, server: web.BrowserView) -> None:
        host, secret, nothing = server.address.rsplit("/", 2)
        assert host.startswith("http://127.0.0.1:")
        assert (len(secret), nothing) == (32, "")
        for path in ("", "static/js/textual.js", "ws", "download/x"):
            for wrong in ("", "x/", f"{secret[:-1]}/", f"{secret}x/", f"x/../{secret[1:]}/"):
                assert await status(client, f"{host}/{wrong}{path}") == 403, (wrong, path)
        assert await status(client, f"{host}/?key={secret}") == 403
        async with client.get(server.address) as answer:
            page = await answer.text()
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.status == 200
        assert "https:" not in page, "nothing comes from elsewhere"
        assert policy.startswith("default-src 'none';")
        assert await status(client, server.address + "static/js/textual.js") == 200
        assert await status(client, server.address) == 200, "loaded again"

    served(check)


def test_no_other_port_of_the_host_is_told_the_secret() -> None:
    """A browser sends a cookie to every port of its host, whoever listens there."""

    async def check(client: ClientSession, server: web.BrowserView) -> None:
        heard = list[str]()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            writer.close()

        assert await status(client, server.address) == 200
        assert await status(client, server.address + "static/js/textual.js") == 200
        async with await asyncio.start_server(listen, web.HOST, 0) as other:
            port = other.sockets[0].getsockname()[1]
            assert await status(client, f"http://{web.HOST}:{port}/") == 204
        assert "Host: 127.0.0.1" in heard[0]
        assert server.address.rsplit("/", 2)[1] not in heard[0]
        assert len(client.cookie_jar) == 0

    served(check)


def test_another_site_gets_nothing_even_with_the_address() -> None:
    async def check(client: ClientSession, server: web.BrowserView) -> None:
        assert await status(client, server.address) == 200
        other_port = server.address[: server.address.index(":", 5)] + ":1"
        for origin in ("http://evil.example", other_port, "null", None):
            with pytest.raises(WSServerHandshakeError) as caught:
                await client.ws_connect(server.address + "ws", origin=origin)
            assert caught.value.status == 403
        assert await status(client, server.address, Origin="null") == 403
        assert await status(client, server.address, Host="evil.example") == 403

    served(check)


def test_the_socket_starts_the_command_with_the_browsers_size(tmp_path: Path) -> None:
    out = tmp_path / "size"

    async def check(client: ClientSession, server: web.BrowserView) -> None:
        assert await status(client, server.address) == 200
        here, address = server.address.rsplit("/", 2)[0], server.address + "ws?width=99&height=31"
        async with client.ws_connect(address, origin=here) as opened:
            message = await opened.receive()
            assert message.data == b"\x1b[?1049h"
        assert out.read_text() == "99x31\n"

    # What Textual's web driver says first: it is ready, and one packet of eight bytes. It ends
    # when it is told to, as this does.
    script = (
        f"echo ${{COLUMNS}}x${{ROWS}} >{out}; echo __GANGLION__; "
        r"printf 'D\0\0\0\010\033[?1049h'; head -c 1 >/dev/null"
    )
    served(check, f"sh -c '{script}'".replace("'D", '"D').replace("9h'", '9h"'))


@pytest.mark.parametrize(("uid", "words"), [(0, "refused as root"), (1000, "needs a RECORDING")])
def test_no_recorder_behind_a_browser(
    uid: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    with pytest.raises(UserError, match=f"--web: {words}; record with 'sudo sealsnoop") as caught:
        web.serve_recording("live", None, [], 0)
    assert caught.value.exit_code == 1


def test_a_taken_port() -> None:
    with socket.socket() as taken:
        taken.bind((web.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: Address already in use"):
            web.serve_recording("live", str(SAMPLE), [], port)


def test_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no sealsnoop recording"):
        web.serve_recording("live", str(tmp_path), [], 0)
