"""Options that several verbs have: of a recording (``record``, ``trace``, ``live``), and of what is
to be done about violations (``trace``, ``live``, ``replay``).

Apart from ``record``: who only follows must not import what records.
"""

import argparse
import os
import shlex
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from tracer.cli.verb import actions
from tracer.errors import UserError
from tracer.escape import printable
from tracer.rules.verdicts import Verdict

if TYPE_CHECKING:
    from tracer.analysis.decisions import Window
    from tracer.audit.policy import Policy
    from tracer.filter.query import Query
    from tracer.stacks.names import Names
    from tracer.walltime import Period


STACKS = ("denied", "breach", "all", "off", "kernel")
"""Words of ``--stacks``: one of the first four, or ``kernel``, or both."""


def recording_options(
    parser: argparse.ArgumentParser,
    output: str = "the recording, a folder (default: NAME-DATE-TIME.seal here)",
    stacks_default: str = "off",
) -> None:
    """Adds the options that whoever records has; ``output``: the help of ``-o``."""
    parser.add_argument("-o", "--output", metavar="S", help=output)
    parser.add_argument("--force", action="store_true", help="replace an existing recording")
    parser.add_argument(
        "--duration",
        type=float,
        metavar="SECONDS",
        help="stop after this time; a command that still runs is ended",
    )
    parser.add_argument(
        "--max-size",
        metavar="SIZE",
        help="stop, with exit code 3, when the recording takes this much on disk (500M, 2G)",
    )
    parser.add_argument(
        "--method",
        choices=("auto", "fexit", "kprobe"),
        default="auto",
        help="how to attach (default: fexit; kprobe where the kernel preempts inside fexit)",
    )
    parser.add_argument(
        "--source",
        choices=("bpf", "ftrace"),
        default="bpf",
        help="where events come from: BPF programs, or, where BPF is off, kprobe events in tracefs",
    )
    parser.add_argument(
        "--ring",
        type=int,
        metavar="MB",
        default=32,
        help="size of the ring buffer, a power of two (default: 32)",
    )
    parser.add_argument(
        "--no-baseline",
        action="store_true",
        help="do not read who had memory files open or mapped before",
    )
    parser.add_argument(
        "--no-self-test",
        action="store_true",
        help="do not test on scratch files how this kernel decides and whether hooks report",
    )
    parser.add_argument(
        "--stacks",
        metavar="WORD,…",
        help="who called, to the outermost caller, of these decisions: denied; breach: what "
        "succeeded on a file with a seal that may forbid it; all; off. With kernel beside it "
        "(denied,kernel; kernel alone is that) the kernel's own functions, too (default: "
        f"{stacks_default})",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="errors and losses only")
    group = parser.add_argument_group("filters (in the kernel; all must hold)")
    group.add_argument(
        "--pid",
        type=int,
        action="append",
        metavar="N",
        default=[],
        help="this process and the children it makes from now on; repeatable",
    )
    group.add_argument(
        "--uid",
        action="append",
        metavar="USER",
        default=[],
        help="processes of this user, by name or number; repeatable",
    )
    group.add_argument(
        "--cgroup",
        action="append",
        metavar="PATH",
        default=[],
        help="tasks in this cgroup v2 folder or below it; repeatable",
    )
    group.add_argument(
        "--file",
        metavar="PATH",
        action="append",
        default=[],
        help="only this memory file, whoever touches it: /proc/PID/fd/N, another path, or the "
        "numbers that a report shows, MAJOR:MINOR/INODE; repeatable (any of them)",
    )
    group.add_argument(
        "--name",
        metavar="PREFIX",
        default="",
        help="only files whose name starts with this prefix (a memfd's without 'memfd:')",
    )
    group.add_argument(
        "--seals",
        metavar="S,S",
        default="",
        help="files that carry all of these seals, e.g. write,grow",
    )
    group.add_argument(
        "--ops",
        metavar="OP,OP",
        default="",
        help="hook only these operations, e.g. mmap,write,add_seals",
    )
    group.add_argument(
        "--no-cmdline",
        action="store_true",
        help="do not read the command lines of who acts; names of programs are still recorded",
    )
    group.add_argument("--denied", action="store_true", help="only operations that failed")
    group.add_argument(
        "--unsealable",
        action="store_true",
        help="also files that can never be sealed: tmpfs files, and memfds without "
        "MFD_ALLOW_SEALING (of these, creation is recorded in any case)",
    )


RECORDINGS = "NAME.seal folders, or patterns that name them; of several, some may be unreadable"


def jobs_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--jobs``: for who reads recordings whole."""
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        default=1,
        help="processes that read and judge (default 1); each starts in half a second and takes "
        "memory of its own: worth it from a million decisions on, or for many recordings",
    )


def stack_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds ``--debug-dir``: for who shows user stacks."""
    parser.add_argument(
        "--debug-dir",
        metavar="DIR",
        action="append",
        default=[],
        help="where debug files lie by build id, for functions and lines in stacks; repeatable "
        "(default: /usr/lib/debug)",
    )
    parser.add_argument(
        "--debuginfod",
        action="store_true",
        help="fetch debug files that are not here from the servers of $DEBUGINFOD_URLS; these "
        "learn by it what was traced",
    )


def stack_names(args: argparse.Namespace) -> "Names":
    """What looks names up for stacks; UserError: a folder is none."""
    from tracer.stacks.debuginfod import Debuginfod, servers
    from tracer.stacks.files import DEBUG_DIRS, Files
    from tracer.stacks.names import Names

    for folder in args.debug_dir:
        if not os.path.isdir(folder):
            raise UserError(f"--debug-dir {printable(folder)}: is no folder")
    debuginfod = Debuginfod(servers()) if args.debuginfod else None
    return Names(Files(args.debug_dir or DEBUG_DIRS, debuginfod))


FAIL_ON = (*(verdict.word for verdict in reversed(Verdict)), "loss")
"""What ``--fail-on`` may name of one recording."""
TIMES = """\
times (--since, --until), local time where they name no zone:
  03:00                   the last one before the recording's end; --until: the
                          first one after --since
  yesterday 03:00, 2026-11-29 03:00, 2026-11-29T02:00:12.5Z, Nov 29 03:00:12
  10m ago, now            before now
  1.5, +2s, 3m            after the recording's start
  -10s                    before its end
"""
"""Help for :func:`time_options`."""


def time_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, what: str = "decisions"
) -> None:
    """Adds ``--since`` and ``--until``; ``what``: of which they limit."""
    parser.add_argument(
        "--since", metavar="TIME", help=f"only {what} from this time on (see below)"
    )
    parser.add_argument("--until", metavar="TIME", help=f"only {what} before this time")


def period(args: argparse.Namespace) -> "Period":
    """What ``--since`` and ``--until`` ask for. UserError: they are no times."""
    from tracer.walltime import Period, moment

    return Period(
        None if args.since is None else moment(args.since, "--since"),
        None if args.until is None else moment(args.until, "--until"),
    )


def window(args: argparse.Namespace, path: str) -> "Window":
    """:func:`period` in a recording. StoreError; UserError: it cannot be found there."""
    from tracer.analysis.decisions import EVERYTHING, Window

    wanted = period(args)
    if not wanted:
        return EVERYTHING
    from tracer.output.console import tell
    from tracer.recording.reader import Recording

    with Recording.open(path) as recording:
        return Window(*wanted.limits(path, recording.clock(), recording.last_ns, tell))


def filters_of_kernel(args: argparse.Namespace) -> None:
    """Puts ``--filter`` into the options of the kernel's filters.

    UserError: a word that is none of them, or that an option says already.
    """
    if not args.filter:
        return
    from tracer.cli.verb import filter_query
    from tracer.filter.pushdown import options

    for name, value in options(filter_query(args), args.audit).values().items():
        if getattr(args, name, None):
            raise UserError(f"--{name} and --filter say different things; give one of them")
        setattr(args, name, value)


def words_of_filter(args: argparse.Namespace, query: "Query") -> list[str]:
    """Words for a recorder whose rows are filtered by ``query`` afterwards, beside its options."""
    from tracer.filter.pushdown import lossless

    found = lossless(query)
    if args.ops:
        found = replace(found, ops=())
    if args.name or args.unsealable:  # the kernel takes no prefix off a tmpfs file's name
        found = replace(found, name="")
    return found.words()


def recorder_words(args: argparse.Namespace) -> list[str]:
    """The words that give ``record`` the values of its options in ``args``, all but ``-o``."""
    parser = argparse.ArgumentParser(add_help=False)
    recording_options(parser)
    words: list[str] = []
    for action in actions(parser):
        value = getattr(args, action.dest)
        if action.dest == "output" or value == action.default:
            continue
        option = action.option_strings[-1]
        if action.nargs == 0:
            words.append(option)
            continue
        # One word each: a value may start with a dash.
        words += [f"{option}={one}" for one in (value if isinstance(value, list) else [value])]
    return words


def violation_command(text: str | None) -> list[str] | None:
    """The words of ``--on-violation``. UserError: none, or no such program."""
    if text is None:
        return None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"--on-violation: {str(error).lower()}: {text!r}") from None
    if not words:
        raise UserError("--on-violation: no command given")
    if shutil.which(words[0]) is None:
        raise UserError(f"--on-violation: {words[0]!r} is not a program that can be run")
    return words


def policy(args: argparse.Namespace) -> "Policy | None":
    """The policy of ``--audit``. PolicyError, UserError: it cannot be read."""
    if args.policy is None:
        return None
    from tracer.audit import policy as policies
    from tracer.audit.scope import check_where

    found = policies.load(args.policy)
    for claim in found.claims:
        check_where(claim.scope)
    return found


def violation_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, audited: str
) -> None:
    """Adds ``--on-violation`` and ``--audit``; ``audited``: when and where claims are shown."""
    parser.add_argument(
        "--on-violation",
        metavar="CMD",
        help="run CMD for a breach, its event as JSON on stdin; no shell, at most one a second",
    )
    parser.add_argument(
        "--audit",
        dest="policy",
        metavar="POLICY",
        help=f"check the claims of a policy (see 'sealsnoop audit') {audited}",
    )


def words_to_record(args: argparse.Namespace) -> list[str]:
    """As :func:`recorder_words`, for a verb that follows ``args.recording`` where one is given.

    UserError: both are wanted.
    """
    words = recorder_words(args)
    if args.recording is not None and (words or args.output or args.command):
        given = "a command" if args.command else words[0] if words else "-o"
        raise UserError(f"{given}: nothing is recorded when a RECORDING is followed")
    return words
