"""Which memory files a scope means: yes, no, or not to be told from this recording."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tracer.audit.memslots import Slots
from tracer.audit.objects import Known
from tracer.audit.plan import Plan
from tracer.audit.policy import INACCESSIBLE, SEALS, Scope
from tracer.audit.results import Doubt
from tracer.audit.ways import recognised_by
from tracer.errors import UserError
from tracer.query import parse
from tracer.query.patterns import glob as pattern
from tracer.query.patterns import matches
from tracer.store.schema import OBJECTS

IN, OUT, MAYBE = True, False, None
Answer = bool | None


@dataclass(frozen=True)
class Look:
    """What a scope is held against."""

    plan: Plan
    slots: Slots
    bit_0x20: str
    """What seal 0x20 means: ``exec``, ``inaccessible``, or empty: not known."""
    filters: Mapping[str, Any]


def wanted_seals(names: tuple[str, ...], bit_0x20: str) -> tuple[int, Answer]:
    """The bits of seals by name, and whether this kernel means them by these bits."""
    bits = 0
    sure: Answer = IN
    for name in names:
        bits |= SEALS[name]
        if SEALS[name] == SEALS[INACCESSIBLE]:
            meant = "inaccessible" if name == INACCESSIBLE else "exec"
            if not bit_0x20:
                sure = MAYBE if sure is IN else sure
            elif bit_0x20 != meant:
                sure = OUT
    return bits, sure


def early(scope: Scope, one: Known) -> Answer:
    """What announcements alone tell, before events are read: OUT is final."""
    return OUT if any(answer is OUT for answer in _announced(scope, one)) else MAYBE


def member(scope: Scope, one: Known, look: Look) -> tuple[Answer, str]:
    """Whether ``one`` is in ``scope``; with MAYBE, why that is not known."""
    unsure = [why for answer, why in _named(scope, one, look) if answer is MAYBE]
    if any(answer is OUT for answer, _ in _named(scope, one, look)):
        return OUT, ""
    return (MAYBE, "; ".join(unsure)) if unsure else (IN, "")


def _named(scope: Scope, one: Known, look: Look) -> Iterator[tuple[Answer, str]]:
    words = ("kind", "name", "owner", "cgroup", "what 'where' asks for")
    for answer, word in zip(_announced(scope, one), words, strict=True):
        yield answer, f"its {word} is not known"
    if scope.seals:
        yield _seals(scope, one, look)
    if scope.memslot:
        yield _memslot(scope, one, look)


def _announced(scope: Scope, one: Known) -> Iterator[Answer]:
    yield _kind(scope.kind, one)
    yield _name(scope.name, one)
    yield _among(scope.user, one.owners)
    yield _among(scope.cgroup, one.cgroups)
    yield _where(scope.where, one)


def _kind(kinds: tuple[str, ...], one: Known) -> Answer:
    if not kinds or one.kinds & set(kinds):
        return IN
    known = one.kinds and all(kind != "unknown" and not kind[-1].isdigit() for kind in one.kinds)
    return OUT if known else MAYBE


def _name(globs: tuple[str, ...], one: Known) -> Answer:
    if not globs:
        return IN
    found: Answer = OUT if one.names else MAYBE
    for name, complete in one.names:
        if name is None:
            found = MAYBE
            continue
        forms = (name, name.removeprefix("memfd:"))
        if complete and any(matches(glob, form) for glob in globs for form in forms):
            return IN
        found = found if complete else MAYBE
    return found


def _among(wanted: tuple[int, ...], there: set[Any]) -> Answer:
    if not wanted or there & set(wanted):
        return IN
    return MAYBE if not there or None in there else OUT


def _where(text: str, one: Known) -> Answer:
    if not text:
        return IN
    if not one.rows:
        return MAYBE
    query = parse(text)
    rows = pd.DataFrame(one.rows)
    if query.mask(rows).any():
        return IN
    # Seals and size change later, and of some rows not all is known.
    unsure = one.more or not rows["name_complete"].all() or query.columns() & {"seals", "size"}
    return MAYBE if unsure else OUT


def check_where(scope: Scope) -> None:
    """UserError for a filter that asks for what objects do not have."""
    if scope.where:
        query = parse(scope.where)
        missing = sorted(query.columns() - set(OBJECTS.names))
        if missing:
            there = ", ".join(name for name in OBJECTS.names if not name.startswith("folio"))
            raise UserError(
                f"where = {scope.where!r}: objects have no {', '.join(missing)}; they have {there}"
            )


def _seals(scope: Scope, one: Known, look: Look) -> tuple[Answer, str]:
    bits, sure = wanted_seals(scope.seals, look.bit_0x20)
    if one.seals is None:
        return MAYBE, "its seals are not known"
    if sure is OUT or one.seals & bits != bits:
        return OUT, ""
    return sure, "what seal 0x20 means on this kernel is not known (no self-test)"


def _memslot(scope: Scope, one: Known, look: Look) -> tuple[Answer, str]:
    if look.slots.of(one.key):
        if scope.vmm is None or look.slots.by(one.key, scope.vmm):
            return IN, ""
        return OUT, ""
    need = look.plan.need("memslot", "memslot")
    if not need.holds:
        return MAYBE, f"whether it backs guest memory is not known (memslot is {need.state})"
    if not one.born:
        return MAYBE, "it is older than the trace, and so may be the memslot that it backs"
    return OUT, ""


def hidden(scope: Scope, look: Look) -> Iterator[Doubt]:
    """Why something may be in scope that is not in the recording at all."""
    kinds = scope.kind or (scope.kind if scope.name else ("guest_memfd", "secretmem"))
    for kind in kinds:
        for family in recognised_by(kind):
            need = look.plan.need(family, "create")
            if not need.holds:
                yield Doubt("not-hooked", f"A {kind} may not have been noticed: {family} is "
                            f"{need.state}.")  # fmt: skip
    # Whatever the claim: what is in scope is known through this hook (of memslots: Claim.meant).
    if scope.seals:
        yield from look.plan.doubts({"seals": "seals"})
    # A memfd that cannot be sealed is known from its creation or the baseline, a tmpfs file is not.
    if not look.filters.get("unsealable") and {"tmpfs", "hugetlb"} & set(scope.kind or ("tmpfs",)):
        yield Doubt("filter", "Files of tmpfs and hugetlbfs that cannot be sealed were left out "
                    "(record with --unsealable), and some may be in scope: name the kinds in the "
                    "policy if none can.")  # fmt: skip
    prefix = look.filters.get("name")
    if prefix and not _within(scope.name, str(prefix)):
        yield Doubt("filter", "Only files with certain names were recorded.")


def _within(globs: tuple[str, ...], prefix: str) -> bool:
    """Whether every name that ``globs`` take begins with ``prefix`` (of the recorder's --name)."""
    return bool(globs) and all(
        _beginning(glob).removeprefix("memfd:").startswith(prefix) for glob in globs
    )


def _beginning(glob: str) -> str:
    """What every text that matches begins with."""
    text, wild = pattern(glob).pieces[0]
    return "" if wild else text
