"""Debug files from a server, if that is wanted and only then."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.unit.stacks.compiled import Program, compiled, debug_file, record
from tracer.cli.main import main
from tracer.stacks import debuginfod as module
from tracer.stacks.debuginfod import Debuginfod
from tracer.stacks.files import Files
from tracer.stacks.names import Names


class Server(HTTPServer):
    """Answers with what is in ``files``, and notes what it was asked for."""

    files: dict[str, bytes]
    asked: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        data = self.server.files.get(self.path)
        self.send_response(200 if data is not None else 404)
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[tuple[Server, str]]:
    with Server(("127.0.0.1", 0), _Handler) as server:
        server.files, server.asked = files, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def stripped(tmp_path: Path) -> tuple[Program, bytes]:
    """A program, and its debug file, which is not where it would be looked for."""
    built = compiled(tmp_path)
    return built, debug_file(built, tmp_path / "debug").read_bytes()


def test_what_is_not_here_is_fetched_once(stripped: tuple[Program, bytes], tmp_path: Path) -> None:
    built, data = stripped
    path = f"/buildid/{built.build_id}/debuginfo"
    with serving({path: data}) as (server, url):
        for _ in range(2):
            found = Debuginfod([url], tmp_path / "cache")
            with Names(Files([], found)) as names:
                [place] = names.of(built.frame("plain"))
                assert place.line == built.calls["plain"].line
        assert server.asked == [path]
        frame = built.frame("map_ring")
        built.path.unlink()
        with Names(Files([], Debuginfod([url], tmp_path / "cache"))) as names:
            assert len(names.of(frame)) == 2


def test_a_file_with_another_build_id_is_not_used(
    stripped: tuple[Program, bytes], tmp_path: Path
) -> None:
    built, data = stripped
    path = f"/buildid/{built.build_id}/debuginfo"
    for answer in (b"", b"hello", data.replace(bytes.fromhex(built.build_id), b"x" * 20)):
        with serving({path: answer}) as (_, url):
            found = Debuginfod([url], tmp_path / f"cache-{len(answer)}")
            with Names(Files([], found)) as names:
                assert names.of(built.frame("plain")) == ()


def test_the_next_server_is_asked(stripped: tuple[Program, bytes], tmp_path: Path) -> None:
    built, data = stripped
    path = f"/buildid/{built.build_id}/debuginfo"
    with serving({}) as (first, one), serving({path: data}) as (_, two):
        urls = [one, "http://127.0.0.1:1", f"{two}/"]
        with Names(Files([], Debuginfod(urls, tmp_path / "cache"))) as names:
            assert len(names.of(built.frame("plain"))) == 1
        assert first.asked == [path]


def test_too_much_is_left(
    stripped: tuple[Program, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, data = stripped
    monkeypatch.setattr(module, "_BYTES", 100)
    with serving({f"/buildid/{built.build_id}/debuginfo": data}) as (_, url):
        assert Debuginfod([url], tmp_path / "cache").path(built.build_id) is None
    assert list((tmp_path / "cache").iterdir()) == []


def test_who_has_debug_information_is_not_asked_for(tmp_path: Path) -> None:
    built = compiled(tmp_path)
    with serving({}) as (server, url):
        with Names(Files([], Debuginfod([url], tmp_path / "cache"))) as names:
            assert len(names.of(built.frame("plain"))) == 1
        assert server.asked == []


@pytest.mark.parametrize("build_id", ["", "ab", "../../../etc/passwd", "zz" * 20, "AB" * 20])
def test_what_is_no_build_id_is_asked_for_nowhere(tmp_path: Path, build_id: str) -> None:
    with serving({}) as (server, url):
        assert Debuginfod([url], tmp_path / "cache").path(build_id) is None
        assert server.asked == []


def test_the_option(
    stripped: tuple[Program, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    built, data = stripped
    recording = str(record(built, tmp_path / "r.seal"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DEBUGINFOD_URLS", "")
    assert main(["trace", recording, "--debuginfod"]) == 1
    assert "DEBUGINFOD_URLS names no server" in capsys.readouterr().err
    monkeypatch.setenv("DEBUGINFOD_URLS", "file:///etc")
    assert main(["trace", recording, "--debuginfod"]) == 1
    assert "is no http address" in capsys.readouterr().err
    with serving({f"/buildid/{built.build_id}/debuginfo": data}) as (server, url):
        monkeypatch.setenv("DEBUGINFOD_URLS", url)
        main(["trace", recording])
        assert "plain (" not in capsys.readouterr().out
        assert server.asked == []
        main(["trace", recording, "--debuginfod"])
        assert f"plain (prog.c:{built.calls['plain'].line})" in capsys.readouterr().out
