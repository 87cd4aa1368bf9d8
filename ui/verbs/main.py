"""The command ``sealsnoop`` with every verb: tracer's own, and the views on top of it.

``tracer`` cannot name these, since it does not know ``ui``; so the command is put together here.
"""

import sys
from collections.abc import Sequence

from tracer.cli import main as tracer_main

VIEWS = {"live": "ui.verbs.live", "replay": "ui.verbs.replay"}
VERBS = {
    "record": tracer_main.VERBS["record"],
    **VIEWS,
    **tracer_main.VERBS,
    "completion": "ui.verbs.completion",
}
"""In the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns its exit code."""
    return tracer_main.main(argv, VERBS)


if __name__ == "__main__":
    sys.exit(main())
