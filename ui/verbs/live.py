"""``sealsnoop live``: decisions while they are made, in a terminal or a browser."""

import argparse
from typing import TYPE_CHECKING

from tracer.cli.options import recorder_words, recording_options, words_to_record
from ui.verbs.options import ViewVerb

if TYPE_CHECKING:
    from ui.session import View


class Live(ViewVerb):
    """Show decisions while they are made: record and look, or follow.

    A recorder process of its own writes the recording; the view follows it. Ending
    the view ends the recorder in order. Without -o the recording is temporary; r in
    the view keeps it under a name. ? in the view lists all keys.

    examples:
      sudo sealsnoop live                      this host, until q
      sudo sealsnoop live -- ./program         a program and its children
      sudo sealsnoop live -o s.seal --name wl_ the recording stays in s.seal
      sealsnoop live s.seal                    a recording that is written elsewhere
      sealsnoop live s.seal --web              in a browser on this host
      sudo sealsnoop live --audit p.toml       with the claims of a policy, see audit
      sealsnoop live s.seal --on-violation 'logger -t seals --'
    """

    usage = (
        "sealsnoop live [-o S] [options] [filters] [-- CMD ...]\n"
        "       sealsnoop live RECORDING [--audit POLICY] [--theme NAME] [--no-bell]\n"
        "                      [--on-violation CMD] [--web]"
    )
    takes_command = True

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "recording", metavar="RECORDING", nargs="?", help="follow this one; record nothing"
        )
        recording_options(
            parser, "keep the recording, a folder (default: it is gone after the view)"
        )
        super().options(parser)

    def check(self, args: argparse.Namespace) -> None:
        words_to_record(args)

    def show(self, args: argparse.Namespace, view: "View") -> int:
        """Shows it; the exit code is the recorder's where it ended before the view."""
        from ui import session

        if args.recording is not None:
            return session.show(args.recording, view)
        words = recorder_words(args)
        if view.policy is not None:
            from tracer.audit.policy import RECORD_OPTIONS

            words += [word for word in RECORD_OPTIONS if word not in words]
        return session.record_and_show(words, args.output, list(args.command), view)
