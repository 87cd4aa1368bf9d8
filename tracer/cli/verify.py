"""``sealsnoop verify``: is a recording whole, unchanged, and are its gaps accounted for?"""

import argparse
from typing import Any

_EPILOG = """\
exit status:
  0  whole: ended by its recorder, nothing changed, every gap declared as a loss
  1  cannot be read (no recording, no permission, written by a newer sealsnoop)
  2  damaged: files changed, removed or added, or gaps that nobody declared
  3  readable, but cut off: killed, power failure, full disk, or still being written

The digests show accidents and careless changes. They are not a signature: who
can write to the recording can also write a new chain.

examples:
  sealsnoop verify trace.seal
  sealsnoop verify trace.seal --json | jq .unexplained
  sealsnoop verify trace.seal && sealsnoop report trace.seal
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds the verb ``verify``."""
    parser = subparsers.add_parser(
        "verify",
        help="check a recording: digests, gaps, missing or added files",
        description="Checks that a recording is what its recorder wrote, and that what is missing "
        "from it was declared missing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recording", metavar="RECORDING", help="a NAME.seal folder")
    parser.add_argument("--json", action="store_true", help="the findings as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the findings on stdout; the exit status is as in the help."""
    from tracer.store.verify import verify

    report = verify(args.recording)
    print(report.to_json() if args.json else "\n".join(report.lines()))
    return report.exit_code
