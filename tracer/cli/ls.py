"""``sealsnoop ls``: the memory files on this host now, with their seals and who has them."""

import argparse
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.cli.verb import Verb
from tracer.errors import UserError
from tracer.output.console import console, tell

if TYPE_CHECKING:
    from tracer.capture.memory_files import MemoryFile, Scan


class Ls(Verb):
    """List the memory files on this host now, with their seals.

    Lists memfds, hugetlb files, guest_memfds and secret memory in use now. Reads
    /proc; traces nothing and needs no kernel support. Without root, the processes of
    other users cannot be read: stderr says how many. On a terminal a table is shown,
    in a pipe tab-separated lines with sizes in bytes.

    examples:
      sealsnoop ls
      sealsnoop ls --name 'frame-*'
      sealsnoop ls --pid 4242 --json | jq .seals

    exit code: 0; 1 when nothing was found and something could not be read
    """

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object per line")
        parser.add_argument(
            "--all", action="store_true", help="also tmpfs files, which can never be sealed"
        )
        parser.add_argument(
            "--name",
            metavar="GLOB",
            help="only files with such a name (of a memfd: without memfd:)",
        )
        parser.add_argument("--pid", type=int, metavar="PID", help="only files this process has")

    def run(self, args: argparse.Namespace) -> int:
        """Lists the files; 1 where an empty list may be due to what could not be read."""
        if args.pid is not None and not Path(f"/proc/{args.pid}").is_dir():
            raise UserError(f"--pid: there is no process {args.pid}")
        scan = _scan(args)
        files = [file for file in scan.files if _wanted(file, args)]
        for problem in scan.problems:
            tell(str(problem))
        _print(files, args.json)
        if not files:
            tell("no memory file found")
        return 1 if scan.problems and not files else 0


def _wanted(file: "MemoryFile", args: argparse.Namespace) -> bool:
    from tracer.escape import escape_bytes

    if args.pid is not None:
        users = {holder.pid for holder in file.holders}
        if args.pid not in users | {mapping.pid for mapping in file.mappings}:
            return False
    return args.name is None or fnmatchcase(escape_bytes(file.shown_name), args.name)


def _scan(args: argparse.Namespace) -> "Scan":
    from tracer.capture.procfs import Scanner

    try:
        return Scanner(all_tmpfs=args.all).scan()
    except OSError as error:
        raise UserError(f"/proc cannot be read: {error.strerror}; is it mounted?") from error


def _print(files: list["MemoryFile"], as_json: bool) -> None:
    from tracer.output import text as forms

    if as_json or not sys.stdout.isatty():
        for line in forms.json_lines(files) if as_json else forms.lines(files):
            print(line)
    elif files:
        console().print(forms.table(files))
    sys.stdout.flush()
