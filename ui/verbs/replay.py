"""``sealsnoop replay``: a recording as it came, at any speed."""

import argparse
from typing import TYPE_CHECKING

from ui.verbs.options import ViewVerb, speed

if TYPE_CHECKING:
    from ui.session import View


class Replay(ViewVerb):
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
        super().options(parser)

    def check(self, args: argparse.Namespace) -> None:
        speed(args.speed)

    def own_words(self, args: argparse.Namespace) -> list[str]:
        start = [f"--from={args.start}"] if args.start is not None else []
        return [f"--speed={args.speed}", *start]

    def show(self, args: argparse.Namespace, view: "View") -> int:
        """Shows it; 0 after q."""
        from tracer.live.alerts import OnViolation
        from tracer.live.replay import ReplayFeed
        from ui import session

        path, policy = args.recording, view.policy
        hook = None if view.on_violation is None else OnViolation(view.on_violation, path)
        feed = ReplayFeed(
            path, speed=speed(args.speed), start=args.start, on_alert=hook, policy=policy
        )
        return session.run(view.app(feed), hook)
