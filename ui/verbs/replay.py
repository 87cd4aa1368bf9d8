"""``sealsnoop replay``: a recording as it came, at any speed."""

import argparse

from tracer.cli.verb import Verb
from ui.verbs import options


class Replay(Verb):
    """Show a recording as it came, at any speed.

    examples:
      sealsnoop replay s.seal               as fast as it was
      sealsnoop replay s.seal --speed 10    ten times as fast
      sealsnoop replay s.seal --from 1:30   from a minute and a half on
      sealsnoop replay s.seal --speed max   all of it at once

    In the view: k plays and pauses, . goes one event on, > to the next violation,
    g to a time, + and - change the speed, ? lists all keys.
    """

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("recording", metavar="RECORDING", help="a NAME.seal folder")
        parser.add_argument(
            "--speed",
            metavar="X",
            default="1",
            help="0.1 to 100 times as fast, or max (default: 1)",
        )
        parser.add_argument(
            "--from",
            dest="start",
            metavar="T",
            help="start there: seconds (12.5), minutes (1:30) or a share (40%%)",
        )
        options.add_view_options(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Shows it; 0 after q."""
        speed, port = options.speed(args.speed), options.port(args)
        violation = options.violation_command(args.on_violation)
        policy = options.policy(args)
        if args.web:
            from ui.web import serve_recording

            words = [*options.viewer_words(args), f"--speed={args.speed}"]
            words += [f"--from={args.start}"] if args.start is not None else []
            return serve_recording("replay", args.recording, words, port)
        options.refuse_without_terminal(args.recording)
        theme = options.theme(args)
        from tracer.live.alerts import OnViolation
        from tracer.live.replay import ReplayFeed
        from ui import session

        hook = None if violation is None else OnViolation(violation, args.recording)
        feed = ReplayFeed(
            args.recording, speed=speed, start=args.start, on_alert=hook, policy=policy
        )
        view = session.View(theme, not args.no_bell, violation, policy, options.in_browser())
        return session.run(view.app(feed), hook)
