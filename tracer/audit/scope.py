"""Which memory files a scope means, and who may do something to one: yes, no, or not known.

Who somebody is: a process, the moment it started, and the program it runs. The kernel makes all
three, so nobody can take them from another (bpf/record.h). A process number, a command name, a user
or a cgroup proves less: any process with the same rights can have it. Who is allowed by these alone
is assumed to be the one that the policy means, and a doubt says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from tracer.audit.objects import MemoryFile, Row
from tracer.audit.policy import INACCESSIBLE, RECOGNISED_BY, Actor, Scope
from tracer.audit.result import Doubt
from tracer.errors import UserError
from tracer.filter.grammar import glob, matches
from tracer.filter.query import parse
from tracer.record import PROC_TICK_NS
from tracer.recording.format import OBJECTS
from tracer.recording.places import Places
from tracer.recording.tasks import Actor as Acting
from tracer.recording.tasks import Tasks
from tracer.words import BY_NAME as SEALS
from tracer.words import Receipt

if TYPE_CHECKING:
    from tracer.audit.evidence import Evidence


class Who(NamedTuple):
    """One program of one process. ``exact``: the kernel itself told; else /proc did, rounded."""

    pid: int
    start_ns: int
    exec_id: int
    exact: bool = True

    def __str__(self) -> str:
        return f"process {self.pid}"


def who(row: Row) -> Who:
    """Whose act a row is; a mapping that a fork copied is its parent's act."""
    # Rows of /proc have no address space; the kernel's own threads have none either, but they
    # are never in the baseline.
    exact = row.start_ns != 0 and (row.table == "events" or row.own_mm != 0)
    return Who(row.pid, row.start_ns, row.exec_id if exact else 0, exact)


def giver(row: Row) -> Who | None:
    """Who gave the descriptor that a row of op ``receive`` tells of; None: not known."""
    start_ns, exec_id = row.offset, row.arg >> 32
    return Who(row.check_answer, start_ns, exec_id) if start_ns else None


def receipt(row: Row) -> int:
    """How it came, a `Receipt`."""
    return row.arg & 0xFFFFFFFF


def same(one: Who, other: Who) -> bool | None:
    """Whether both are one program of one process; None: it may be, /proc alone does not tell."""
    if one.exact and other.exact:
        return one[:3] == other[:3]
    if one.pid != other.pid:
        return False
    if not one.start_ns or not other.start_ns:
        return None
    return None if one.start_ns // PROC_TICK_NS == other.start_ns // PROC_TICK_NS else False


def matching(actor: Actor, row: Row, places: Places, tasks: Tasks) -> bool | None:
    """Whether the row's process fulfils all conditions of ``actor`` (which is no word).

    None: what its cgroup is called or which program it runs is not known, and all else holds.
    Names count as far as root alone gave them (tracer.cgroups).
    """
    if not (
        (not actor.pid or row.pid in actor.pid)
        and (not actor.uid or row.uid in actor.uid)
        and (not actor.cgroup or row.cgroup in actor.cgroup)
        and (not actor.comm or any(matches(comm, row.comm) for comm in actor.comm))
    ):
        return False
    return _both(_is_there(actor, row, places), _runs(actor, row, tasks))


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _is_there(actor: Actor, row: Row, places: Places) -> bool | None:
    if not actor.places:
        return True
    where = places.of(row.cgroup)
    if not where.whole:
        return None
    return all(
        bool(told := getattr(where.place, name)) and any(matches(one, told) for one in globs)
        for name, globs in actor.places.items()
    )


def _unnamed(actor: Actor) -> str:
    """What of an actor may be missing in a recording."""
    if not actor.exe:
        return "what its cgroup is called"
    also = "what its cgroup is called or " if actor.places else ""
    return f"{also}which program it runs"


def _runs(actor: Actor, row: Row, tasks: Tasks) -> bool | None:
    """By the executable's path, which proves nothing: whoever owns a user namespace can have any
    (tracer.recording.tasks)."""
    if not actor.exe:
        return True
    exe = tasks.of(Acting(row.pid, row.start_ns, row.exec_id)).exe
    if not exe or exe.startswith("?"):
        return None
    return any(matches(one, exe) for one in actor.exe)


class Right(NamedTuple):
    """Somebody who may, from a moment on."""

    who: Who
    since_ns: int = 0
    doubt: str = ""
    """Why that is not certain; empty: it is."""


@dataclass
class Allowed:
    """Who may do something to one object."""

    actors: Sequence[Actor]
    children: bool = False
    rights: Mapping[str, Sequence[Right]] = field(default_factory=dict)
    """By the words of a policy."""
    places: Places = field(default_factory=Places)
    tasks: Tasks = field(default_factory=Tasks)
    _doubts: dict[str, Doubt] = field(default_factory=dict)

    def __call__(self, row: Row) -> bool:
        """Whether the row is of somebody who may; what had to be assumed for it is kept.

        A copy that a fork makes is the child's: user, cgroup and command are then its parent's,
        but by identity or number nobody knows it, unless children are allowed.
        """
        assumed: list[Doubt] = []
        for actor in self.actors:
            if row.copied and not self.children and (actor.word or actor.pid):
                continue
            for doubt in self._held(actor, row):
                if doubt is None:
                    return True
                assumed.append(doubt)
        if assumed:
            self._doubts.setdefault(assumed[0].text, assumed[0])
        return bool(assumed)

    @property
    def doubts(self) -> list[Doubt]:
        """What had to be assumed to allow the rows that were asked for."""
        return list(self._doubts.values())

    def _held(self, actor: Actor, row: Row) -> Iterator[Doubt | None]:
        """None: ``actor`` is the row's process; a doubt: it may be."""
        if not actor.word:
            found = matching(actor, row, self.places, self.tasks)
            if found:
                yield Doubt("assumed", f"{_named(row)} may by {actor} alone, which any process "
                            "with its rights can have as well.")  # fmt: skip
            elif found is None:
                yield Doubt("identity", f"Whether {_named(row)} is {actor} is not known: "
                            f"{_unnamed(actor)} was not recorded.")  # fmt: skip
            return
        mine = who(row)
        for right in self.rights.get(actor.word, ()):
            equal = same(right.who, mine)
            if equal is False or row.time_ns < right.since_ns:
                continue
            if equal is None:
                yield Doubt("identity", f"Whether {mine} is the {actor.word} that the policy means "
                            "is not known: /proc alone told of it.")  # fmt: skip
            elif right.doubt:
                yield Doubt("identity", f"{_named(row)}: {right.doubt}")
            else:
                yield None


def rights(
    rows: Sequence[Row], memslots: Sequence[Row], since: Mapping[Row, int], handover: bool
) -> dict[str, list[Right]]:
    """Who is who for one object, by its events and baseline and the memslots that it backs.

    ``memslots`` are the accepted ones, the first first, and ``since`` when it came to back each.

    The VMM is who gave it to a virtual machine first. What it did before is its right if it made
    the file, or was given it by who did; else somebody who starts a virtual machine over another
    one's memory could make what he did before right by that.
    """
    creators = {who(row): None for row in rows if row.created}
    received = [row for row in rows if row.op == "receive" and row.answer >= 0]
    found = {
        "creator": [Right(one) for one in creators],
        "given-by-creator": _given(received, list(creators)),
        "vmm": [],
        "given-by-vmm": [],
    }
    if not memslots:
        return found
    first_ns, vmm = since[memslots[0]], who(memslots[0])
    found["given-by-vmm"] = _given(received, [vmm])
    own = any(same(one, vmm) for one in creators)
    given = [one for one in found["given-by-creator"] if same(one.who, vmm) and not one.doubt]
    since_ns = 0 if own else min((one.since_ns for one in given), default=first_ns)
    found["vmm"].append(Right(vmm, since_ns))
    if since_ns:
        found["vmm"].append(Right(vmm, doubt="it used the file before it was a guest's memory, and "
                                  "is not known to have made it or to have been given it by who "
                                  "did."))  # fmt: skip
    if handover:
        for row in memslots:
            if same(who(row), vmm):
                continue
            # It maps the file before it can make it a guest's memory.
            given = [one for one in found["given-by-vmm"] if same(one.who, who(row))]
            found["vmm"] += given or [
                Right(who(row), since[row], "it took the guest over without having been given the "
                      "file by the VMM.")
            ]  # fmt: skip
    return found


def _given(received: Sequence[Row], givers: Sequence[Who]) -> list[Right]:
    """Those that one of ``givers`` sent the file to; with a doubt where the sender is not known."""
    found = []
    for row in received:
        sender = giver(row)
        if receipt(row) == Receipt.SCM_RIGHTS and sender is not None:
            if any(same(one, sender) for one in givers):
                found.append(Right(who(row), row.time_ns))
        elif receipt(row) in (Receipt.UNKNOWN, Receipt.SCM_RIGHTS):
            found.append(Right(who(row), row.time_ns, "who gave it the file is not known."))
    return found


def _named(row: Row) -> str:
    return f"Process {row.pid} ({row.comm})"


IN, OUT, MAYBE = True, False, None
Answer = bool | None


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


def early(scope: Scope, file: MemoryFile) -> Answer:
    """What announcements alone tell, before events are read: OUT is final."""
    return OUT if any(answer is OUT for answer, _ in _announced(scope, file)) else MAYBE


def member(scope: Scope, file: MemoryFile, evidence: "Evidence") -> tuple[Answer, str]:
    """Whether ``one`` is in ``scope``; with MAYBE, why that is not known."""
    found = list(_announced(scope, file))
    if scope.seals:
        found.append(_sealed_so(scope, file, evidence))
    if scope.memslot:
        found.append(_memslot(scope.memslot, file, evidence))
    if any(answer is OUT for answer, _ in found):
        return OUT, ""
    unsure = [why for answer, why in found if answer is MAYBE]
    return (MAYBE, "; ".join(unsure)) if unsure else (IN, "")


def _announced(scope: Scope, file: MemoryFile) -> Iterator[tuple[Answer, str]]:
    yield _kind(scope.kind, file), "its kind is not known"
    yield _name(scope.name, file), "its name is not known"
    yield _among(scope.user, file.owners), "its owner is not known"
    yield _among(scope.cgroup, file.cgroups), "its cgroup is not known"
    yield _where(scope.where, file), "its what 'where' asks for is not known"


def _kind(kinds: tuple[str, ...], file: MemoryFile) -> Answer:
    if not kinds or file.kinds & set(kinds):
        return IN
    known = file.kinds and all(kind != "unknown" and not kind[-1].isdigit() for kind in file.kinds)
    return OUT if known else MAYBE


def _name(globs: tuple[str, ...], file: MemoryFile) -> Answer:
    if not globs:
        return IN
    found: Answer = OUT if file.names else MAYBE
    for name, complete in file.names:
        if name is None:
            found = MAYBE
            continue
        forms = (name, name.removeprefix("memfd:"))
        if complete and any(matches(wanted, form) for wanted in globs for form in forms):
            return IN
        found = found if complete else MAYBE
    return found


def _among(wanted: tuple[int, ...], there: set[Any]) -> Answer:
    if not wanted or there & set(wanted):
        return IN
    return MAYBE if not there or None in there else OUT


def _where(text: str, file: MemoryFile) -> Answer:
    if not text:
        return IN
    if not file.announcements:
        return MAYBE
    query = parse(text)
    rows = pd.DataFrame(file.announcements)
    if query.mask(rows).any():
        return IN
    # Seals and size change later, and of some rows not all is known.
    unsure = file.more or not rows["name_complete"].all() or query.columns() & {"seals", "size"}
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


def _sealed_so(scope: Scope, file: MemoryFile, evidence: "Evidence") -> tuple[Answer, str]:
    bits, sure = wanted_seals(scope.seals, evidence.bit_0x20)
    if file.seals is None:
        return MAYBE, "its seals are not known"
    if sure is OUT or file.seals & bits != bits:
        return OUT, ""
    return sure, "what seal 0x20 means on this kernel is not known (no self-test)"


def _memslot(vmm: Actor, file: MemoryFile, evidence: "Evidence") -> tuple[Answer, str]:
    if slots := evidence.slots.of(file):
        found = {matching(vmm, slot.row, evidence.places, evidence.tasks) for slot in slots}
        if True in found or None not in found:
            return True in found, ""
        what = "which program its VMM runs" if vmm.exe else "what the cgroup of its VMM is called"
        return MAYBE, f"{what} was not recorded"
    need = evidence.plan.need("memslot", "memslot")
    if not need.holds:
        return MAYBE, f"whether it backs guest memory is not known (memslot is {need.state})"
    if not file.born and evidence.older_machines:
        return MAYBE, ("it is older than the trace, and so may be the memslot that it backs: "
                       f"{evidence.older_machines}")  # fmt: skip
    return OUT, ""


def hidden(scope: Scope, evidence: "Evidence", all_told: bool) -> Iterator[Doubt]:
    """Why something may be in scope that is not in the recording at all.

    ``all_told``: files that can never be sealed are in it, too, where the claim is about them.
    """
    kinds = scope.kind or (scope.kind if scope.name else ("guest_memfd", "secretmem"))
    for kind in kinds:
        if family := RECOGNISED_BY.get(kind):
            need = evidence.plan.need(family, "create")
            if not need.holds:
                yield Doubt("not-hooked", f"A {kind} may not have been noticed: {family} is "
                            f"{need.state}.")  # fmt: skip
    # Whatever the claim: what is in scope is known through this hook (of memslots: Claim.meant).
    if scope.seals:
        yield from evidence.plan.doubts({"seals": "seals"})
    # A memfd that cannot be sealed is known from its creation or the baseline, a tmpfs file is not.
    if not all_told and {"tmpfs", "hugetlb"} & set(scope.kind or ("tmpfs",)):
        yield Doubt("filter", "Files of tmpfs and hugetlbfs that cannot be sealed were left out "
                    "(record with --unsealable), and some may be in scope: name the kinds in the "
                    "policy if none can.")  # fmt: skip
    prefix = evidence.filters.name
    starts = [glob(name).pieces[0] for name in scope.name]
    within = bool(starts) and all(
        not wild and text.removeprefix("memfd:").startswith(prefix) for text, wild in starts
    )
    if prefix and not within:
        yield Doubt("filter", "Only files with certain names were recorded.")
