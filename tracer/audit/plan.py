"""The recorded hook plan: which families were live, and whether the self-test saw them report."""

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tracer.audit.results import Doubt, Need
from tracer.model.escape import printable
from tracer.report.coverage import hook_state


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return printable(value) if isinstance(value, str) else ""


@dataclass(frozen=True)
class Plan:
    """What a manifest says of hooks; it may be somebody else's, so wrong types count as missing."""

    steps: Mapping[str, Mapping[str, Any]]
    tests: Mapping[str, tuple[int, int, int]] | None
    """Of the self-test, by family: expected, seen, extra. None: it did not run."""
    failed: str
    """Why the self-test failed; empty: it did not."""
    gaps: tuple[Doubt, ...]
    arrived: frozenset[str]
    """Hooks in modules that were attached while it recorded."""

    def need(self, family: str, way: str) -> Need:
        """How ``family`` was served."""
        step = self.steps.get(family)
        if step is None:
            return Need(family, way, "not hooked", "", "", "", "no hook of this recorder sees it")
        symbol, method = _text(step.get("symbol")), _text(step.get("method"))
        state = hook_state(step, self.arrived)
        tested = ""
        if state == "live" and self.tests is not None:
            expected, seen, extra = self.tests.get(family, (0, 0, 0))
            tested = f"{seen} of {expected}" if expected or extra else "not tried"
            tested += f" and {extra} that nobody made" if extra else ""
        return Need(family, way, state, symbol, method, tested, _text(step.get("reason")))

    def untried(self) -> tuple[str, ...]:
        """Live families of which the self-test, though it ran, made no attempt.

        They count as live: that they report was seen by the project's own tests on booted kernels,
        not on the recorded one (`tracer.selftest.ways` says why). Reports name them.
        """
        if self.tests is None:
            return ()
        needs = (self.need(family, "") for family in self.steps)
        return tuple(one.family for one in needs if one.tested == "not tried")

    def hook(self, family: str) -> str:
        """The hook word that losses have for a family; empty: not known."""
        return str(self.steps.get(family, {}).get("hook") or "")

    def doubts(self, needs: Mapping[str, str]) -> Iterator[Doubt]:
        """Why the families in ``needs`` (family to way) do not show everything."""
        from tracer.audit.ways import WAYS

        live = False
        for family, way in needs.items():
            need = self.need(family, way)
            if not need.holds:
                why = f" ({need.reason})" if need.reason else ""
                yield Doubt("not-hooked", f"{WAYS[way].text}: {family} is {need.state}{why}.")
                continue
            live |= need.state == "live"
            expected, seen, extra = (self.tests or {}).get(family, (0, 0, 0))
            if need.state == "live" and (seen != expected or extra):
                yield Doubt("self-test", f"Hook {family} reported {need.tested} attempts in the "
                            "self-test.")  # fmt: skip
        if live and self.failed:
            yield Doubt("self-test", f"The self-test failed: {self.failed}.")
        elif live and self.tests is None:
            yield Doubt("self-test", "The self-test did not run: that the hooks report what "
                        "happens was not confirmed.")  # fmt: skip
        hooks = {self.hook(family) for family in needs}
        for gap in self.gaps:
            if gap.hooks is None or gap.hooks & hooks:
                yield gap


def plan_of(manifest: Mapping[str, Any], baseline: pd.DataFrame) -> Plan:
    """The plan in ``manifest``; ``baseline`` tells when hooks in modules came and went."""
    raw = manifest.get("hooks")
    listed = [_dict(step) for step in raw] if isinstance(raw, list) else []
    steps = {str(step.get("family")): step for step in listed}
    test = _dict(manifest.get("self_test"))
    tests = None
    if test.get("ran") is True and isinstance(test.get("hooks"), dict):
        tests = {
            str(family): (
                _int(_dict(one).get("expected")),
                _int(_dict(one).get("seen")),
                _int(_dict(one).get("extra")),
            )
            for family, one in test["hooks"].items()
        }
    gaps, arrived = _modules(baseline)
    return Plan(steps, tests, _text(test.get("failed")), gaps, arrived)


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _modules(baseline: pd.DataFrame) -> tuple[tuple[Doubt, ...], frozenset[str]]:
    rows = baseline[baseline["op"] == "attach"]
    gaps = []
    for hook, answer, unseen_ns in zip(
        rows["hook"], rows["answer"], rows["duration_ns"], strict=True
    ):
        said = {0: "came and was hooked", -errno.EOPNOTSUPP: "came and could not be hooked"}.get(
            answer, "went"
        )
        gaps.append(
            Doubt(
                "not-hooked",
                f"The module of hook {printable(str(hook))} {said} while it was recorded; up to "
                f"{unseen_ns / 1e6:.1f} ms of it are unseen.",
                frozenset({str(hook)}),
            )
        )
    return tuple(gaps), frozenset(str(hook) for hook in rows[rows["answer"] == 0]["hook"])
