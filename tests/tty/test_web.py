"""``live --web`` in a real browser: the page, the table, a filter typed into it."""

import asyncio
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tty.browser import Browser, chromium
from tests.tty.tmux import PATIENCE_S, PYTHON, ROOT, children

SAMPLE = ROOT / "samples" / "recordings" / "debian-6.1.seal"


@pytest.fixture
def served() -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address that the command tells, and the command."""
    with subprocess.Popen(
        [PYTHON, "-m", "sealsnoop", "live", str(SAMPLE), "--web", "--port", "0"],
        cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr
        line = process.stderr.readline()
        found = re.fullmatch(
            r"sealsnoop: open (http://127\.0\.0\.1:\d+/[\w-]{32}/) +\(Ctrl-C ends it\)\n", line
        )
        assert found, line + process.stderr.read()
        yield found[1], process
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0


def test_in_a_browser(
    served: tuple[str, "subprocess.Popen[str]"], short_path: Path, tmp_path: Path
) -> None:
    if chromium() is None:
        pytest.fail("chromium is not installed; `make setup` does it", pytrace=False)
    address, process = served

    async def look() -> None:
        async with Browser(short_path) as browser:
            blank = await browser.picture()
            await browser.call("Page.navigate", url=address)
            await browser.until("the table", lambda: "future-write-merge-2" in browser.received)
            await browser.until(
                "what is wrong", lambda: "breaches by known holes" in browser.received
            )
            await browser.click(200, 200)  # keys go to the terminal when it was chosen
            await browser.write("/")
            await asyncio.sleep(1)
            await browser.write("name:~hugetlb")
            await browser.until(
                "a filtered table", lambda: re.search(r" [1-9]\d* of \d\d\d", browser.received)
            )
            await asyncio.sleep(1)
            # Nothing is written from a browser, and the view goes on.
            await browser.write("\r")
            for key in "er":
                await browser.write(key)
                await browser.until(
                    f"a refusal of {key}",
                    lambda: browser.received.count("Nothing is written from a browser") > 0,
                )
                browser.received = browser.received.replace("Nothing is written", "")
            picture = await browser.picture()
            (tmp_path / "page.png").write_bytes(picture)
            print(tmp_path / "page.png")
            assert len(picture) > 10 * len(blank), "the terminal is drawn"
            assert browser.problems == [], "nothing was wanted from elsewhere"
            found = await browser.call("Network.getAllCookies")
            assert found["cookies"] == [], "they would go to every port of this host"
            below = children(process.pid)
            assert any(str(SAMPLE) in words for words in below.values())

    asyncio.run(look())
    # The page is gone, and with it its viewer.
    for _ in range(int(PATIENCE_S * 10)):
        if not children(process.pid):
            return
        asyncio.run(asyncio.sleep(0.1))
    raise AssertionError(children(process.pid))
