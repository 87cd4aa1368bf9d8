"""Which parts of a filter the recorder can apply in the kernel, and by which of its options.

Whoever records and filters again when reading (``trace``) pushes down what it loses nothing by
(:func:`lossless`): rows that would match are all there, and so is what tells how a file was made
and sealed, whoever did it. Whoever only records (``record``) has the kernel's filters, and compares
itself who acts (:data:`ACTORS`): there each word must be one of these (:func:`options`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tracer.escape import unescape
from tracer.filter import grammar
from tracer.filter.grammar import Bits, In, Like, QueryError, Term
from tracer.filter.query import Query
from tracer.kernel.audit_families import ALL_FAMILIES
from tracer.kernel.families import FAMILIES
from tracer.words import BY_NAME, Op

KEPT = (Op.CREATE, Op.ADD_SEALS)
"""Recorded in any case: without them nobody can tell how a file came to its seals."""
_SAFE = re.compile(r"[\w.@%+/ :-]+", re.ASCII)
NAME_BYTES = 249
"""The longest name of a memfd: mm/memfd.c, MFD_NAME_MAX_LEN."""
ACTORS = frozenset({"unit", "container", "pod", "vm", "exe"})
"""Keys that a recorder compares itself, with what the kernel has told of cgroups and programs."""
_MOST = 64
"""Numbers of one word that become options."""


def _hooked(audit: bool) -> set[str]:
    """The operations that a recorder may be limited to."""
    there = {op for family in (ALL_FAMILIES if audit else FAMILIES) for op in family.ops}
    return {op.name.lower() for op in there} - {"evict"}


@dataclass(frozen=True)
class Options:
    """Values for options of ``record``, by their names (``dest``); without any it is false."""

    ops: tuple[str, ...] = ()
    uid: tuple[str, ...] = ()
    pid: tuple[int, ...] = ()
    name: str = ""
    seals: tuple[str, ...] = ()
    denied: bool = False
    actors: str = ""
    """No option: words that the recorder itself applies."""

    def __bool__(self) -> bool:
        return self != Options()

    def values(self) -> dict[str, object]:
        """As argparse would give them; only those that say anything."""
        found: dict[str, object] = {
            "ops": ",".join(self.ops),
            "uid": [*self.uid],
            "pid": [*self.pid],
            "name": self.name,
            "seals": ",".join(self.seals),
            "denied": self.denied,
            "actors": self.actors,
        }
        return {name: value for name, value in found.items() if value}

    def words(self) -> list[str]:
        """As words of a command line."""
        words: list[str] = []
        for name, value in self.values().items():
            if isinstance(value, list):
                words += [f"--{name}={one}" for one in value]
            else:
                words.append(f"--{name}" if value is True else f"--{name}={value}")
        return words


def lossless(query: Query) -> Options:
    """What a recorder may leave out when its rows are filtered by ``query`` afterwards.

    Operations, and names where no creation matches: one that was refused made no file, whose name
    the kernel could compare. Not whose calls these are: seals set by others explain refusals.
    """
    hooked = _hooked(audit=False)
    allowed = _ops(query.terms, hooked)
    prefixes = [prefix for term in query.terms if (prefix := _prefix(term))]
    name = max(prefixes, key=len) if prefixes and "create" not in allowed else ""
    return Options(ops=_with_kept(allowed) if allowed < hooked else (), name=name)


def options(query: Query, audit: bool = False) -> Options:
    """The whole of a filter as options of ``record``, and what the recorder applies itself.

    :param audit: whether it records what an audit needs, too.
    :raises QueryError: for the first word that the kernel side cannot apply.
    """
    text, start = str(query), 0
    found = Options()
    for term in query.terms:
        end = start + len(str(term))
        one = _option(term, audit)
        if one is None:
            why = _cannot(term)
            raise QueryError(why, text, start, end)
        found = _both(found, one, text, start, end)
        start = end + 1
    return found


def _option(term: Term, audit: bool) -> Options | None:
    """One word as options; None: there is none for it."""
    if term.key == "op":
        allowed = _ops([term], _hooked(audit))
        return Options(ops=_with_kept(allowed)) if allowed else None
    if term.key in ACTORS:
        return Options(actors=str(term))
    if term.negated:
        return None
    if term.key == "uid" and (numbers := _numbers(term)):
        return Options(uid=tuple(map(str, numbers)))
    if term.key == "pid" and (numbers := _numbers(term)):
        return Options(pid=numbers)
    if term.key == "name" and (prefix := _prefix(term, whole=False)):
        return Options(name=prefix)
    if term.key == "seals" and (bits := _seals(term)):
        return Options(seals=tuple(name.lower() for name, bit in BY_NAME.items() if bits & bit))
    if term.key == "ret" and [one.text for one in term.alternatives] == ["error"]:
        return Options(denied=True)
    return None


def _both(one: Options, other: Options, text: str, start: int, end: int) -> Options:
    """What holds where both do."""
    ops = one.ops or other.ops
    if one.ops and other.ops:
        ops = tuple(op for op in one.ops if op in other.ops)
    found: dict[str, object] = {}
    for name in ("uid", "pid", "name"):
        values = getattr(one, name), getattr(other, name)
        if all(values) and values[0] != values[1]:
            raise QueryError(f"{name} stands twice: the kernel side takes one", text, start, end)
        found[name] = values[0] or values[1]
    seals = tuple(dict.fromkeys((*one.seals, *other.seals)))
    denied = one.denied or other.denied
    actors = " ".join(filter(None, (one.actors, other.actors)))
    return Options(ops, seals=seals, denied=denied, actors=actors, **found)  # type: ignore[arg-type]


def _cannot(term: Term) -> str:
    """Why there is no option for a word."""
    near = {
        "name": "write the start of the name and a star: name:ring*",
        "seals": "write the seals that a file must carry: seals:+WRITE",
        "ret": "write ret:error",
        "cgroup": "give its folder to --cgroup",
    }.get(term.key or "")
    advice = near if near and not term.negated else "filter when reading it"
    return (
        f"{term} cannot be applied in the kernel while recording; {advice} "
        "('sealsnoop trace', 'live', 'script' and 'report' take every filter)"
    )


def _ops(terms: Iterable[Term], hooked: set[str]) -> set[str]:
    """The operations that rows may have which match."""
    allowed = set(hooked)
    for term in terms:
        if term.key != "op":
            continue
        likes = [
            re.compile(test.regex, re.DOTALL | (re.IGNORECASE if test.ignore_case else 0))
            for one in term.alternatives
            for tests in one.any_of
            for test in tests
            if isinstance(test, Like)
        ]
        named = {op for op in hooked if any(like.fullmatch(op) for like in likes)}
        allowed &= hooked - named if term.negated else named
    return allowed


def _with_kept(allowed: set[str]) -> tuple[str, ...]:
    kept = {op.name.lower() for op in KEPT}
    return tuple(op.name.lower() for op in Op if op.name.lower() in allowed | kept)


def _numbers(term: Term) -> tuple[int, ...]:
    """The numbers of a word; none: it has ranges."""
    tests = [test for one in term.alternatives for tests in one.any_of for test in tests]
    ranges = [limits for test in tests if isinstance(test, In) for limits in test.ranges]
    found = tuple(low for low, high in ranges if low is not None and low == high)
    return found if len(found) == len(ranges) <= _MOST else ()


def _seals(term: Term) -> int:
    """The seals of ``seals:+SET``."""
    if len(term.alternatives) != 1 or len(term.alternatives[0].any_of) != 1:
        return 0
    bits = [test for test in term.alternatives[0].any_of[0] if isinstance(test, Bits)]
    known = sum(BY_NAME.values())
    fits = len(bits) == 1 and bits[0].mask == bits[0].value and not bits[0].mask & ~known
    return bits[0].mask if fits else 0


def _prefix(term: Term, whole: bool = True) -> str:
    """What the names must start with that ``name:PREFIX*`` matches; empty: nothing is known.

    ``whole``: names as such (``name:ring``) start with themselves, too. The kernel compares what
    stands behind a memfd's ``memfd:``: a prefix that could be part of that says nothing.
    """
    if term.key != "name" or term.negated or len(term.alternatives) != 1:
        return ""
    [word] = grammar.words(str(term))
    pattern = grammar.pattern(word.parts[0])
    text, wild = pattern.pieces[0]
    star = pattern.pieces[1:] == (("*", True),)
    if pattern.contains or wild or not (whole or star):
        return ""
    if not _SAFE.fullmatch(text) or len(text) > NAME_BYTES:
        return ""
    if "memfd:".startswith(text) or text.startswith("memfd:"):
        return ""
    return text if unescape(text) == text.encode() else ""
