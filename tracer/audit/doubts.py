"""What touches every claim of a recording: damage, loss, holes, filters, a killed recorder."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracer.audit.results import Doubt
from tracer.model.escape import printable
from tracer.store.reader import Recording
from tracer.store.report import VerifyReport
from tracer.store.verify import check
from tracer.text.narrate import loss_sentences

_BY_HOOK = ("missed", "inflight_full", "no_entry", "no_return")
"""Losses that say which hook lost them; anything else may have hidden anything."""
_CONTEXT = ("objects_full", "name")
"""No event is lost there: an object is announced without its end or its name."""


def losses(recording: Recording) -> dict[tuple[str, str], int]:
    """``{(cause, hook): total}`` as the recorder counted; a cause in words, ``cause_9`` if new."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for table in recording.tables("losses", ["cause", "hook", "count", "total"]):
        for row in table.to_pylist():
            key = (str(row["cause"]), str(row["hook"]))
            found[key] = max(found[key] + int(row["count"]), int(row["total"]))
    return {key: total for key, total in found.items() if total}


def of_recording(recording: Recording) -> tuple[list[Doubt], dict[tuple[str, str], int]]:
    """Doubts about everything in ``recording``, and its losses. StoreError: it cannot be read."""
    report = check(recording)
    lost = losses(recording)
    found = [
        *_integrity(report),
        *_end(recording, report),
        *_lost(lost),
        *_filters(recording.manifest),
    ]
    return found, lost


def of_reading(recording: Recording, known: Sequence[Doubt]) -> list[Doubt]:
    """``known``, and what turned out when the rows were read: behind the check somebody may have
    exchanged them."""
    said = {one.text for one in known}
    late = [printable(one) for one in recording.problems]
    return [*known, *(Doubt("damage", one) for one in late if one not in said)]


def _integrity(report: VerifyReport) -> Iterator[Doubt]:
    for said in report.damage:
        yield Doubt("damage", printable(said))
    if report.alive:
        yield Doubt("cut-off", "The recording is still being written: what comes is not known.")
    for said in report.incomplete:
        yield Doubt("cut-off", printable(said))
    if report.missing:
        how = "all declared as losses" if not report.unexplained else (
            f"{report.unexplained:,} of them declared by nobody")  # fmt: skip
        yield Doubt("hole", f"{report.missing:,} sequence numbers are nowhere in the recording, "
                    f"{how}: any record may have been one of them.")  # fmt: skip
    if unknown := report.accounted.get("unknown_type"):
        yield Doubt("hole", f"{unknown:,} records are of a type that was not stored.")


def _end(recording: Recording, report: VerifyReport) -> Iterator[Doubt]:
    end = recording.end
    if end is None:
        if not report.alive and not report.incomplete:
            yield Doubt("cut-off", "The recorder was killed: the last events may be missing.")
        return
    if end.get("error"):
        yield Doubt("cut-off", f"The recording ended because of an error: "
                    f"{printable(str(end['error']))}")  # fmt: skip
    if end.get("stopped_early"):
        yield Doubt("cut-off", f"The recorder stopped early: {printable(str(end.get('reason')))}. "
                    "What came after that is not known.")  # fmt: skip
    if not report.final or report.cpus - set(report.final):
        yield Doubt("hole", "end.json does not say how many records each CPU numbered: some of "
                    "the last ones may be missing.")  # fmt: skip
    if in_flight := end.get("in_flight"):
        yield Doubt("in-flight", f"{in_flight} calls had not returned when the recording ended.")


def _lost(lost: Mapping[tuple[str, str], int]) -> Iterator[Doubt]:
    for (cause, hook), total in sorted(lost.items()):
        if cause in _CONTEXT:
            continue
        said = loss_sentences(Counter({printable(cause): total}))[0]
        hooks = frozenset({hook}) if cause in _BY_HOOK and hook != "none" else None
        where = f" at hook {printable(hook)}" if hook != "none" else ""
        yield Doubt("loss", f"{said}{where}.", hooks)


def _filters(manifest: Mapping[str, Any]) -> Iterator[Doubt]:
    said = manifest.get("filters")
    if not isinstance(said, dict):
        yield Doubt("filter", "The manifest does not tell which filters were on.")
        return
    tasks = [word for word in ("pids", "uids", "cgroups") if said.get(word)]
    if said.get("follow_command") and manifest.get("command"):
        tasks.append("the command and its children")
    if tasks:
        yield Doubt("filter", f"Only some processes were recorded ({', '.join(tasks)}): what any "
                    "other did is not seen.")  # fmt: skip
    if said.get("denied"):
        yield Doubt("filter", "Only calls that failed were recorded.")
    if said.get("seals"):
        yield Doubt("filter", "Only files with certain seals were recorded.")
