"""``record``'s own options for ``live``, taken from its parser, so that both have the same."""

import argparse
import importlib
from typing import TYPE_CHECKING, Any

from tracer.cli.main import VERBS

if TYPE_CHECKING:
    from tracer.audit.policy import Policy

_OWN = ("output", "help")
"""``-o`` is given to the recorder in any case."""


class _Collector:
    """Stands where ``argparse`` has its sub-parsers, and keeps the one that is made."""

    def __init__(self) -> None:
        self.parser = argparse.ArgumentParser(add_help=False)

    def add_parser(self, name: str, **more: Any) -> argparse.ArgumentParser:
        self.parser = argparse.ArgumentParser(name, add_help=False)
        return self.parser


def recording_options() -> argparse.ArgumentParser:
    """A parser with all options of ``record``, to be the parent of another."""
    collector = _Collector()
    # By its name, as the command finds it: a view does not import what records.
    importlib.import_module(VERBS["record"]).add_parser(collector)
    for action in collector.parser._actions:
        if action.dest == "output":
            action.help = "keep the recording, a folder (default: it is gone after the view)"
    return collector.parser


def recorder_words(args: argparse.Namespace) -> list[str]:
    """The words on a command line that give those options the values in ``args``; no ``-o``."""
    words: list[str] = []
    for action in recording_options()._actions:
        value = getattr(args, action.dest, action.default)
        if action.dest in _OWN or value == action.default:
            continue
        option = action.option_strings[-1]
        if action.nargs == 0:
            words.append(option)
            continue
        # One word each: a value may begin with a dash.
        words += [f"{option}={one}" for one in (value if isinstance(value, list) else [value])]
    return words


def audit_words(policy: "Policy") -> list[str]:
    """The words with which ``record`` records what a policy's claims need."""
    from tracer.audit.recording import options

    return options(policy, recording_options().format_help())
