"""Pages of reports, comparisons and audits in a real browser, 1280 pixels wide."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest

from tests.tty.browser import Browser, chromium
from tests.unit.audit.audit_story import Story, policy
from tests.unit.output.report_sample import HOSTILE, counts, entry, report
from tracer.audit.evaluate import audit
from tracer.audit.policy import parse
from tracer.escape import printable
from tracer.output import audit as audits
from tracer.output import diff, html
from tracer.output.report import Report, Request, build
from tracer.recording.reader import Recording

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = [str(ROOT / "samples" / "recordings" / f"debian-{one}.seal") for one in ("6.1", "7.3")]
TOO_WIDE = """
[...document.querySelectorAll("body *")]
  .filter(one => !(one instanceof SVGElement) && getComputedStyle(one).display !== "inline"
    && one.scrollWidth > one.clientWidth + 1 && one.clientWidth)
  .map(one => `${one.tagName} ${one.className}: ${one.textContent.trim().slice(0, 80)}`)
"""
WRAPPED = """
[...document.querySelectorAll("td")]
  .filter(one => {
    const inside = document.createRange();
    inside.selectNodeContents(one);
    return !one.className && new Set([...inside.getClientRects()].map(of => of.top)).size > 1;
  })
  .map(one => one.textContent)
"""
HIDDEN = "[...document.querySelectorAll('tbody tr')].filter(one => one.hidden).length"
INPUTS = "document.querySelectorAll('.filter input').length"


def quiet(*_: object) -> None:
    """Says nothing."""


def hostile() -> Report:
    """All columns that there are, and names of 255 bytes that attack."""
    names = [printable(text)[:1000] for text in (f"memfd:{HOSTILE * 9}", "memfd:" + "W" * 249)]
    names += [f"memfd:{'ab ' * 83}", "memfd:" + "\\x1b" * 249, "memfd:" + "א" * 120]
    one = report()
    worst = counts(breach=10**6, unexplained=10**6, indeterminate=10**6, blocked=10**6)
    objects = [
        {**one.tables["object"].iloc[0].to_dict(), **worst, "error": 10**6, "allowed": 10**7,
         "name": name, "ino": place, "owner_uid": place, "decisions": 10**7, "fds": place,
         "processes": 10**6, "writable": place, "age_ns": 10**14 * (place + 1)}
        for place, name in enumerate(names)
    ]  # fmt: skip
    listed = [
        entry(verdict, 10**6, name=name, ino=place, comm=printable("\x1b[2J<b>evil"), pid=4194304,
              hole="another-hole" if verdict == "breach" else None)
        for verdict in ("breach", "unexplained", "blocked")
        for place, name in enumerate(names)
    ]  # fmt: skip
    held = [{**one.busy.iloc[0].to_dict(), "name": name, "ino": place, "holders": names[place - 1]}
            for place, name in enumerate(names)]  # fmt: skip
    return report(
        tables={**one.tables, "object": pd.DataFrame(objects)},
        listed=pd.DataFrame(listed),
        busy=pd.DataFrame(held),
    )


def page(name: str, folder: Path) -> Iterable[str]:
    request = Request()
    if name == "report":
        return html.page(build(SAMPLES[:1], request, quiet, quiet), 500)
    if name == "several":
        return html.page(build(SAMPLES, request, quiet, quiet), 500)
    if name == "diff":
        return diff.diff_page(diff.build(SAMPLES, request, quiet, quiet), 500)
    if name == "hostile":
        return html.page(hostile(), 500)
    if name == "audit":
        rules = parse((ROOT / "samples" / "policies" / "only-vmm.toml").read_bytes())
        with Recording.open(SAMPLES[0]) as recording:
            return list(audits.page(audit(rules, [recording], "sealsnoop 0")))
    story = Story()
    for ino in range(5, 12):
        story.create(ino, f"{HOSTILE}{'x' * 200}")
        story.map(ino, comm=b"\x1b[31m<b>")
    path = story.write(folder / "a<i>.seal", host="<h1>\x1b" + "h" * 60)
    rules = parse(policy('claim = "never-mapped"').replace(b'"test"', b'"<test>"'))
    with Recording.open(path) as recording:
        return list(audits.page(audit(rules, [recording], "sealsnoop 0")))


@pytest.fixture
def browser_folder(short_path: Path) -> Path:
    if chromium() is None:
        pytest.fail("chromium is not installed; `make setup` does it", pytrace=False)
    return short_path


@pytest.mark.parametrize("name", ["report", "several", "diff", "hostile", "audit", "hostile-audit"])
def test_nothing_is_wider_than_its_place(name: str, browser_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.html"
    file.write_text("".join(page(name, tmp_path)))

    async def look() -> None:
        async with Browser(browser_folder) as browser:
            await browser.call(
                "Emulation.setDeviceMetricsOverride",
                width=1280, height=1600, deviceScaleFactor=1, mobile=False,
            )  # fmt: skip
            colours = set()
            for scheme in ("light", "dark"):
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                await browser.call("Emulation.setEmulatedMedia", features=features)
                await browser.call("Page.navigate", url=file.as_uri())
                await loaded(browser)
                (tmp_path / f"{name}-{scheme}.png").write_bytes(await browser.picture())
                print(tmp_path / f"{name}-{scheme}.png")
                assert await browser.evaluate(TOO_WIDE) == []
                assert await browser.evaluate("document.documentElement.scrollWidth") <= 1280
                colours.add(await browser.evaluate("getComputedStyle(document.body).color"))
            assert len(colours) == 2
            if name == "report":
                assert await browser.evaluate(WRAPPED) == [], "names stay on one line"
            assert browser.problems == [], "its policy lets its own script and style pass"

    asyncio.run(look())


async def loaded(browser: Browser) -> None:
    """Waits until the page is there, its script too."""
    for _ in range(100):
        if await browser.evaluate("document.readyState") == "complete":
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the page was not loaded")


def test_tables_can_be_filtered_and_are_whole_without_script(
    browser_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text("".join(page("report", tmp_path)))

    async def look() -> None:
        async with Browser(browser_folder) as browser:
            await browser.call("Page.navigate", url=file.as_uri())
            await loaded(browser)
            assert await browser.evaluate(INPUTS) > 5
            assert await browser.evaluate(HIDDEN) == 0
            typed = """
              const box = document.querySelector(".filter input");
              box.value = "MMAP -private"; box.dispatchEvent(new Event("input"));
              [...box.closest("section").querySelectorAll("tbody tr")]
                .filter(one => !one.hidden).map(one => one.cells[4].textContent)
            """
            assert await browser.evaluate(typed) == [
                "memfd:future-write-merge-{0,1,2}", "hugetlb:hugetlb-grow-9"
            ]  # fmt: skip
            counted = "document.querySelector('.filter span').textContent"
            assert await browser.evaluate(counted) == "2 of 6"
            await browser.call("Emulation.setScriptExecutionDisabled", value=True)
            await browser.call("Page.reload")
            await asyncio.sleep(2)
            text = await browser.call("DOM.getDocument", depth=-1)
            assert "filter 6 rows" not in str(text), "no box that does nothing"
            assert "future-write-merge-{0,1,2}" in str(text)

    asyncio.run(look())
