"""What the tables have in common: who, what, whence, and the sums."""

from functools import cached_property
from typing import Any, Protocol

import numpy as np

from tracer.analysis.batch import Array, Vocabulary
from tracer.analysis.keytable import Ids, KeyTable
from tracer.analysis.rollup import I64, Sums, distinct, halves, pair, sums
from tracer.analysis.state import State
from tracer.rules.verdicts import words

NO_FD = 0xFFFFFFFF
"""-1 as it is in a key."""

_OF_GROUPS = ("fds", "fds_of", "processes_of")
Frame = dict[str, Any]
"""Columns by name, as the maker makes them."""


class Maker(Protocol):
    """Makes columns: tracer.analysis.columns (pandas) or tracer.analysis.plain."""

    def words(self, codes: Array, texts: Any) -> Any: ...

    def enum(self, name: str, codes: Array) -> Any: ...

    def verdicts(self, codes: Array) -> Any: ...

    def maybe(self, values: Array, known: Array, kind: Any = ...) -> Any: ...

    def errnos(self, answers: Array) -> Any: ...

    def texts(self, values: Any) -> Any: ...

    def taken(self, texts: Any, rows: Array) -> Any: ...


class View:
    """Columns of the groups that decisions were counted in, and how they look in a table."""

    def __init__(self, state: State, make: Maker, before: "View | None" = None) -> None:
        """``before``: of the same fold; what rests on the groups alone is taken from it."""
        self.state = state
        self.make = make
        self.groups = state.totals.groups
        self.which = np.flatnonzero(self.groups["counts"].any(axis=1))
        keys = state.keys.groups
        self._pid, self._fd = halves(keys.key(2))
        self._uid, self._code = halves(keys.key(3))
        self.pid, self.fd, self.uid, self.code = (
            column[self.which] for column in (self._pid, self._fd, self._uid, self._code)
        )
        self.object: I64 = state.same_as[state.keys.objects_of[self.which]]
        self.host: I64 = state.host[self.object]
        if before is not None and before._has_groups_of(self):
            known = before.__dict__
            self.__dict__ |= {name: known[name] for name in _OF_GROUPS if name in known}

    def _has_groups_of(self, other: "View") -> bool:
        return (
            len(self.state.ino) == len(other.state.ino)
            and np.array_equal(self.which, other.which)
            and np.array_equal(self.object, other.object)
        )

    def sums(self, ids: Array, count: int) -> Sums:
        """The groups summed up; ``ids``: the row of each."""
        return sums(ids, count, self.groups, self.which)

    @cached_property
    def _names(self) -> Any:
        """Of all objects: made once, as taking from it is cheap."""
        return self.make.texts(self.state.names)

    @cached_property
    def fds(self) -> tuple[Ids, KeyTable]:
        """Distinct (object, pid << 32 | fd)."""
        return distinct(self.object.astype(np.uint64), pair(self.pid, self.fd))

    @cached_property
    def fds_of(self) -> I64:
        """By object: through how many (pid, fd) it was asked for."""
        _, fds = self.fds
        known = halves(fds.key(1))[1] != NO_FD
        return np.bincount(fds.key(0)[known].astype(np.int64), minlength=len(self.state.ino))

    @cached_property
    def processes_of(self) -> I64:
        """By object: how many processes asked for it."""
        pids = np.unique(pair(self.object, self.pid))
        return np.bincount(halves(pids)[0], minlength=len(self.state.ino))

    def whence(self, hosts: I64) -> Frame:
        """host and boot_id of each row."""
        names: dict[str, str] = {}
        for source in self.state.sources:
            names[source.boot_id] = names.get(source.boot_id) or source.host
        boots = self.state.hosts
        texts = [names.get(boot, "") for boot in boots]
        distinct_texts = list(dict.fromkeys(texts))
        codes = np.array([distinct_texts.index(text) for text in texts], np.int64)
        return {
            "host": self.make.words(codes[hosts] if len(hosts) else hosts, distinct_texts),
            "boot_id": self.make.words(hosts, boots),
        }

    def what(self, objects: I64) -> Frame:
        """The object of each row."""
        state, known = self.state, self.state.known
        dev, gen = halves(state.dev_gen[objects])
        told, seen = known["kind_told"][objects], known["kind_seen"][objects]
        return {
            "kind": self.make.enum("kind", np.where(told > 0, told, seen)),
            "name": self.make.taken(self._names, objects),
            "dev": dev.astype(np.uint32),
            "ino": state.ino[objects],
            "gen": gen.astype(np.uint32),
        }

    def who(self, groups: I64) -> Frame:
        """comm and uid of groups."""
        texts = Vocabulary()
        comms = texts.codes(comm for _, comm in self.state.keys.actors)
        return {
            "comm": self.make.words(comms[self._code[groups]], texts.texts),
            "uid": self._uid[groups].astype(np.uint32),
        }

    def which_fd(self, groups: I64) -> Frame:
        """pid and fd of groups."""
        return {
            "pid": self._pid[groups].astype(np.uint32),
            "fd": self._fd[groups].astype(np.uint32).view(np.int32),
        }

    def counted(self, found: Sums, *, last: bool = True) -> Frame:
        """Decisions by verdict, when, and (``last``) the latest one."""
        some = found.last_ns >= found.first_ns
        frame: Frame = {
            **dict(zip(words(), found.counts.T, strict=True)),
            "decisions": found.decisions,
            "worst": self.make.verdicts(found.worst),
            "first_ns": self.make.maybe(found.first_ns, some),
            "last_ns": self.make.maybe(found.last_ns, some),
        }
        if last:
            ops = np.where(some, self._of_last("last_op", found), -1)
            answers = self._of_last("last_answer", found)
            frame["last_op"] = self.make.enum("op", ops)
            frame["last_answer"] = self.make.maybe(answers, some)
            frame["last_errno"] = self.make.errnos(answers)
        return frame

    def _of_last(self, name: str, found: Sums) -> I64:
        """A column of the last group of each row, 0 where there is none."""
        values = self.groups[name].astype(np.int64)
        return np.append(values, 0)[found.last]
