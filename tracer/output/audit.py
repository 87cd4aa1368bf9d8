"""An audit as JSON, and the JSON Schema of it, both from the same dataclasses.

An audit on a terminal or in a pipe: what limits it first, then the claims, the worst first.

An audit as one HTML file that needs nothing else and can run nothing: no script at all.

Everything goes through ``html.escape``; the security policy allows the file's own style by digest.
"""

import base64
import hashlib
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from html import escape
from typing import Any, Union, get_args, get_origin, get_type_hints

from rich.console import Console
from rich.text import Text

from tracer.audit import result as results
from tracer.audit import result as sentences
from tracer.audit.result import Audit, ClaimResult, Finding, Need, RecordingAudit, Result

FORMAT = 1
_ADDED = {"Audit": ("result",), "RecordingAudit": ("result",)}
"""Properties that are written beside the fields."""


def plain(value: Any) -> Any:
    """Dataclasses as dicts, enums as their words, sets as sorted lists."""
    if is_dataclass(value) and not isinstance(value, type):
        names = [*_ADDED.get(type(value).__name__, ()), *(one.name for one in fields(value))]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(map(plain, value))
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value


def document(audit: Audit) -> dict[str, Any]:
    """The whole audit as JSON values, in the format of :func:`schema`."""
    return {"format": FORMAT, "exit_code": audit.result.exit_code, **plain(audit)}


def text(audit: Audit) -> str:
    """The document as text."""
    return json.dumps(document(audit), indent=2)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of :func:`document`."""
    body = _of(Audit)
    body["properties"] = {
        "format": {"const": FORMAT},
        "exit_code": {"enum": sorted({0, *(one.exit_code for one in results.Result)})},
        **body["properties"],
    }
    body["required"] = ["format", "exit_code", *body["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sealsnoop audit result",
        **body,
    }


_SCALARS: dict[Any, str] = {str: "string", int: "integer", bool: "boolean", float: "number"}


def _of(kind: Any) -> dict[str, Any]:
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if kind is type(None):
        return {"type": "null"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [one.value for one in kind]}
    if is_dataclass(kind):
        return _of_class(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return {"anyOf": [_of(one) for one in args]}
    if origin in (tuple, frozenset):
        return {"type": "array", "items": _of(args[0])}
    return {"type": "object", "additionalProperties": _of(args[1])}  # a Mapping


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, vars(results))


def _of_class(kind: Any) -> dict[str, Any]:
    hints = {name: _of(hint) for name, hint in _hints(kind).items()}
    added = {name: _of(results.Result) for name in _ADDED.get(kind.__name__, ())}
    return {
        "type": "object",
        "description": (kind.__doc__ or "").splitlines()[0],
        "properties": {**added, **hints},
        "required": [*added, *hints],
        "additionalProperties": False,
    }


STYLES = {
    Result.FAIL: "bold red",
    Result.INDETERMINATE: "yellow",
    Result.PASS: "green",
    Result.NOT_APPLICABLE: "dim",
}


class Terminal:
    """Prints audits on ``console``; ``top`` objects and proofs of each claim."""

    def __init__(self, console: Console, top: int) -> None:
        self.console = console
        self.top = top

    def show(self, audit: Audit) -> None:
        """Prints everything."""
        self._line(f"policy {audit.policy} (sha256 {audit.policy_sha256[:16]}…)", "bold")
        for one in audit.recordings:
            self._recording(one)
        self.console.print()
        self._line(f"RESULT: {audit.result.value}", STYLES[audit.result])

    def _line(self, text: str, style: str = "", indent: int = 0) -> None:
        room = max(20, self.console.width - indent)
        for piece in Text(text, style).wrap(self.console, room):
            piece.rstrip()
            self.console.print(Text(" " * indent), piece, sep="", no_wrap=True, overflow="ellipsis")

    def _recording(self, one: RecordingAudit) -> None:
        self._line(f"{one.path}: {sentences.host(one)}", "bold")
        for said in sentences.window(one):
            self._line(said, "", 2)
        self._line(f"{sentences.coverage(one)}; {sentences.losses(one)}",
                   "bold red" if one.losses else "", 2)  # fmt: skip
        for doubt in one.doubts:
            self._line(f"! {doubt.text}", "yellow", 2)
        for said in sentences.gaps(one):
            self._line(f"UNSEEN: {said}", "yellow", 2)
        self._line("blind spots, whatever the result:", "dim", 2)
        for said in one.blind_spots:
            self._line(f"- {said}", "dim", 4)
        for claim in one.claims:
            self._claim(claim, one)

    def _claim(self, claim: ClaimResult, one: RecordingAudit) -> None:
        self.console.print()
        word = claim.result.value.upper()
        self._line(f"{word}  {sentences.title(claim)}", STYLES[claim.result])
        self._line(sentences.counted(claim), "", 2)
        if claim.result is not Result.PASS:
            for doubt in claim.doubts:
                self._line(f"? {doubt.text}", "", 2)
        for finding in claim.findings[: self.top]:
            self._finding(finding, one)
        if len(claim.findings) > self.top:
            self._line(f"and {len(claim.findings) - self.top:,} objects more (--top)", "dim", 2)

    def _finding(self, finding: Finding, one: RecordingAudit) -> None:
        style = STYLES[finding.result]
        self._line(f"{finding.result.value}: {sentences.named(finding.object)}", style, 2)
        for proof in finding.violations[: self.top]:
            self._line(sentences.proof_sentence(proof, one.window.start_ns), "", 4)
        hidden = len(finding.violations) - self.top + finding.more
        if hidden > 0:
            self._line(f"and {hidden:,} more like these", "dim", 4)
        for doubt in finding.doubts:
            self._line(f"? {doubt.text}", "", 4)


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
_MOST_ROWS = 500
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
    for finding in claim.findings[:_MOST_ROWS]:
        yield _finding(finding, one.window.start_ns)
    if len(claim.findings) > _MOST_ROWS:
        more = len(claim.findings) - _MOST_ROWS
        yield f'<p class="dim">and {more:,} objects more (--json has all)</p>'
    yield "</section>"


def _finding(finding: Finding, start_ns: int | None) -> str:
    said = [sentences.proof_sentence(proof, start_ns) for proof in finding.violations]
    said += [more] if (more := sentences.more(finding)) else []
    said += [doubt.text for doubt in finding.doubts]
    head = f"{_word(finding.result.value)} {escape(sentences.named(finding.object))}"
    if not said:
        return f'<p class="mono">{head}</p>'
    return f'<details open><summary class="mono">{head}</summary>{_list(tuple(said))}</details>'
