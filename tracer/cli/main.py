"""Imports that many modules hang on.

How every verb's ``--help`` looks.

The command ``sealsnoop``: finds the verb, and turns every expected failure into one message.
"""

import argparse
import gc
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NoReturn

from tracer import __version__
from tracer.errors import UserError
from tracer.output.console import outlets


@contextmanager
def quick_imports() -> Iterator[None]:
    """Imports without looking for garbage meanwhile: they make none, and it takes a tenth of them.

    What was made stays out of the collector's sight.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""So that neither numpy nor pyarrow starts a thread when it is imported."""


def import_without_threads() -> None:
    """Imports numpy and pyarrow so that this process still has one thread.

    Privileges are each thread's own: what a thread has that was there before they are given away,
    nobody can take from it.
    """
    before = {name: os.environ.get(name) for name in _NO_THREADS}
    os.environ.update(_NO_THREADS)
    try:
        import numpy  # noqa: F401
        import pyarrow  # noqa: F401
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(?:i?B)?", re.ASCII)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def add_verb(subparsers: Any, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    """A subparser whose help ends with ``epilog`` as it is written, examples first."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def size(option: str, text: str) -> int:
    """Bytes of ``500M`` or ``1.5G``; K, M, G and T are powers of 1024. UserError."""
    found = _SIZE.fullmatch(text.strip())
    count = int(float(found[1]) * (1 << _UNITS[found[2].upper()])) if found else 0
    if not found or not 0 < count < 1 << 62:
        raise UserError(f"{option}: {text!r} is no size; it is written 500M or 2G", 2)
    return count


VERBS = {
    verb: f"tracer.cli.{verb}"
    for verb in ("record", "report", "audit", "script", "ls", "doctor", "verify")
}
"""Each verb's module; ui.verbs.main adds those of the terminal view."""

EPILOG = """\
examples:
  sealsnoop doctor                        can this host be traced, and if not, why
  sudo sealsnoop live -- CMD              watch what CMD and its children do
  sudo sealsnoop record -o s.seal -- CMD  record what CMD and its children do
  sealsnoop report s.seal                 was every answer right? breaches first
  sealsnoop script s.seal                 show the decisions, one a line
  sealsnoop ls                            memory files and their seals, now

'sealsnoop VERB --help' tells more of each.
"""


_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in our own form, with the nearest word that is known."""

    def error(self, message: str) -> NoReturn:
        choice = _CHOICE.search(message)
        near = get_close_matches(choice[1], re.findall(r"\w+", choice[2]), 1) if choice else []
        hint = f"did you mean {near[0]}?" if near else f"see '{self.prog} --help'"
        if message == "argument --filter: expected one argument":
            hint = "not is written !WORD, in single quotes"
        sys.stderr.write(f"sealsnoop: {message}; {hint}\n")
        sys.exit(2)


def parser(modules: Mapping[str, str] = VERBS) -> argparse.ArgumentParser:
    """The parser of these verbs (name to module)."""
    top = Parser(
        prog="sealsnoop",
        description="Shows every memfd seal decision that a real Linux kernel makes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sealsnoop {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for module in modules.values():
        importlib.import_module(module).add_parser(verbs)
    return top


def main(argv: Sequence[str] | None = None, verbs: Mapping[str, str] = VERBS) -> int:
    """Runs one of ``verbs`` (name → module with ``add_parser``); returns its exit code."""
    with outlets():
        return _main(list(sys.argv[1:] if argv is None else argv), verbs)


def _main(words: list[str], verbs: Mapping[str, str]) -> int:
    try:
        return _run(words, verbs)
    except UserError as error:
        first, *more = str(error).split("\n")
        # Further lines are indented: what they quote cannot look like another message of ours.
        more = [line if line.startswith(" ") else f"  {line}" for line in more]
        print("\n".join([f"sealsnoop: {first}", *more]), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("sealsnoop: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(words: list[str], verbs: Mapping[str, str]) -> int:
    # What comes after "--" is another program's: argparse must not look at it.
    own = words[: words.index("--")] if "--" in words else words
    # With all verbs there it takes twice as long.
    top = parser({own[0]: verbs[own[0]]} if own and own[0] in verbs else verbs)
    try:
        args = top.parse_args(own)
    except SystemExit:
        sys.stdout.flush()  # of --help: here a closed pipe is still ours to deal with
        raise
    if args.verb is None:
        top.print_help()
        return 2
    command = words[len(own) + 1 :]
    if args.verb in ("record", "audit") or getattr(args, "takes_command", False):
        if len(own) < len(words) and not command:
            # An empty $CMD must not record the whole host.
            if args.verb == "audit":  # there 2 means that a claim failed
                raise UserError("no command after --; see 'sealsnoop audit --help'")
            top.error("no command after --")
        args.command = command
    elif len(own) < len(words):
        top.error(f"{args.verb} takes no command after --")
    code: int = args.run(args)
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
