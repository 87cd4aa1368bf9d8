"""``sealsnoop completion``: a script that lets a shell complete verbs, options and their values."""

import argparse
from collections.abc import Collection, Mapping
from typing import Any

from tracer import shipped
from tracer.cli import completion_words
from tracer.cli.options import STACKS
from tracer.cli.verb import Verb, actions
from tracer.errors import Exit

SHELLS = ("bash", "zsh", "fish")
_FOLDERS = ("S",)
_FILES = ("FILE", "KEY", "PUB", "P")


class Completion(Verb):
    """Print a completion script for bash, zsh or fish.

    Verbs, options, recordings and policies are completed, and values: operations,
    seals, themes, and the keys and words of --filter (op:mmap,write verdict:breach).

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
        print(script(args.shell, args.verbs))
        return Exit.FINE


def script(shell: str, verbs: Mapping[str, str]) -> str:
    """The script for one of :data:`SHELLS`; ``verbs``: name → class."""
    import shtab

    from tracer.cli.main import find, parser

    top = parser(verbs)
    shared = _shared_values()
    for action in actions(top):
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                _mark(verb, {**shared, **find(verbs[name]).values()})
    text = shtab.complete(top, shell, preamble=completion_words.preamble(shell))
    return str(text) + completion_words.ending(shell)


def _shared_values() -> dict[str, Collection[str]]:
    """Option → its values, of the options that several verbs have."""
    from tracer.kernel.audit_families import ALL_FAMILIES
    from tracer.words import BY_NAME, Op

    hooked = {op for family in ALL_FAMILIES for op in family.ops}
    return {
        "--ops": [op.name.lower() for op in Op if op in hooked],
        "--seals": [name.lower() for name in BY_NAME],
        "--stacks": STACKS,
    }


def _mark(parser: argparse.ArgumentParser, values: Mapping[str, Collection[str]]) -> None:
    """Tells shtab what each argument takes, by what it is called in the help."""
    import shtab

    by_metavar = {
        **dict.fromkeys(_FOLDERS, shtab.DIRECTORY),
        **dict.fromkeys(_FILES, shtab.FILE),
        "EXPR": completion_words.filters(),
        "RECORDING": completion_words.named_folders(shipped.recordings()),
        "RECORDING|STATEMENT": completion_words.named_files(shipped.recordings()),
        "POLICY": completion_words.named_files(shipped.policies()),
        "USER": completion_words.USERS,
    }
    for action in actions(parser):
        option = action.option_strings[-1] if action.option_strings else ""
        known: Any = by_metavar.get(str(action.metavar))
        if option in values and action.nargs != 0:  # that of script takes none
            several = "," in str(action.metavar)
            known = completion_words.choices(values[option], several)
        if known is not None:
            action.complete = known  # type: ignore[attr-defined]
