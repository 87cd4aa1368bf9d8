"""The verbs of the terminal view."""

VERBS = {"live": "ui.verbs.live:Live", "replay": "ui.verbs.replay:Replay"}
"""Each verb's class (tracer.cli.verb)."""
