"""``sealsnoop live``: decisions while they are made, in a terminal or a browser."""

import argparse

from tracer.cli.options import recording_options
from tracer.cli.verb import Verb
from tracer.errors import UserError
from ui.verbs import options


class Live(Verb):
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
        options.add_view_options(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Shows it; 0 after q, else as ``record``'s."""
        words = options.recorder_words(args)
        command = list(args.command)
        if args.recording is not None and (words or args.output or command):
            given = "a command" if command else words[0] if words else "-o"
            raise UserError(f"{given}: nothing is recorded when a RECORDING is followed", 2)
        port, violation = options.port(args), options.violation_command(args.on_violation)
        policy = options.policy(args)
        if args.web:
            from ui.web import serve_recording

            return serve_recording("live", args.recording, options.viewer_words(args), port)
        options.refuse_without_terminal(args.recording)
        theme = options.theme(args)
        from ui import session

        view = session.View(theme, not args.no_bell, violation, policy, options.in_browser())
        if args.recording is not None:
            return session.show(args.recording, view)
        if policy is not None:
            words += [word for word in options.audit_words(policy) if word not in words]
        return session.record_and_show(words, args.output, command, view)
