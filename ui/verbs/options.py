"""What ``live`` and ``replay`` have in common: options, and what they need of a terminal."""

import argparse
import os
import re
import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from tracer.cli.options import (
    policy,
    stack_names,
    stack_options,
    violation_command,
    violation_options,
)
from tracer.cli.verb import Verb, filter_option, filter_query
from tracer.errors import UserError
from tracer.escape import printable
from tracer.steps import OPENING, StatusLine

if TYPE_CHECKING:
    from ui.session import View

LEAST_WIDTH, LEAST_HEIGHT = 50, 14
"""As in ui.screens.base, which would import Textual for every ``--help``."""
DEFAULT_PORT = 8321


class ViewVerb(Verb):
    """A verb that shows a recording in a terminal or, with ``--web``, in a browser."""

    def options(self, parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("the view")
        group.add_argument(
            "--theme",
            metavar="NAME",
            help="colours: sealsnoop, sealsnoop-light, or one of Textual's",
        )
        filter_option(group, "start with this filter; / changes it (see 'sealsnoop script --help')")
        group.add_argument("--no-bell", action="store_true", help="do not ring on a breach")
        stack_options(group)
        violation_options(group, "meanwhile, in their own tab")
        group.add_argument(
            "--web", action="store_true", help="show it in a browser on this host, not here"
        )
        group.add_argument(
            "--port",
            type=int,
            metavar="N",
            help=f"of --web, on 127.0.0.1 (default: {DEFAULT_PORT})",
        )

    def values(self) -> Mapping[str, Collection[str]]:
        return {"--theme": known_themes()}

    def run(self, args: argparse.Namespace) -> int:
        """Shows it; 0 after q."""
        self.check(args)
        port_, violation, policy_ = port(args), violation_command(args.on_violation), policy(args)
        query = filter_query(args)
        if args.web:
            from ui.web import serve_recording

            words = [*viewer_words(args), *self.own_words(args)]
            return serve_recording(self.name, args.recording, words, port_)
        refuse_without_terminal(args.recording)
        with StatusLine(quiet=in_browser()) as line:
            line.show(OPENING)  # Textual takes half a second
            theme_ = theme(args)
            from ui.session import View

        names = stack_names(args)
        view = View(theme_, not args.no_bell, violation, policy_, in_browser(), query, names)
        return self.show(args, view)

    def check(self, args: argparse.Namespace) -> None:
        """UserError: a value is wrong, or options exclude each other."""

    def own_words(self, args: argparse.Namespace) -> list[str]:
        """The words that give a view behind ``--web`` the options that only this verb has."""
        return []

    def show(self, args: argparse.Namespace, view: "View") -> int:
        """Shows it in the terminal; returns the exit code."""
        raise NotImplementedError


def in_browser() -> bool:
    """Whether a server runs us behind pipes (Textual's own sign of that)."""
    return bool(os.environ.get("TEXTUAL_DRIVER"))


def refuse_without_terminal(recording: str | None) -> None:
    """UserError: no terminal, a dumb or too small one; and what to use instead.

    ``recording`` is what was to be shown, None for one that would start now.
    """
    if in_browser():
        return
    problem = _problem()
    if problem:
        raise UserError(f"{problem}; {_instead(recording)}")


def _problem() -> str:
    # Textual draws on stderr and reads stdin; stdout is data, which a view has none of.
    streams = {"input": sys.stdin, "output": sys.stdout, "error": sys.stderr}
    missing = [name for name, stream in streams.items() if stream is None or not stream.isatty()]
    if missing:
        return f"the view needs a terminal, and standard {missing[0]} is none"
    if os.environ.get("TERM", "") in ("", "dumb"):
        return f"the view cannot be drawn on a terminal with TERM={os.environ.get('TERM', '')!r}"
    width, height = _size()
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return (
            f"the terminal has {width}x{height} cells, and the view needs "
            f"{LEAST_WIDTH}x{LEAST_HEIGHT}"
        )
    return ""


def _size() -> tuple[int, int]:
    """Cells; a terminal that does not know (a serial line) is taken for 80x24, as Textual does."""
    try:
        width, height = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        width = height = 0
    return width or 80, height or 24


def _instead(recording: str | None) -> str:
    name = "S.seal" if recording is None else printable(recording)
    readers = (
        f"'sealsnoop script --follow {name}' prints every decision, 'sealsnoop report {name}' "
        "the sums"
    )
    if recording is None:
        return f"'sealsnoop record -o S.seal' records without one, and beside it {readers}"
    return readers


def theme(args: argparse.Namespace) -> str:
    """The theme of ``--theme``. UserError: there is none of that name."""
    from ui import themes

    return themes.check(themes.DEFAULT if args.theme is None else args.theme, known_themes())


def known_themes() -> list[str]:
    """What ``--theme`` may name, ours first."""
    from textual.theme import BUILTIN_THEMES

    from ui import themes

    return [*(own.name for own in themes.OWN), *BUILTIN_THEMES]


def viewer_words(args: argparse.Namespace) -> list[str]:
    """The words on a command line that give a view behind ``--web`` the same options.

    UserError: one that does not go with ``--web``.
    """
    words = [] if args.theme is None else [f"--theme={theme(args)}"]
    if args.on_violation is not None:
        raise UserError(
            "--on-violation: not with --web, where anyone who loads the page would run it"
        )
    words += ["--no-bell"] if args.no_bell else []
    words += [f"--filter={one}" for one in args.filter]
    words += [f"--debug-dir={os.path.abspath(one)}" for one in args.debug_dir]
    words += ["--debuginfod"] if args.debuginfod else []
    if args.policy is not None:
        words.append(f"--audit={os.path.abspath(args.policy)}")
    return words


def port(args: argparse.Namespace) -> int:
    """The port of ``--web``. UserError: no port, or not with ``--web``."""
    if args.port is None:
        return DEFAULT_PORT
    if not args.web:
        raise UserError("--port: only with --web")
    if not 0 <= args.port <= 65535:
        raise UserError(f"--port: {args.port} is not a port (1 to 65535; 0: any that is free)")
    number: int = args.port
    return number


def speed(text: str) -> float:
    """``--speed``: 0.1 to 100, with or without an ``x``; ``max`` for as fast as possible."""
    if text in ("max", "inf"):
        return float("inf")
    if re.fullmatch(r"\d+(\.\d*)?x?|\.\d+x?", text, re.ASCII):
        value = float(text.removesuffix("x"))
        if 0.1 <= value <= 100:
            return value
    raise UserError(f"--speed: {text!r} is not 0.1 to 100, or max")
