"""Options that ``live`` and ``replay`` have in common, and what they mean."""

import argparse
import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING

from tracer.errors import UserError

if TYPE_CHECKING:
    from tracer.audit.policy import Policy

DEFAULT_PORT = 8321


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--theme --no-bell --on-violation --audit --web --port``."""
    group = parser.add_argument_group("the view")
    group.add_argument(
        "--theme", metavar="NAME", help="colours: sealsnoop, sealsnoop-light, or one of Textual's"
    )
    group.add_argument("--no-bell", action="store_true", help="do not ring on a breach")
    group.add_argument(
        "--on-violation",
        metavar="CMD",
        help="run CMD for a breach, its event as JSON on stdin; no shell, at most one a second",
    )
    group.add_argument(
        "--audit",
        dest="policy",
        metavar="POLICY",
        help="check the claims of a policy (see 'sealsnoop audit') meanwhile, in a tab of its own",
    )
    group.add_argument(
        "--web", action="store_true", help="show it in a browser on this host, not here"
    )
    group.add_argument(
        "--port", type=int, metavar="N", help=f"of --web, on 127.0.0.1 (default: {DEFAULT_PORT})"
    )


def theme(args: argparse.Namespace) -> str:
    """The theme that was asked for. UserError (exit code 2): no such one."""
    from textual.theme import BUILTIN_THEMES

    from ui import themes

    known = {*BUILTIN_THEMES, *(own.name for own in themes.OWN)}
    return themes.check(themes.DEFAULT if args.theme is None else args.theme, known)


def violation_command(text: str | None) -> list[str] | None:
    """The words of ``--on-violation``. UserError (exit code 2): none, or no such program."""
    if text is None:
        return None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"--on-violation: {str(error).lower()}: {text!r}", 2) from None
    if not words:
        raise UserError("--on-violation: no command given", 2)
    if shutil.which(words[0]) is None:
        raise UserError(f"--on-violation: {words[0]!r} is not a program that can be run", 2)
    return words


def viewer_words(args: argparse.Namespace) -> list[str]:
    """The words on a command line that give a view behind ``--web`` the same options.

    UserError (exit code 2): one that does not go with ``--web``.
    """
    words = [] if args.theme is None else [f"--theme={theme(args)}"]
    if args.on_violation is not None:
        raise UserError("--on-violation: not with --web, where whoever loads the page runs it", 2)
    words += ["--no-bell"] if args.no_bell else []
    if args.policy is not None:
        policy(args)
        words.append(f"--audit={os.path.abspath(args.policy)}")
    return words


def policy(args: argparse.Namespace) -> "Policy | None":
    """The policy that was asked for. PolicyError, UserError: there is none such."""
    if args.policy is None:
        return None
    from tracer.audit import policy as policies
    from tracer.audit.scope import check_where

    found = policies.load(args.policy)
    for claim in found.claims:
        check_where(claim.scope)
    return found


def port(args: argparse.Namespace) -> int:
    """The port of ``--web``. UserError (exit code 2): no port, or not with ``--web``."""
    if args.port is None:
        return DEFAULT_PORT
    if not args.web:
        raise UserError("--port: only with --web", 2)
    if not 0 <= args.port <= 65535:
        raise UserError(f"--port: {args.port} is not a port (1 to 65535; 0: any that is free)", 2)
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
    raise UserError(f"--speed: {text!r} is not 0.1 to 100, or max", 2)
