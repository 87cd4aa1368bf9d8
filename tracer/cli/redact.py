"""``sealsnoop redact``: a copy of a recording that can be given away."""

import argparse

from tracer.cli.verb import Verb
from tracer.errors import Exit
from tracer.labels import counted
from tracer.output.console import tell


class Redact(Verb):
    """Copy a recording without its names: pseudonyms for files, commands, cgroups and hosts.

    Names of memory files, of commands and of cgroups, paths, command lines and the
    host's name are replaced; the same text by the same pseudonym in the whole copy.
    What stays: numbers of processes, users, cgroups and inodes, sizes, times, and
    what the kernel and the self-test answered. Reports and audits of the copy say
    the same as those of the recording, in other words.

    The copy has a chain of its own, says that it is redacted, and has the final
    digest of the recording that it was made of, which tells nothing else.

    examples:
      sealsnoop redact trace.seal copy.seal
      sealsnoop verify copy.seal
      sealsnoop report copy.seal

    exit code:
      0  the copy is there
      1  the recording is damaged or is still being written; the copy is there already
    """

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("recording", metavar="RECORDING", help="a NAME.seal folder")
        parser.add_argument("out", metavar="COPY", help="the folder of the copy")
        parser.add_argument("--force", action="store_true", help="replaces another recording there")

    def run(self, args: argparse.Namespace) -> int:
        """Makes the copy, and says what was replaced on stderr."""
        from tracer.recording.redact import redact

        names = redact(args.recording, args.out, force=args.force)
        kinds = {"name": "file name", "comm": "command name", "word": "word", "path": "path"}
        told = [counted(names.count(kind), word) for kind, word in kinds.items()]
        tell(f"wrote {args.out}: {', '.join(told)} replaced; numbers and times are as they were")
        return Exit.FINE
