"""What a booted kernel left behind: results, recordings and truths, read on the host."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tests.kernel.ground_truth import HOOKS, Truth, load_truth
from tests.kernel.guest_tools import PROJECT, preempts
from tracer.recording.reader import Recording
from tracer.recording.verify import VerifyReport, verify

KERNELS = {"6.1": "6.1.", "newest": "7."}
"""What is tested: names of tests/vm/kernels.toml, and how the release behind each begins."""

LIVES = "6.1"
"""The one of them on which the scenes of tests/kernel/guest.py's LIFE are played too."""

HOSTS = "newest"
"""The one of them that `make test` boots for guests of its own, audits and attacks; `make matrix`
boots both."""

MATRIX = ("5.10", "6.1", "6.12", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3", "newest")
"""What each of Debian's kernels is asked in short. Two names of one build are booted once."""

BESIDE = ("5.10", "6.12", "6.19")
"""Those of them that `make test` boots beside `KERNELS`, of which it asks the same and more: the
oldest, one with each hole that `KERNELS` have not, and the one with another user space."""


@dataclass(frozen=True)
class UserSpace:
    """A Debian other than this machine's."""

    suite: str
    name: str
    """What it calls itself."""
    kernel: str
    """The kernel of the matrix that is booted with it."""


USER_SPACE = UserSpace("trixie", "Debian GNU/Linux 13 (trixie)", "6.12")
"""A later bcc, Python and C library than Debian 12's, which the other guests mostly have; with its
own kernel."""

SEALSNOOP = PROJECT / ".venv" / "bin" / "sealsnoop"


@dataclass(frozen=True)
class Told:
    """How one ``sealsnoop`` in the guest ended, and what it said."""

    code: int
    stdout: str
    stderr: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Run(Told):
    """One recording made in the guest."""

    path: Path

    def table(self, name: str) -> pd.DataFrame:
        with Recording.open(self.path) as recording:
            return recording.frame(name)

    @cached_property
    def events(self) -> pd.DataFrame:
        with Recording.open(self.path) as recording:
            return recording.frame("events", names=True)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        with Recording.open(self.path) as recording:
            return dict(recording.manifest.document)

    @cached_property
    def end(self) -> dict[str, Any] | None:
        with Recording.open(self.path) as recording:
            return dict(recording.end.document) if recording.end else None

    @cached_property
    def verified(self) -> VerifyReport:
        return verify(self.path)

    @property
    def hooked(self) -> set[str]:
        """Operations whose hook was set; what was not is in the manifest with its reason."""
        live = [hook for hook in self.manifest["hooks"] if hook["method"]]
        return {op for op, name in HOOKS.items() for one in live
                if one["hook"] == name and op in one["ops"]}  # fmt: skip

    def totals(self, column: str) -> dict[str, int]:
        """The last word of each hook that said something."""
        last = self.table("totals").groupby("hook", observed=True)[column].last()
        return {str(hook): int(value) for hook, value in last.items()}

    def per(self, column: str) -> dict[str, int]:
        return dict(Counter(self.events[column].astype(str)))

    def script(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """``sealsnoop script`` of it, on this host."""
        return _host("script", self.path, *options)

    def report(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """``sealsnoop report`` of it, on this host."""
        return _host("report", self.path, *options)

    @property
    def misses(self) -> int:
        """Runs of its programs that the kernel skipped, as the recording itself declares them."""
        lost = self.end["lost"] if self.end else {}
        return sum(lost.get(cause, 0) for cause in ("missed", "no_entry", "no_return"))

    def check_whole(self, context: Collection[str] = ()) -> None:
        """Ended by its recorder, no loss of any kind, and the kernel's counts are the events.

        ``context``: causes by which no event is lost, and that may be there all the same.
        """
        assert self.verified.exit_code == 0, self.verified.lines()
        assert not self.verified.holes
        losses = self.table("losses")
        assert losses["cause"].isin(list(context)).all(), losses.to_string()
        assert self.end is not None
        assert set(self.end["lost"]) <= set(context)
        assert self.end["unsaved"] == 0
        assert self.end["in_flight"] == 0
        decided, dropped = self.totals("decided"), self.totals("dropped")
        passed = {hook: decided[hook] - dropped[hook] for hook in decided}
        assert {hook: n for hook, n in passed.items() if n} == self.per("hook")


def _host(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SEALSNOOP, *arguments], capture_output=True, text=True, check=False, errors="strict"
    )


class Booted:
    """One kernel's folder."""

    def is_whole(self, run: Run, method: str, context: Collection[str] = ()) -> bool:
        """Whether nothing is missing, which is demanded but for one case; that one is False.

        The case: fexit on a kernel that preempts tasks (scenes_decisions.UNPREEMPTED says why).
        Of that it is demanded that every skipped program is declared.
        """
        if not (self.preempts and method == "fexit" and run.misses):
            run.check_whole(context)
            return True
        assert run.end is not None
        assert set(run.end["lost"]) <= {"missed", "no_entry", "no_return", *context}
        return False

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self._results: dict[str, dict[str, Any]] = json.loads((folder / "results.json").read_text())
        self._runs: dict[str, Run] = {}
        self._truths: dict[str, Truth] = {}

    @property
    def release(self) -> str:
        return str(self.facts("guest")["release"])

    @property
    def preempts(self) -> bool:
        return preempts(self.facts("guest")["preemption"])

    @property
    def failed_scenes(self) -> dict[str, str]:
        return {
            name: facts["error"]
            for name, facts in self._results.items()
            if name.startswith("scene ") and facts["error"]
        }

    @property
    def complaints(self) -> str:
        """What the kernel's console has that may explain a failure."""
        signs = r"rcu: .*stall|lockup|blocked for more than|WARNING: |BUG: "
        text = (self.folder / "console.log").read_text(errors="replace")
        return "\n".join(line for line in text.splitlines() if re.search(signs, line))

    @property
    def scenes(self) -> dict[str, float]:
        """Seconds of each scene that was played."""
        played = (name for name in self._results if name.startswith("scene "))
        return {name.removeprefix("scene "): self._results[name]["seconds"] for name in played}

    def facts(self, name: str) -> dict[str, Any]:
        """A result by name; a missing one fails with what went wrong in the guest."""
        problems = "\n".join(self.failed_scenes.values())
        assert name in self._results, f"the guest has no result {name!r}\n{problems}"
        return self._results[name]

    def told(self, name: str) -> Told:
        facts = self.facts(name)
        assert "code" in facts, f"{name} did not end: {self._text(name, 'stderr')}"
        return Told(facts["code"], self._text(name, "stdout"), self._text(name, "stderr"), facts)

    def run(self, name: str) -> Run:
        if name not in self._runs:
            told = self.told(name)
            path = self.folder / f"{name}.seal"
            assert path.is_dir(), f"no recording {name}: {told.stderr}"
            self._runs[name] = Run(told.code, told.stdout, told.stderr, told.facts, path)
        return self._runs[name]

    def truth(self, name: str) -> Truth:
        if name not in self._truths:
            self._truths[name] = load_truth(self.folder / f"{name}.jsonl")
        return self._truths[name]

    def stderrs(self) -> dict[str, str]:
        return {
            path.stem: path.read_text(errors="replace") for path in self.folder.glob("*.stderr")
        }

    def _text(self, name: str, stream: str) -> str:
        return (self.folder / f"{name}.{stream}").read_text(errors="replace")
