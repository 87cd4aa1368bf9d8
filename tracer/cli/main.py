"""Runs a verb: finds it, parses the command line, and turns every expected failure into a message.

``python -m tracer.cli.main`` has the verbs that need no terminal view; the command ``sealsnoop``
(sealsnoop.py) has them all.
"""

import importlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence

from tracer import __version__, shipped
from tracer.cli.verb import Parser, Verb, actions
from tracer.errors import Exit, UserError
from tracer.output.console import drop_output, outlets, tell_error

VERBS = {
    "record": "tracer.cli.record:Record",
    "trace": "tracer.cli.trace:Trace",
    "report": "tracer.cli.report:Report",
    "audit": "tracer.cli.audit:Audit",
    "script": "tracer.cli.script:Script",
    "ls": "tracer.cli.ls:Ls",
    "doctor": "tracer.cli.doctor:Doctor",
    "verify": "tracer.cli.verify:Verify",
    "redact": "tracer.cli.redact:Redact",
    "completion": "tracer.cli.completion:Completion",
}
"""Each verb's class, in the order of the help; a module is imported when it is needed."""

EPILOG = (
    """\
examples:
  sealsnoop doctor                        can this host be traced, and if not, why
  sudo sealsnoop trace -- CMD             what seals refuse CMD, a line each, and why
  sudo sealsnoop live -- CMD              watch what CMD and its children do
  sudo sealsnoop record -o s.seal -- CMD  record what CMD and its children do
  sealsnoop report s.seal                 was every answer right? breaches first
  sealsnoop script s.seal                 show the decisions, one a line
  sealsnoop ls                            memory files and their seals, now

exit code of every verb:
"""
    + "\n".join(f"  {int(one):<5} {one.meaning}" for one in Exit)
    + """
  'trace -- CMD' and 'record -- CMD' end with CMD's own code.

'sealsnoop VERB --help' has more about each.
"""
)


def find(path: str) -> Verb:
    """The verb whose class is at ``module:Class``."""
    module, _, name = path.partition(":")
    verb: Verb = getattr(importlib.import_module(module), name)()
    return verb


def parser(verbs: Mapping[str, str] = VERBS) -> Parser:
    """The parser of the whole command with ``verbs`` (name to class)."""
    from argparse import RawDescriptionHelpFormatter

    top = Parser(
        prog="sealsnoop",
        description="Shows every memfd seal decision that a real Linux kernel makes.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sealsnoop {__version__}")
    choices = top.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for verb in map(find, verbs.values()):
        verb.parser(choices.add_parser(verb.name, help=verb.summary, **verb.settings()))
    return top


def main(argv: Sequence[str] | None = None, verbs: Mapping[str, str] = VERBS) -> int:
    """Runs one verb.

    :param argv: the words after ``sealsnoop``; None: those of the process.
    :param verbs: name → class, as ``module:Class``.
    :return: its exit code; expected failures are printed as one message.
    :raises SystemExit: after ``--help`` and ``--version``.
    """
    with outlets():
        try:
            return run(list(sys.argv[1:] if argv is None else argv), verbs)
        except UserError as error:
            tell_error(str(error))
            return error.exit_code
        except KeyboardInterrupt:
            tell_error("interrupted")
            return Exit.INTERRUPTED
        except BrokenPipeError:
            drop_output()
            return Exit.FINE


def run(words: list[str], verbs: Mapping[str, str]) -> int:
    """Runs the verb that ``words`` start with.

    :raises UserError: wrong words, or what the verb could not do.
    :raises SystemExit: of ``--help`` and ``--version``.
    """
    # What comes after "--" is another program's: argparse must not look at it.
    own, command = words, None
    if "--" in words:
        place = words.index("--")
        own, command = words[:place], words[place + 1 :]
    if not own:
        parser(verbs).print_help()
        return Exit.FAILED
    if own[0] not in verbs:
        try:
            parser(verbs).parse_args(own)
        finally:
            sys.stdout.flush()  # of --help: here a closed pipe is still ours to deal with
    verb = find(verbs[own[0]])
    own_parser = verb.parser()
    try:
        args = own_parser.parse_args(own[1:])
    finally:
        sys.stdout.flush()
    if command is not None and not verb.takes_command:
        own_parser.error(f"{verb.name} takes no command after --")
    if command == []:  # an empty $CMD must not record the whole host
        own_parser.error("no command after --")
    _by_name(own_parser, args)
    args.command = command or []
    args.verbs = verbs
    code = verb.run(args)
    sys.stdout.flush()
    return code


_NAMED = {
    "RECORDING": shipped.recording,
    "RECORDING|STATEMENT": shipped.recording,
    "POLICY": shipped.policy,
}
"""What comes with us can be called by its name, wherever a path of that kind is taken."""


def _by_name(parser: ArgumentParser, args: Namespace) -> None:
    for action in actions(parser):
        find = _NAMED.get(str(action.metavar))
        given = getattr(args, action.dest, None)
        if find is None or not given:
            continue
        setattr(args, action.dest, find(given) if isinstance(given, str) else [*map(find, given)])


if __name__ == "__main__":
    sys.exit(main())
