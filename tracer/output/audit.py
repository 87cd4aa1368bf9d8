"""An audit as JSON with its schema, on a terminal, and as one HTML file.

JSON and schema are made of the dataclasses in `tracer.audit.result`. On a terminal and on the page
the result stands first, then what to do, then the claims, the worst first; what was watched, and
what never can be, comes last.
"""

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracer.audit import result as sentences
from tracer.audit import summary as summaries
from tracer.audit.result import Audit, ClaimResult, RecordingAudit, Result
from tracer.escape import printable

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
    """The document as text, with ``summary``, the result in one sentence."""
    format_, code, *rest = document(audit).items()
    return json.dumps(dict([format_, code, ("summary", summaries.text(audit)), *rest]), indent=2)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of :func:`text`."""
    body = _of(Audit)
    body["properties"] = {
        "format": {"const": FORMAT},
        "exit_code": {"enum": sorted({0, *(one.exit_code for one in sentences.Result)})},
        "summary": {"type": "string"},
        **body["properties"],
    }
    body["required"] = ["format", "exit_code", "summary", *body["required"]]
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
    return get_type_hints(kind, vars(sentences))


def _of_class(kind: Any) -> dict[str, Any]:
    hints = {name: _of(hint) for name, hint in _hints(kind).items()}
    added = {name: _of(sentences.Result) for name in _ADDED.get(kind.__name__, ())}
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


_TOP, _PROOFS = 20, 5
_HOST = 40  # cells of a host's name
_SHORT = {
    Result.FAIL: "FAIL",
    Result.INDETERMINATE: "unsure",
    Result.PASS: "pass",
    Result.NOT_APPLICABLE: "-",
}


class Terminal:
    """Prints audits on ``console``; ``top`` objects of each claim, and rows of each.

    :param policy: where the policy lies, for commands that can be typed.
    :param long: hooks, clocks and blind spots at length, not in one line.
    """

    def __init__(
        self, console: Console, top: int | None, policy: str = "POLICY", long: bool = False
    ) -> None:
        self.console = console
        self.top = _TOP if top is None else top
        self._proofs = _PROOFS if top is None else top
        self._policy, self._long = policy, long

    def show(self, audit: Audit) -> None:
        """Prints everything."""
        self._line(summaries.text(audit), STYLES[audit.result])
        for said in summaries.todo(audit, self._policy):
            self._line(f"→ {said}", "", 2, 2)
        for missing in audit.unread:
            self._line(f"not read: {missing.path}: {missing.problem}", "bold red", 0, 2)
        if len(audit.recordings) > 1:
            self._matrix(audit)
        for one in audit.recordings:
            self._recording(one)
        self.console.print()
        for one in audit.recordings:
            self._coverage(one, f"{one.path}: " if len(audit.recordings) > 1 else "")
        self._line(f"policy {audit.policy} (sha256 {audit.policy_sha256[:16]}…)", "dim")

    def _line(self, text: str, style: str = "", indent: int = 0, hang: int = 0) -> None:
        room = max(20, self.console.width - indent - hang)
        for place, piece in enumerate(Text(text, style).wrap(self.console, room)):
            piece.rstrip()
            before = Text(" " * (indent + (hang if place else 0)))
            self.console.print(before, piece, sep="", no_wrap=True, overflow="ellipsis")

    def _matrix(self, audit: Audit) -> None:
        """Each recording and what came of each claim, the worst first."""
        rows = summaries.matrix(audit)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("host", no_wrap=True, overflow="ellipsis", max_width=_HOST)
        claims = audit.recordings[0].claims
        for number, _ in enumerate(claims, 1):
            table.add_column(str(number), no_wrap=True)
        for host, results in rows[: self.top]:
            cells = (Text(_SHORT[result], STYLES[result]) for result in results)
            table.add_row(Text(host), *cells)
        self.console.print()
        self.console.print(table)
        numbered = (f"{number} {printable(claim.id)}" for number, claim in enumerate(claims, 1))
        self._line(f"claims: {', '.join(numbered)}", "dim")
        if hidden := rows[self.top :]:
            worst = sentences.worst(result for _, results in hidden for result in results)
            self._line(f"and {len(hidden):,} more, {worst.value} at worst (--top)", "dim")
        self.console.print()

    def _recording(self, one: RecordingAudit) -> None:
        self._line(sentences.when(one))
        if said := sentences.limits(one):
            self._line(said, "bold", 2, 2)
        if one.losses:
            self._line(sentences.losses(one), "bold red", 2)
        for doubt in one.doubts:
            self._line(f"! {doubt.text}", "yellow", 2, 2)
        for said in summaries.common(one):
            self._line(f"? {said}", "", 2, 2)
        for said in sentences.left(one):
            self._line(said, "", 2, 2)
        for claim in summaries.by_result(one.claims):
            self._claim(claim, one)

    def _coverage(self, one: RecordingAudit, before: str) -> None:
        if not self._long:
            self._line(
                f"coverage: {before}{sentences.coverage(one)}; {sentences.losses(one)}; "
                f"{len(one.blind_spots)} blind spots (--coverage shows all)", "dim",
            )  # fmt: skip
            return
        self._line(f"coverage: {before}{sentences.coverage(one)}; {sentences.losses(one)}", "bold")
        for said in (*sentences.window(one), *sentences.gaps(one)):
            self._line(said, "", 2, 2)
        self._line("blind spots, whatever the result:", "dim", 2)
        for said in one.blind_spots:
            self._line(f"- {said}", "dim", 4, 2)

    def _claim(self, claim: ClaimResult, one: RecordingAudit) -> None:
        self.console.print()
        word = claim.result.value.upper()
        self._line(f"{word}  {sentences.title(claim)}", STYLES[claim.result])
        self._line(sentences.counted(claim), "", 2)
        if claim.result is not Result.PASS:
            for doubt in summaries.doubts(claim, one):
                self._line(f"? {doubt}", "", 2, 2)
        shown = summaries.groups(claim, one)
        for group in shown[: self.top]:
            self._group(group, one)
        if hidden := sum(len(group.findings) for group in shown[self.top :]):
            self._line(f"and {hidden:,} objects more (--top)", "dim", 2)

    def _group(self, group: summaries.Group, one: RecordingAudit) -> None:
        style, first = STYLES[group.result], group.findings[0]
        name = sentences.named(first.object)
        if len(group.findings) > 1:
            name = group.named(self.console.width - len(f"  {group.result.value}: 999 objects: "))
        self._line(f"{group.result.value}: {name}", style, 2, 2)
        for said in sentences.evidence(first, one.window, self._proofs):
            self._line(said, "", 4, 2)
        for doubt in group.doubts:
            self._line(f"? {doubt}", "", 4, 2)


_MOST_ROWS = 500
"""Objects shown of a claim on a page; the JSON form has all."""


TONES = {
    Result.FAIL: "bad",
    Result.INDETERMINATE: "unsure",
    Result.PASS: "fine",
    Result.NOT_APPLICABLE: "plain",
}
_NAMES = 300
"""Cells of the names of files of which the same is said."""


def page(audit: Audit, policy: str = "POLICY") -> Iterator[str]:
    """The HTML file in pieces.

    :param policy: where the policy lies, for commands that can be typed.
    """
    from tracer.output.html import render

    return render(
        "audit.html", TONES[audit.result], summaries.text(audit),
        list(summaries.todo(audit, policy)), audit=audit, sentences=sentences, summaries=summaries,
        most=_MOST_ROWS, names=_NAMES,
    )  # fmt: skip
