"""Decisions as lines while they are made, as strace prints system calls::

    20:16:33.451 p/147 mmap SHARED rw- 0+4096 memfd:ring -> EPERM  F_SEAL_WRITE, set 3 ms before …

The reader is the view's own (tracer.live.feed), without its thread and its screens: an observer of
the book's decisions turns those that are wanted into lines. What was lost, and what was not seen,
stands between the lines, at the place where it was found out. A line whose callers are still being
worked out waits for them a moment, and those behind it with it.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tracer.analysis.decisions import ALL, EVERYTHING, Window
from tracer.escape import one_word, printable
from tracer.filter.mask import PLACES, TASKS
from tracer.filter.query import Query
from tracer.labels import LOSSES, MAX_ERRNO, answer, cause, describe, marks, meanings, span
from tracer.live.feed import LiveFeed
from tracer.live.log import readable
from tracer.live.snapshot import OnAlert, State
from tracer.output.coverage import CONTEXT, NO_EVENT
from tracer.output.tables import object_text
from tracer.rules.verdicts import Verdict
from tracer.walltime import iso, time_of_day
from tracer.words import BY_NAME, Bit5, Flag, HookState, Op, Seal

if TYPE_CHECKING:
    from tracer.analysis.decisions import Judged
    from tracer.recording.manifest import Manifest
    from tracer.stacks.names import Names
    from tracer.stacks.shown import Callers

Key = tuple[int, int, int]
Wall = Callable[[int], int | None]
Write = Callable[[str], object]
COLUMNS = (
    *ALL,
    "errno",
    "name",
    "verdict",
    "severity",
    "expected",
    "reason",
    "rule",
    "hole",
    *PLACES,
    *TASKS,
)
"""What a filter may ask about."""
_OVER = (State.ENDED, State.GONE, State.BROKEN)
_PAUSE_S = 0.05
_SLICE_S = 0.2
"""How long is read before it is looked whether it was enough (Ctrl-C)."""
_MANY = 4096
"""Rows turned into Python objects at once."""
_ALLOWED = int(Verdict.ALLOWED)
_WAIT_S = 0.3
"""So long a line waits for its callers, which unwinding takes milliseconds to find, …"""
_LATE_S = 10.0
"""… and so long they are printed later, or an object of JSON waits for them: it takes seconds where
a kernel is emulated or the machine has too much to do."""
_INDENT = "    "
_OBJECTS = 1 << 16
"""Files whose seals' setters are known at a time; the oldest are forgotten."""


class Setters:
    """Who set which seal of a file, as far as the trace saw it."""

    def __init__(self) -> None:
        self._known: dict[Key, dict[int, tuple[int, str]]] = {}

    def made(self, key: Key) -> None:
        """A file was made: whatever was known by its number was about another one."""
        self._known.pop(key, None)

    def saw(self, key: Key, before: int, after: int, time_ns: int, who: str) -> None:
        """A call has changed the seals of a file. One that it had before has another setter."""
        setters = self._known.setdefault(key, {})
        for seal in Seal:
            if seal & after & ~before:
                setters[seal] = (time_ns, who)
        if len(self._known) > _OBJECTS:
            del self._known[next(iter(self._known))]

    def text(self, key: Key, seal: int, time_ns: int) -> str:
        """``set 3ms before by q/140``; empty where it was not seen who set it."""
        since_ns, who = self._known.get(key, {}).get(seal, (time_ns + 1, ""))
        return f"set {span(time_ns - since_ns)} before by {who}" if since_ns <= time_ns else ""


@lru_cache(maxsize=1024)
def named_seals(reason: str) -> tuple[str, ...]:
    """The seals that a reason names (``FUTURE_WRITE|WRITE``); none: it is a phrase."""
    names = tuple(reason.split("|"))
    return names if all(name in BY_NAME for name in names) else ()


def seals_and_setters(names: Sequence[str], row: Mapping[str, Any], setters: Setters) -> str:
    """``F_SEAL_WRITE, set 3ms before by q/140``; seals with other setters stand apart."""
    key = row["dev"], row["ino"], row["gen"]
    found: dict[str, list[str]] = {}
    for name in names:
        text = setters.text(key, BY_NAME[name], row["time_ns"])
        found.setdefault(text, []).append(f"F_SEAL_{name}")
    parts = ("|".join(seals) + (f", {text}" if text else "") for text, seals in found.items())
    return "; ".join(parts)


def why(row: Mapping[str, Any], setters: Setters) -> str:
    """What a decision's verdict rests on, in words; empty for one that was simply allowed."""
    if row["verdict"] == _ALLOWED:
        return ""
    verdict, reason = Verdict(row["verdict"]), str(row["reason"] or "")
    if names := named_seals(reason):
        reason = seals_and_setters(names, row, setters)
    if verdict is Verdict.ERROR:
        return cause(row["op"], row["answer"])
    if verdict is Verdict.BLOCKED:
        return reason
    hole = f" (a known hole: {row['hole']})" if row["hole"] else ""
    expected = f"should be {row['expected']}" if verdict is Verdict.BREACH else verdict.meaning
    more = f": {reason}" if reason else ""
    return f"{verdict.word.upper()}, {expected}{more}{hole}"


def _pids(row: Mapping[str, Any]) -> str:
    """``140``, or ``140[7]`` where its own pid namespace calls it 7."""
    own = row.get("ns_pid")
    return f"{row['pid']}[{own}]" if own and own != row["pid"] else str(row["pid"])


def _place_word(place: str) -> str:
    """``pod:1f3a…,docker:0123456789ab``: what stands behind it in a line is ours."""
    return one_word(place.replace(", ", ",").replace(" ", ":"))


def line(row: Mapping[str, Any], wall_ns: int | None, setters: Setters, bit5: Bit5) -> str:
    """One decision as a line, whole: nothing is cut."""
    op, kind, flags = str(row["op"]), str(row["kind"]), row["flags"]
    request = describe(op, kind, row["arg"], row["offset"], row["length"], row["size"], bit5)
    vm = row.get("vm") or 0
    name = object_text(kind, row["name"], row["dev"], row["ino"], vm)
    told = answer(op, row["answer"], flags).removeprefix("= ")
    if not row["ino"] and not row["name"] and not vm:
        name = ""  # it made no file
    words = [
        time_of_day(wall_ns),
        f"{one_word(row['comm'] or '?')}/{_pids(row)}",
        f"({_place_word(place)})" if (place := row.get("place")) else "",
        op,
        request,
        one_word(name),
        "->",
        told,
    ]
    if flags:
        words += marks(flags)
    reason = why(row, setters)
    return printable(" ".join(filter(None, words)) + (f"  {reason}" if reason else ""))


_SETTING = (Op.ADD_SEALS, Op.CREATE)
_SETTING_WORDS = tuple(op.name.lower() for op in _SETTING)
_RACED = int(Flag.RACED_SEALS | Flag.ENTRY_MISSING | Flag.RETURN_MISSING)
_OF_LINE = (
    "time_ns", "comm", "pid", "op", "kind", "name", "dev", "ino", "gen", "arg", "offset", "length",
    "size", "seals", "seals_after", "answer", "flags", "verdict", "expected", "reason", "hole",
    "place", "ns_pid", "user_stack", "vm",
)  # fmt: skip


_OF_MEANINGS = ("op", "kind", "arg", "seals", "seals_after", "flags")


class _Held(NamedTuple):
    """A decision that is to be printed."""

    told: str | dict[str, Any]
    sample: int
    """Of its callers; 0: there are none to be waited for."""
    until_s: float
    """Of the monotonic clock: then it waits no longer."""


class Printer:
    """An observer of decisions: writes those that are wanted, each as a line."""

    def __init__(
        self,
        write: Write,
        wall: Wall,
        *,
        query: Query,
        all_: bool,
        as_json: bool,
        bit5: Bit5,
        callers: "Callers | None" = None,
    ) -> None:
        """``all_``: what was simply allowed, too. ``wall``: boot clock to real time, ns.

        ``callers``: who called is printed below each line, as far as that was recorded.
        """
        self._callers = callers
        self._held: deque[_Held] = deque()
        self._late: list[_Held] = []
        """Lines that were written without their callers."""
        self._last: _Held | None = None
        """The last line, if nothing was written behind it."""
        self.cold = False
        """The first names will take a while: no line waits for them."""
        self._write, self._wall, self._query = write, wall, query
        self._all, self._json, self._bit5 = all_, as_json, bit5
        self.setters = Setters()
        self.count = 0
        """Lines written."""
        self.window = EVERYTHING
        """Written is what is of this time; who set a seal before is known all the same."""

    def __call__(self, judged: "Judged") -> None:
        """The next decisions, in their order."""
        wanted = self._wanted(judged)
        told = np.isin(judged["op"], _SETTING)
        places = np.flatnonzero(wanted | told)
        columns = readable(judged) if len(places) else {}
        if not self._json:
            columns = {name: columns[name] for name in _OF_LINE if name in columns}
        for start in range(0, len(places), _MANY):
            some = places[start : start + _MANY]
            until_s = time.monotonic() + (_LATE_S if self._json else _WAIT_S)
            for row, shown in zip(_rows(columns, some), wanted[some].tolist(), strict=True):
                if shown:
                    self._held.append(self._waiting(row, until_s))
                if row["op"] in _SETTING_WORDS:
                    self._learn(row)
            self.release()

    def text(self, row: dict[str, Any]) -> str:
        """One judged row as a line or as JSON, with who called as far as that is known now."""
        return self._whole(self._waiting(row, 0.0))

    def _waiting(self, row: dict[str, Any], until_s: float) -> "_Held":
        return _Held(self._told(row), row.get("user_stack", 0) if self._callers else 0, until_s)

    def release(self, *, all_: bool = False) -> None:
        """Writes what waits for nothing any more; ``all_``: nothing will come."""
        now_s = time.monotonic() if self._held or self._late else 0.0
        came: list[_Held] = []
        ready: list[_Held] = []
        late: list[_Held] = []
        for one in self._late:
            over = all_ or self._known(one.sample) or now_s >= one.until_s + _LATE_S
            (came if over else late).append(one)
        while self._held:
            first = self._held[0]
            if first.sample and not (all_ or now_s >= first.until_s or self._known(first.sample)):
                break
            ready.append(self._held.popleft())
        if not ready and not came:
            return
        cold = self.cold and not all_ and any(one.sample for one in ready)
        self.cold = self.cold and not cold
        if self._callers is not None and not cold:
            self._callers.ask(one.sample for one in (*came, *ready))
        self._late = late
        text = [self._called(one, below=came == [self._last]) for one in came]
        for one in ready:
            if all_ or self._json or not one.sample or (self._known(one.sample) and not cold):
                text.append(self._whole(one))
                self._last = None
            else:
                text.append(f"{one.told}\n")
                self._late.append(one)
                self._last = one
        self.count += len(ready)
        self._write("".join(text))

    def interrupted(self) -> None:
        """Something else was written: who called the last line is not right below it any more."""
        self._last = None

    def _called(self, held: "_Held", *, below: bool) -> str:
        """Who called, of a line that was written before; ``below``: right above. Else it begins as
        that line does."""
        called = [] if self._callers is None else self._callers.lines(held.sample)
        if below:
            self._last = None
            return "".join(f"{_INDENT}{printable(one)}\n" for one in called)
        head = " ".join(str(held.told).split(" ", 3)[:3])
        lines = [f"{_INDENT}who called at {head}:", *(f"{_INDENT * 2}{one}" for one in called)]
        return "".join(f"{printable(one)}\n" for one in lines)

    def _known(self, sample: int) -> bool:
        return self._callers is not None and self._callers.stacks.of(sample) is not None

    def _whole(self, held: "_Held") -> str:
        """A line, or an object of JSON, with who called."""
        callers = self._callers if held.sample else None
        if isinstance(held.told, dict):
            more = {} if callers is None else callers.data(held.sample)
            return json.dumps(held.told | more) + "\n"
        below = [] if callers is None else callers.lines(held.sample)
        return "".join([held.told + "\n", *(f"{_INDENT}{printable(one)}\n" for one in below)])

    def _wanted(self, judged: "Judged") -> Any:
        wanted = np.ones(judged.rows, bool)
        since_ns, until_ns = self.window
        if since_ns is not None:
            wanted &= judged["time_ns"] >= since_ns
        if until_ns is not None:
            wanted &= judged["time_ns"] < until_ns
        if not self._all:
            wanted &= judged["verdict"] != Verdict.ALLOWED
        if self._query and wanted.any():
            wanted &= self._query.mask(readable(judged))
        return wanted

    def _told(self, row: dict[str, Any]) -> str | dict[str, Any]:
        """One judged row as a line, or as the values of JSON."""
        wall_ns = self._wall(row["time_ns"])
        if not self._json:
            return line(row, wall_ns, self.setters, self._bit5)
        reason = why(row, self.setters)
        more: dict[str, Any] = {
            "verdict": Verdict(row["verdict"]).word,
            "why": printable(reason),
            **meanings(**{name: row[name] for name in _OF_MEANINGS}, bit5=self._bit5),
        }
        # A foreign recording may have anything there.
        more |= {name: row[name] and printable(row[name]) for name in ("comm", "name")}
        return {"time": iso(wall_ns), **row, **more}

    def _learn(self, row: dict[str, Any]) -> None:
        """From a call that made a file or sealed one.

        Where two raced, either may have set a seal: nobody is named then.
        """
        if -MAX_ERRNO <= row["answer"] < 0 or row["flags"] & _RACED:
            return
        key = row["dev"], row["ino"], row["gen"]
        if row["op"] == "create":
            self.setters.made(key)
        who = f"{one_word(row['comm'] or '?')}/{row['pid']}"
        self.setters.saw(key, row["seals"], row["seals_after"], row["time_ns"], who)


def _rows(columns: Mapping[str, Any], places: Any) -> Iterator[dict[str, Any]]:
    """Some rows of judged columns, as Python values."""
    lists: dict[str, list[Any]] = {}
    for name, column in columns.items():
        codes = getattr(column, "codes", None)
        if codes is None:
            lists[name] = column[places].tolist()
        else:
            lists[name] = [None if c < 0 else column.words[c] for c in codes[places].tolist()]
    for values in zip(*lists.values(), strict=True):
        yield dict(zip(lists, values, strict=True))


def unseen(manifest: "Manifest") -> Iterator[str]:
    """What this recording cannot show, and why: hooks that could not attach."""
    for hook in manifest.hooks:
        if hook.essential and hook.requested and hook.state() is HookState.FAILED:
            yield printable(f"unseen: {hook.unseen} ({hook.reason})")


class Trace:
    """Follows one recording and writes its decisions."""

    def __init__(
        self,
        path: str,
        write: Write,
        note: Write,
        *,
        query: Query,
        all_: bool = False,
        as_json: bool = False,
        on_alert: OnAlert | None = None,
        window: Window | None = None,
        names: "Names | None" = None,
    ) -> None:
        """Opens it; StoreError. ``note`` is given what stands between the lines, in sentences.

        ``names``: user stacks are printed, with names by these.
        """
        self._feed = LiveFeed(path, on_alert=on_alert)
        self._tell = note
        manifest = self._feed.recording.manifest
        self._feed.names = names
        self._feed.open(on_alert)
        callers = None
        if names is not None:
            from tracer.stacks.shown import Callers

            callers = Callers(self._feed.book.source.stacks, names)
        self.printer = Printer(
            write,
            self._wall,
            query=query,
            all_=all_,
            as_json=as_json,
            bit5=manifest.bit5,
            callers=callers,
        )
        self.printer.window = window or EVERYTHING
        self.printer.cold = self._feed.recording.end is None
        self._callers = callers
        self._feed.book.decisions.observe(self.printer)
        self._reported: dict[str, int] = {}
        self._sentences: set[str] = set()
        for sentence in unseen(manifest):
            note(sentence)

    def _wall(self, time_ns: int) -> int | None:
        return self._feed.book.clock.at(time_ns)

    def step(self) -> bool:
        """Writes what is new, for a moment; whether there was more."""
        more = self._feed.read(time.monotonic() + _SLICE_S)
        self.printer.release(all_=not more and self._feed.now().state in _OVER)
        self._losses()
        return more

    def run(self, flush: Callable[[], object], going_on: Callable[[], bool]) -> None:
        """Until the recording ends, or ``going_on`` says that it is enough."""
        while going_on():
            more = self.step()
            flush()
            if not more:
                if self._feed.now().state in _OVER:
                    break
                time.sleep(_PAUSE_S)

    def there(self) -> dict[str, int]:
        """How many decisions there were of each verdict so far, printed or not, and ``loss``."""
        counts = self._feed.book.watch.counts
        lost = sum(n for word, n in self._feed.book.losses.items() if word not in NO_EVENT)
        return {verdict.word: int(counts[verdict]) for verdict in Verdict} | {"loss": lost}

    def close(self) -> None:
        """Reads no more."""
        self.printer.release(all_=True)
        self._feed.stop()

    def _note(self, sentence: str) -> None:
        self.printer.interrupted()
        self._tell(sentence)

    def _losses(self) -> None:
        for word, count in self._feed.book.losses.items():
            new = count - self._reported.get(word, 0)
            if new > 0 and word not in NO_EVENT - {*CONTEXT}:
                self._reported[word] = count
                lost = "incomplete" if word in CONTEXT else "LOST"
                self._note(f"{lost}: {new} x {LOSSES.get(word, word)}")
        names = () if self._callers is None else self._callers.notes()
        for sentence in (*self._feed.problems(), *names):
            if sentence not in self._sentences:
                self._sentences.add(sentence)
                self._note(sentence)
