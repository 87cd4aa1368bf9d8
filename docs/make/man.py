"""``man/*.1`` from the options themselves, the help's epilogs and ``text/man.toml``.

The sections come in the order of bcc's pages (``man/man8`` in its repository), and EXIT STATUS
behind FIELDS.
"""

import argparse
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.make.roff import blocks, bold, escaped, filled, italic, paragraphs, shown
from sealsnoop import verbs as all_verbs
from tracer import __version__
from tracer.cli.main import parser
from tracer.cli.verb import actions

_TEXT = Path(__file__).parent / "text/man.toml"
_EXIT = ("exit code", "The exit code")
_OPTIONS = ("positional arguments", "options")


def pages() -> dict[str, str]:
    """File name → page, of the command and of every verb."""
    text = tomllib.loads(_TEXT.read_text())
    top = parser(all_verbs())
    (verbs,) = (one for one in actions(top) if isinstance(one, argparse._SubParsersAction))
    summaries = {one.dest: one.help or "" for one in verbs._choices_actions}
    found = {"sealsnoop.1": _page("sealsnoop", top, "watch and judge memfd seal decisions", text)}
    for name, verb in verbs.choices.items():
        found[f"sealsnoop-{name}.1"] = _page(name, verb, summaries[name], text)
    return found


def _page(
    name: str, command: argparse.ArgumentParser, summary: str, text: Mapping[str, Any]
) -> str:
    title = name if name == "sealsnoop" else f"sealsnoop-{name}"
    lines = [
        r".\" Made by `make docs` from the options and docs/make/text/man.toml: edit those.",
        f'.TH {title.upper()} 1 "{text["date"]}" "sealsnoop {__version__}" "User Commands"',
        ".nh",  # names of pages and options stay in one piece
        ".ad l",
    ]
    for heading, body in _sections(name, title, command, summary, text):
        lines += [f".SH {heading}", *body]
    return "\n".join(lines) + "\n"


def _sections(
    name: str,
    title: str,
    command: argparse.ArgumentParser,
    summary: str,
    text: Mapping[str, Any],
) -> Iterator[tuple[str, list[str]]]:
    own, common = text[name], text["all"]
    epilog = _epilog(command.epilog or "")
    description = f"{command.description}\n\n{own.get('description', '')}\n\n{epilog['']}"
    needs = f"{common['requires_' + own['requirements']]}\n{own.get('more_requirements', '')}"
    fields = f"{epilog['fields']}\n\n{own['fields']}"
    overhead = own.get("overhead", common["overhead_reader"])
    yield "NAME", [rf"{escaped(title)} \- {escaped(summary)}"]
    yield "SYNOPSIS", list(_synopsis(command))
    yield "DESCRIPTION", list(paragraphs(description))
    yield "REQUIREMENTS", list(paragraphs(needs))
    yield "OPTIONS", [*_options(command), *_filters(epilog["filters"])]
    yield "EXAMPLES", list(shown(epilog["examples"]))
    yield "FIELDS", list(paragraphs(fields))
    if epilog["exit"]:
        yield "EXIT STATUS", list(paragraphs(epilog["exit"]))
    yield "OVERHEAD", list(paragraphs(overhead))
    yield "SOURCE", list(paragraphs(common["source"]))
    yield "OS", list(paragraphs(common["os"]))
    yield "STABILITY", list(paragraphs(common["stability"]))
    yield "AUTHOR", list(paragraphs(common["author"]))
    yield "SEE ALSO", list(_see_also(title))


def _epilog(text: str) -> dict[str, str]:
    """The help's epilog by section; "" is what belongs to the description."""
    found = dict.fromkeys(("", "examples", "filters", "exit", "fields"), "")
    for block in blocks(text):
        if block.startswith("examples:\n"):
            section, block = "examples", block.partition("\n")[2]
        elif block.startswith("filters ("):
            section = "filters"
        elif block.startswith(_EXIT):
            section = "exit"
        elif block.startswith("columns of"):
            section = "fields"
        else:
            section = ""
        found[section] += f"{block}\n\n"
    return found


def _synopsis(command: argparse.ArgumentParser) -> Iterator[str]:
    if command.usage:
        usages = [one.strip() for one in command.usage.split("\n")]
    else:
        words = [_metavar(one) for one in actions(command) if not one.option_strings]
        usages = [" ".join([command.prog, "[OPTION ...]", *words])]
    for place, usage in enumerate(usages):
        if place:
            yield ".br"
        words = usage.split()
        count = len(command.prog.split())
        yield f"{bold(' '.join(words[:count]))} {escaped(' '.join(words[count:]))}"


def _metavar(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest)
    return f"{name} ..." if action.nargs in ("+", argparse.PARSER) else name


def _options(command: argparse.ArgumentParser) -> Iterator[str]:
    for group in command._action_groups:
        if not group._group_actions:
            continue
        if group.title not in _OPTIONS:
            yield f".SS {escaped(str(group.title))}"
        for action in group._group_actions:
            if isinstance(action, argparse._SubParsersAction):
                for verb in action._choices_actions:
                    yield from _option(
                        bold(verb.dest), f"{verb.help}; see sealsnoop-{verb.dest}(1)"
                    )
            elif action.help != argparse.SUPPRESS:
                yield from _option(_heading(action), _help(command, action))


def _option(heading: str, text: str) -> Iterator[str]:
    yield from (".TP", heading)
    yield from filled(text)


def _heading(action: argparse.Action) -> str:
    if not action.option_strings:
        return italic(str(action.metavar or action.dest))
    value = ""
    if action.nargs != 0:
        words = "|".join(map(str, action.choices or ()))
        value = f" {italic(str(action.metavar or words or action.dest.upper()))}"
    return ", ".join(f"{bold(option)}{value}" for option in action.option_strings)


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = command._get_formatter()._expand_help(action) if action.help else ""
    text = text.replace("(see below)", "(see Filters below)")
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _filters(text: str) -> Iterator[str]:
    if text:
        yield ".SS Filters"
        yield from paragraphs(text)


def _see_also(title: str) -> Iterator[str]:
    names = ["sealsnoop", *(f"sealsnoop-{verb}" for verb in all_verbs())]
    others = [rf".BR {escaped(name)} (1)," for name in names if name != title]
    yield from [*others, r".BR memfd_create (2),", ".BR fcntl (2)"]
