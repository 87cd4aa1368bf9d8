"""``sealsnoop completion``: a script that lets a shell complete verbs, options and paths."""

import argparse
from typing import Any

from tracer.cli import main as parsing

SHELLS = ("bash", "zsh", "fish")
EPILOG = """\
examples:
  source <(sealsnoop completion bash)     this shell, now
  sealsnoop completion bash > ~/.local/share/bash-completion/completions/sealsnoop
  sealsnoop completion zsh > ~/.zfunc/_sealsnoop
  sealsnoop completion fish > ~/.config/fish/completions/sealsnoop.fish

For zsh, ~/.zfunc must be in fpath before compinit is called in ~/.zshrc:
  fpath+=~/.zfunc; autoload -Uz compinit; compinit
"""

_FOLDERS = ("RECORDING", "RECORDING|STATEMENT", "S")
_FILES = ("POLICY", "FILE", "KEY", "PUB", "P")


def add_parser(subparsers: Any) -> None:
    """Adds the verb ``completion``."""
    parser = parsing.add_verb(
        subparsers, "completion", "print a completion script for bash, zsh or fish", EPILOG
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the script for ``args.shell``."""
    import shtab

    from tracer.cli.main import parser
    from ui.verbs.main import VERBS

    top = parser(VERBS)
    _paths(top, {**dict.fromkeys(_FOLDERS, shtab.DIRECTORY), **dict.fromkeys(_FILES, shtab.FILE)})
    print(shtab.complete(top, args.shell))
    return 0


def _paths(parser: argparse.ArgumentParser, kinds: dict[str, Any]) -> None:
    """Tells shtab which arguments are paths, by what they are called in the help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _paths(verb, kinds)
        elif isinstance(action.metavar, str) and action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
