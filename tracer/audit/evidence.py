"""Reads what an audit needs out of a recording.

How to record for an audit: the hooks that a policy's claims need, and nothing left out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import pandas as pd

from tracer.analysis.batches import variants
from tracer.analysis.objects import ORDER_UNKNOWN, OWNER_UNKNOWN
from tracer.analysis.tables import judge
from tracer.audit import events as reading
from tracer.audit import objects as known_of
from tracer.audit.doubts import Plan, of_reading, of_recording, plan_of
from tracer.audit.events import BY_ADDRESS, KNOWN_OPS, UNSEEN, Mask, Row, rows
from tracer.audit.objects import Key3, Known, Range, of_exits, ranges
from tracer.audit.policy import KINDS, Claim, Policy, needed
from tracer.audit.result import Doubt, Window
from tracer.audit.scope import OUT, Slots, early, slots
from tracer.escape import printable
from tracer.kernel.families import FAMILIES
from tracer.output.coverage import anchors
from tracer.record import USER_CPU
from tracer.recording.clock import wall_jump_s
from tracer.recording.manifest import End, Manifest
from tracer.recording.reader import Recording
from tracer.rules import DECISIONS
from tracer.words import Op


@dataclass(frozen=True)
class Evidence:
    """A recording as claims are held against it."""

    manifest: Manifest
    plan: Plan
    known: Mapping[Key3, Known]
    rows: Mapping[Key3, Sequence[Row]]
    """Of each object: events and baseline in the order of time."""
    ranges: Mapping[Key3, list[Range]]
    by_address: Sequence[Row]
    """Accesses by address, whatever file they name."""
    unseen: Sequence[Row]
    """After which somebody can reach an address space's memory unseen."""
    slots: Slots
    doubts: Sequence[Doubt]
    losses: Mapping[tuple[str, str], int]
    window: Window
    baseline: str
    """Empty if the look at the start missed nothing; else why it may have."""
    bit_0x20: str
    unknown_ops: Mapping[Key3, set[str]] = field(default_factory=dict)


def load(recording: Recording, claims: Sequence[Claim]) -> Evidence:
    """Reads everything that may touch ``claims``. StoreError: it cannot be read."""
    doubts, losses = of_recording(recording)
    announced = recording.frame("objects")
    with_rows = any(claim.scope.where for claim in claims)
    for name in ("kind", "comm"):
        announced[name] = announced[name].astype(object)
    start = reading.baseline(recording)
    plan = plan_of(recording.manifest, start)
    known = known_of.announced(announced, with_rows)
    judging = None
    if any(one.claim == "no-breach" for one in claims):
        chosen = variants(recording.manifest)
        judging = partial(_judged, objects=_for_judge(announced), chosen=chosen)
    found = reading.events(recording, _Wanted(claims, known), judging)
    # Only now, that all rows of an inode are here, is its generation known.
    known_of.same_generation(announced, start, found)
    known = known_of.announced(announced, with_rows)
    both = pd.concat([one for one in (start, found) if len(one)] or [start], ignore_index=True)
    both = both.sort_values(["time_ns", "cpu", "seq"], kind="stable", ignore_index=True)
    known_of.observed(known, both)
    all_ = of_exits(list(rows(both)))
    by_key: dict[Key3, list[Row]] = defaultdict(list)
    for row in all_:
        if row.ino:
            by_key[row.key].append(row)
    where = {key: ranges(some) for key, some in by_key.items()}
    unknown = {
        key: odd for key, some in by_key.items() if (odd := {r.op for r in some} - KNOWN_OPS)
    }
    return Evidence(
        manifest=recording.manifest,
        plan=plan,
        known=known,
        rows=by_key,
        ranges=where,
        by_address=[row for row in all_ if row.op in BY_ADDRESS],
        unseen=[row for row in all_ if row.op in UNSEEN],
        slots=slots((row for row in all_ if row.op in ("memslot", "vm_end")), where),
        losses=losses,
        window=_window(recording, both),
        baseline=_baseline(recording, start),
        bit_0x20=_bit(recording.manifest),
        unknown_ops=unknown,
        doubts=of_reading(recording, doubts),  # when all has been read
    )


@dataclass
class _Wanted:
    """Which events may touch a claim: those of objects that may be in scope, and some always."""

    claims: Sequence[Claim]
    known: Mapping[Key3, Known]
    _out: dict[Key3, bool] = field(default_factory=dict)

    def _is_out(self, key: Key3) -> bool:
        if key not in self._out:
            one = self.known.get(key)
            self._out[key] = one is not None and all(
                early(claim.scope, one) is OUT for claim in self.claims
            )
        return self._out[key]

    def __call__(self, found: pd.DataFrame) -> Mask:
        mine = reading.keys(found)
        out = [key for key in mine.unique() if self._is_out(key)]
        wanted = ~mine.isin(out) if out else pd.Series(True, found.index).to_numpy(bool)
        always = found["op"].isin(BY_ADDRESS | UNSEEN | {"memslot", "vm_end"}).to_numpy()
        mask: Mask = wanted | always
        return mask


def _for_judge(announced: pd.DataFrame) -> pd.DataFrame:
    """What the judge needs to know of objects: the kernel's word before that of the /proc scan.

    The scan knows no folio order, and no owner where it could not look (mode 0).
    """
    scanned = announced["cpu"] == USER_CPU
    known = announced.assign(
        folio_order_max=announced["folio_order_max"].where(~scanned, ORDER_UNKNOWN),
        owner_uid=announced["owner_uid"].where(~scanned | (announced["mode"] != 0), OWNER_UNKNOWN),
    )
    return pd.concat([known[scanned], known[~scanned]])  # the last one counts


def _judged(found: pd.DataFrame, objects: pd.DataFrame, chosen: Mapping[str, str]) -> pd.DataFrame:
    decisions = found["op"].isin([op.name.lower() for op in DECISIONS])
    judged = judge(found[decisions], objects, chosen)
    columns = judged[reading.JUDGED].astype(object)
    return found.join(columns)


def _window(recording: Recording, both: pd.DataFrame) -> Window:
    known = anchors(recording)
    times = [one.boot_ns for one in known]
    if recording.end is None and len(both):
        times.append(int(both["time_ns"].max()))
    walls = [_iso(known[0].wall_ns), _iso(known[-1].wall_ns)] if known else [None, None]
    if recording.end is None or len(known) < 2:
        walls[1] = None
    jump = wall_jump_s(known)
    return Window(min(times, default=None), max(times, default=None), walls[0], walls[1], jump)


def _iso(wall_ns: int) -> str | None:
    try:
        when = datetime.fromtimestamp(wall_ns // 10**9, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{when:%Y-%m-%dT%H:%M:%S}.{wall_ns % 10**9 // 10**6:03d}Z"


def _baseline(recording: Recording, start: pd.DataFrame) -> str:
    """Why the baseline may have missed something; empty where it says itself that it did not."""
    look = (recording.end or End()).baseline.start
    if look is None or (look.problems is None and not len(start)):
        return "there is no baseline."
    if look.problems is None:
        return "the recording does not say whether the baseline could look at every process."
    return " ".join(map(printable, look.problems))


def _bit(manifest: Manifest) -> str:
    test = manifest.tested
    return test.bit_0x20 if test.ran and test.bit_0x20 in ("exec", "inaccessible") else ""


_ALWAYS = (Op.CREATE, Op.ADD_SEALS, Op.MAP, Op.UNMAP, Op.EVICT, Op.MMAP)
"""What tells who is who, whatever is claimed."""


def options(policy: Policy, known: str) -> list[str]:
    """Options of ``sealsnoop record``; ``known`` is its help, to see whether it has ``--audit``."""
    families = {
        family
        for claim in policy.claims
        for kind in claim.scope.kind or KINDS
        for family in needed(claim.claim, kind, claim.meant)
    }
    ops = {op for family in FAMILIES if family.name in families for op in family.ops}
    words = ["--unsealable"]
    if "--audit" in known:
        words.append("--audit")  # with it all of its families are taken
    else:
        words += ["--ops", ",".join(sorted(op.name.lower() for op in ops | set(_ALWAYS)))]
    return words
