"""``sealsnoop completion``: a script that lets a shell complete verbs, options and paths."""

import argparse
from typing import Any

from tracer.cli.verb import Verb, actions
from tracer.errors import Exit

SHELLS = ("bash", "zsh", "fish")
_FOLDERS = ("RECORDING", "RECORDING|STATEMENT", "S")
_FILES = ("POLICY", "FILE", "KEY", "PUB", "P")


class Completion(Verb):
    """Print a completion script for bash, zsh or fish.

    examples:
      source <(sealsnoop completion bash)     this shell, now
      sealsnoop completion bash > \\
        ~/.local/share/bash-completion/completions/sealsnoop
      sealsnoop completion zsh > ~/.zfunc/_sealsnoop
      sealsnoop completion fish > ~/.config/fish/completions/sealsnoop.fish

    For zsh, ~/.zfunc must be in fpath before compinit is called in ~/.zshrc:
      fpath+=~/.zfunc; autoload -Uz compinit; compinit
    """

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))

    def run(self, args: argparse.Namespace) -> int:
        """Prints the script for ``args.shell``, with the verbs of the command that is running."""
        import shtab

        from tracer.cli.main import parser

        top = parser(args.verbs)
        kinds = dict.fromkeys(_FOLDERS, shtab.DIRECTORY) | dict.fromkeys(_FILES, shtab.FILE)
        _mark_paths(top, kinds)
        print(shtab.complete(top, args.shell))
        return Exit.FINE


def _mark_paths(parser: argparse.ArgumentParser, kinds: dict[str, Any]) -> None:
    """Tells shtab which arguments are paths, by what they are called in the help."""
    for action in actions(parser):
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _mark_paths(verb, kinds)
        elif isinstance(action.metavar, str) and action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
