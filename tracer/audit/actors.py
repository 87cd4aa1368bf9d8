"""Who did something, held against who may."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracer.audit.globs import matches
from tracer.audit.mappings import Spaces
from tracer.audit.policy import Actor
from tracer.audit.rows import OF_OTHERS, Row

Who = tuple[int, int]
"""A process: its number and its address space, 0 where that is not known."""


def matching(actor: Actor, row: Row) -> bool:
    """Whether the row's process fulfils all conditions of ``actor`` (which is no word)."""
    return (
        (not actor.pid or row.pid in actor.pid)
        and (not actor.uid or row.uid in actor.uid)
        and (not actor.cgroup or row.cgroup in actor.cgroup)
        and (not actor.comm or any(matches(glob, row.comm) for glob in actor.comm))
    )


@dataclass(frozen=True)
class Allowed:
    """Who may do something to one object."""

    actors: Sequence[Actor]
    children: bool = False
    vmm: frozenset[Who] = frozenset()
    """Those that gave the object to a virtual machine as its memory."""
    creator: frozenset[Who] = frozenset()

    def __call__(self, row: Row) -> bool:
        """Whether the row is of somebody who may.

        A copy that a fork makes is the child's: user, cgroup and command are then its parent's,
        but by a process number nobody knows it, unless children are allowed.
        """
        return any(self._is(actor, row) for actor in self.actors)

    def _is(self, actor: Actor, row: Row) -> bool:
        by_number = bool(actor.word or actor.pid)
        if by_number and row.copied and not self.children:
            return False
        if not actor.word:
            return matching(actor, row)
        who = self.vmm if actor.word == "vmm" else self.creator
        return any(pid == row.pid and _same(mm, row) for pid, mm in who)

    def same_number(self, row: Row) -> bool:
        """Whether a row has the number of somebody who may, in another address space.

        It called exec, or the number was used again: that cannot be told apart.
        """
        words = {actor.word for actor in self.actors}
        known = (self.vmm if "vmm" in words else frozenset()) | (
            self.creator if "creator" in words else frozenset()
        )
        return not row.copied and row.pid in {pid for pid, _ in known}

    def unsure(self, found: Iterable[Row], of: Spaces) -> list[int]:
        """Processes that are allowed by number alone and had several address spaces.

        They called exec, or the number was used again for somebody else.
        """
        numbers = {pid for actor in self.actors for pid in actor.pid}
        if any(actor.word == "creator" for actor in self.actors):
            numbers |= {pid for pid, mm in self.creator if not mm}
        there = {row.pid for row in found}
        return sorted(pid for pid in numbers & there if len(of.get(pid, ())) > 1)


def _same(mm: int, row: Row) -> bool:
    """Whether a row may be of address space ``mm``, as far as it tells its own."""
    if not mm or not row.mm or row.copied or row.op in OF_OTHERS:
        return True
    return row.mm == mm
