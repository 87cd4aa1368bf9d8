"""An audit as one HTML file that needs nothing else and can run nothing: no script at all.

Everything goes through ``html.escape``; the security policy allows the file's own style by digest.
"""

import base64
import hashlib
from collections.abc import Iterator
from html import escape

from tracer.audit import sentences
from tracer.audit.results import Audit, ClaimResult, Finding, Need, RecordingAudit

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--dim:#5c6773;--line:#d9dee4;--card:#f5f7f9;
--fail:#c62828;--indeterminate:#b26a00;--pass:#2e7d32;--none:#6b7480}
@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e3e8ee;--dim:#98a4b1;--line:#303842;
--card:#1c2229;--fail:#ff6b6b;--indeterminate:#f5b83d;--pass:#74c27a;--none:#8e99a5}}
*{box-sizing:border-box}
body{margin:0 auto;padding:24px;max-width:1100px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:28px 0 6px}
h3{font-size:15px;margin:14px 0 4px}
p{margin:4px 0}.dim{color:var(--dim)}ul{margin:6px 0;padding-left:22px}
.mono,td{font:13px ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.card{background:var(--card);border:1px solid var(--line);border-left:6px solid var(--line);
border-radius:8px;padding:10px 16px;margin:10px 0;overflow-wrap:anywhere}
.r-fail{border-left-color:var(--fail)}.r-indeterminate{border-left-color:var(--indeterminate)}
.r-pass{border-left-color:var(--pass)}.r-not-applicable{border-left-color:var(--none)}
.w-fail{color:var(--fail)}.w-indeterminate{color:var(--indeterminate)}.w-pass{color:var(--pass)}
.w-not-applicable{color:var(--none)}b.word{text-transform:uppercase}
summary{cursor:pointer;color:var(--dim)}.alarm{color:var(--indeterminate);font-weight:600}
table{border-collapse:collapse;width:100%}th,td{padding:4px 8px;text-align:left;
border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--dim)}
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
_MOST = 500
"""Objects shown of a claim; the JSON form has all."""


def page(audit: Audit) -> Iterator[str]:
    """The file in pieces."""
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>sealsnoop audit: {escape(audit.policy)}</title><style>{STYLE}</style></head><body>"
        f"<h1>Audit: {escape(audit.policy)} {_word(audit.result.value)}</h1>"
    )
    if audit.policy_text:
        yield f'<p class="dim">{escape(audit.policy_text)}</p>'
    digest = f"policy sha256 {audit.policy_sha256}, {audit.tool}"
    yield f'<p class="dim mono">{escape(digest)}</p>'
    for one in audit.recordings:
        yield from _recording(one)
    yield "</body></html>\n"


def _word(word: str) -> str:
    return f'<b class="word w-{escape(word)}">{escape(word)}</b>'


def _recording(one: RecordingAudit) -> Iterator[str]:
    yield f"<h2>{escape(one.path)}</h2>"
    facts = [sentences.host(one), *sentences.window(one), sentences.coverage(one)]
    facts = [*facts, sentences.losses(one), f"command: {one.command}" if one.command else ""]
    yield f'<section class="card">{_list(fact for fact in facts if fact)}'
    alarms = [doubt.text for doubt in one.doubts]
    alarms += [f"UNSEEN: {said}" for said in sentences.gaps(one)]
    yield "".join(f'<p class="alarm">{escape(said)}</p>' for said in alarms)
    yield f"<h3>Blind spots, whatever the result</h3>{_list(one.blind_spots)}"
    yield f"<details><summary>hooks</summary>{_coverage(one.coverage)}</details></section>"
    for claim in one.claims:
        yield from _claim(claim, one)


def _list(said: Iterator[str] | tuple[str, ...]) -> str:
    return f"<ul>{''.join(f'<li>{escape(one)}</li>' for one in said)}</ul>"


def _coverage(needs: tuple[Need, ...]) -> str:
    heads = ("family", "state", "symbol", "method", "self-test", "reason")
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{escape(cell)}</td>"
            for cell in (one.family, one.state, one.symbol, one.method, one.tested, one.reason)
        )
        + "</tr>"
        for one in needs
    )
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{rows}</table>"


def _claim(claim: ClaimResult, one: RecordingAudit) -> Iterator[str]:
    word = claim.result.value
    yield f'<section class="card r-{word}"><h3>{_word(word)} {escape(sentences.title(claim))}</h3>'
    yield f'<p class="dim">{escape(sentences.counted(claim))}</p>'
    if claim.doubts:
        yield _list(tuple(doubt.text for doubt in claim.doubts))
    for finding in claim.findings[:_MOST]:
        yield _finding(finding, one.window.start_ns)
    if len(claim.findings) > _MOST:
        more = len(claim.findings) - _MOST
        yield f'<p class="dim">and {more:,} objects more (--json has all)</p>'
    yield "</section>"


def _finding(finding: Finding, start_ns: int | None) -> str:
    said = [sentences.proof(proof, start_ns) for proof in finding.violations]
    said += [more] if (more := sentences.more(finding)) else []
    said += [doubt.text for doubt in finding.doubts]
    head = f"{_word(finding.result.value)} {escape(sentences.named(finding.object))}"
    if not said:
        return f'<p class="mono">{head}</p>'
    return f'<details open><summary class="mono">{head}</summary>{_list(tuple(said))}</details>'
