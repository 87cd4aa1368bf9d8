"""Adding sums up: :func:`merge` of some, and :class:`Running` ones that grow batch by batch."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis.grouping import (
    Array,
    Lookup,
    added,
    arrays,
    merged,
    stacked,
)
from tracer.analysis.sums import (
    COLUMN_TYPES,
    FIRST_STEP_NS,
    RULES,
    VERDICTS,
    Listed,
    Sums,
    few_busy,
    few_cases,
    fitting,
    steps_of,
    without_old,
)

MOST_MAPPINGS = 1 << 20
"""Mappings that have ended are forgotten when there are so many."""
_MOST_PARTS = 64
_FEW = 1 << 14
"""Rows of small tables that are always worth waiting for."""


def merge(*parts: Sums) -> dict[str, pd.DataFrame]:
    """What several sums add up to; the earlier ones first, where not everything can be kept."""
    names = dict.fromkeys(name for part in parts for name in part)
    made = {
        name: add(name, [part[name] for part in parts if name in part])
        for name in names
        if name not in ("cases", "unlisted")
    }
    cases = [part["cases"] for part in parts if "cases" in part]
    unlisted = [part["unlisted"] for part in parts if "unlisted" in part]
    if cases:
        kept, dropped = few_cases(add("cases", cases))
        made["cases"] = kept
        unlisted.append(dropped)
    if unlisted := [one for one in unlisted if len(one)]:
        made["unlisted"] = add("unlisted", unlisted)
    return made


def add(name: str, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of one name, added up."""
    if len(parts) == 1:
        return parts[0]
    if name == "sealing":
        return few_busy(stacked(parts))
    found = merged(parts, RULES[name])
    return fitting(found) if name == "steps" else found


class Running(Mapping[str, pd.DataFrame]):
    """Sums that grow. Small tables wait until it is worth while to add them to a large one.

    A table is added up when it is looked at: its name gives it as it is now.
    """

    def __init__(self) -> None:
        self._large: dict[str, pd.DataFrame] = {}
        self._lookups: dict[str, Lookup] = {}
        self._small: dict[str, list[pd.DataFrame]] = {}
        self._most_mappings = MOST_MAPPINGS
        self.listed: Listed | None = None
        """Which cases there is room for, once there is none for others."""

    def copy(self) -> "Running":
        """One that can grow without changing this: tables themselves never change."""
        other = Running()
        other._large, other.listed = dict(self._large), self.listed
        other._lookups = dict(self._lookups)
        other._small = {name: list(parts) for name, parts in self._small.items()}
        return other

    def add(self, sums: Sums) -> None:
        for name, frame in sums.items():
            small = self._small.setdefault(name, [])
            small.append(frame)
            enough = max(len(self._large.get(name, ())) // 2, _FEW)
            if len(small) > _MOST_PARTS or sum(map(len, small)) > enough:
                self.table(name)

    @staticmethod
    def nothing(name: str) -> pd.DataFrame:
        """A table without rows."""
        rules = RULES[name]
        taken = [
            column
            for some in (rules.last, rules.first)
            for (when, rank), names in some.items()
            for column in (when, rank, *names)
        ]
        columns = dict.fromkeys([*rules.key, *rules.total, *rules.least, *rules.most, *taken])
        return pd.DataFrame({one: np.empty(0, COLUMN_TYPES.get(one, np.int64)) for one in columns})

    def forget_old_mappings(self) -> None:
        """Forgets mappings that ended long ago, where there are very many."""
        maps = sum(map(len, self._small.get("maps", ()))) + len(self._large.get("maps", ()))
        if maps <= self._most_mappings:
            return
        found = {name: self.table(name) for name in ("maps", "told", "baseline")}
        left = without_old({name: one for name, one in found.items() if one is not None})
        for name, frame in left.items():
            self._large[name] = frame
            self._lookups.pop(name, None)
        self._most_mappings = max(MOST_MAPPINGS, 2 * len(left["maps"]))

    def table(self, name: str) -> pd.DataFrame | None:
        """One table as it is now."""
        small = self._small.get(name)
        if small:
            more = add(name, small)
            small.clear()
            large = self._large.get(name)
            if large is None:
                self._grow(name, more)
            elif name in ("sealing", "steps"):
                self._grow(name, add(name, [large, more]))
            else:
                found, new = added(large, more, RULES[name], self.lookup(name, large))
                if new:
                    self._grow(name, found)
                else:
                    self._large[name] = found
        return self._large.get(name)

    def _grow(self, name: str, frame: pd.DataFrame) -> None:
        """Its keys are others than before."""
        if name == "cases":
            frame, dropped = few_cases(frame)
            if len(dropped):
                self._small.setdefault("unlisted", []).append(dropped)
                self.listed = Listed(frame)
        self._large[name] = frame
        self._lookups.pop(name, None)

    def lookup(self, name: str, large: pd.DataFrame) -> Lookup:
        """That of a table's keys, which is remembered."""
        if name not in self._lookups:
            self._lookups[name] = Lookup(arrays(large, RULES[name].key))
        return self._lookups[name]

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name == "unlisted":
            self.table("cases")  # of which some may have to be dropped
        found = self.table(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        self.table("cases")
        yield from dict.fromkeys([*self._large, *self._small])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Steps:
    """Decisions by verdict over time, for a picture: as the table ``steps``, of one host."""

    def __init__(self) -> None:
        self._steps = Running()

    def add(self, when: Array, verdict: Array) -> None:
        """Counts rows: their times (ns) and their verdicts."""
        if len(when):
            self._steps.add({"steps": steps_of(when, verdict)})

    def counts(self) -> tuple[int, int, npt.NDArray[np.int64]]:
        """The width of a step in ns, the number of the first one, and (steps, verdicts)."""
        steps = self._steps.table("steps")
        if steps is None:
            return FIRST_STEP_NS, 0, np.zeros((0, len(VERDICTS)), np.int64)
        width, times = int(steps["step_ns"].iloc[0]), steps["time_ns"].to_numpy()
        places = times // width
        first = int(places.min())
        found = np.zeros((int(places.max()) - first + 1, len(VERDICTS)), np.int64)
        for verdict, word in enumerate(VERDICTS):
            found[places - first, verdict] = steps[word].to_numpy()
        return width, first, found
