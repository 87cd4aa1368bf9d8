"""``sealsnoop live`` whose recorder is tests.tty.writer: for kernels that cannot be traced.

``python -m tests.tty.view [-o S] [-- CMD]``; all else is the real thing.
"""

import sys

from tracer.cli import main as tracer_main
from tracer.live import recorder
from ui import session


def main() -> int:
    own, command = sys.argv[1:], list[str]()
    if "--" in own:
        place = own.index("--")
        own, command = own[:place], own[place + 1 :]
    output = own[own.index("-o") + 1] if "-o" in own else None
    options = [word for word in own if word.startswith("--")]
    view = session.View("sealsnoop", True, None)
    program = (*recorder.RECORD[:2], "-m", "tests.tty.writer")
    return session.record_and_show(options, output, command, view, program)


if __name__ == "__main__":
    # What turns errors into one line is main's; only the verb is ours.
    tracer_main.run = lambda words, verbs: main()
    sys.exit(tracer_main.main())
