"""``sealsnoop verify``: is a recording whole and unchanged; does an audit's statement hold?"""

import argparse
import os
import re
from typing import Any

from tracer.errors import UserError
from tracer.output.console import quiet_pipe, say

_EPILOG = """\
exit status, recording:
  0  whole: ended by its recorder, nothing changed, every gap declared as a loss
  1  cannot be read (no recording, no permission, written by a newer sealsnoop)
  2  damaged: files changed, removed or added, or gaps that nobody declared
  3  readable, but cut off: killed, power failure, full disk, or still being written

exit status, statement of an audit:
  0  what could be checked holds; what was not checked is said
  1  cannot be read
  2  wrong signature, changed files, or another result when it is computed again

Any change is evident to whoever holds the final digest (--digest) or a signed
statement (sealsnoop audit --statement FILE --sign KEY); a tail without a digest
(recorder killed) exits 3. Who holds neither sees accidents and careless changes:
who can write to a recording can also write a new chain.

examples:
  sealsnoop verify trace.seal
  sealsnoop verify trace.seal --json | jq .unexplained
  sealsnoop verify trace.seal && sealsnoop report trace.seal
  sealsnoop verify trace.seal --digest 0adda477fd4d...
  sealsnoop verify audit.json --key pub.pem --recording trace.seal
"""

_DIGEST = re.compile("[0-9a-fA-F]{64}")


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds the verb ``verify``."""
    parser = subparsers.add_parser(
        "verify",
        help="check a recording (digests, gaps), or the signed statement of an audit",
        description="Checks that a recording is what its recorder wrote, and that what is missing "
        "from it was declared missing; or that the statement of an audit holds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "recording", metavar="RECORDING|STATEMENT", help="a NAME.seal folder, or a statement's file"
    )
    parser.add_argument("--json", action="store_true", help="the findings as one JSON object")
    parser.add_argument(
        "--digest",
        metavar="HEX",
        help="its final digest, as it was printed when it was whole",
    )
    statement = parser.add_argument_group("of a statement")
    statement.add_argument("--key", metavar="PUB", help="public key of who signed it (PEM)")
    statement.add_argument(
        "--recording",
        metavar="S",
        dest="recordings",
        action="append",
        default=[],
        help="what was audited: check it and compute the result again (may come several times)",
    )
    statement.add_argument("--policy", metavar="P", help="the policy that it should be about")
    statement.add_argument(
        "--report",
        metavar="FILE",
        dest="reports",
        action="append",
        default=[],
        help="a report (--html, --sarif) of the same audit",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the findings on stdout; the exit status is as in the help."""
    if os.path.isfile(args.recording):
        if args.digest:
            raise UserError("--digest is for a recording, not for a statement", 2)
        from tracer.audit.statement import recheck

        found = recheck(args.recording, args.key, args.recordings, args.policy, args.reports)
        with quiet_pipe():
            _print(found.to_json() if args.json else None, found.lines())
        return found.exit_code
    if args.key or args.recordings or args.policy or args.reports:
        raise UserError(
            f"{args.recording} is not a statement's file: --key, --recording, --policy and "
            "--report are for one (sealsnoop audit --statement FILE)",
            2,
        )
    if args.digest is not None and not _DIGEST.fullmatch(args.digest):
        # Not 2: nothing is known to be wrong with the recording.
        raise UserError(f"--digest: {args.digest!r} is no SHA-256, which is 64 hex digits", 1)
    from tracer.recording.verify import verify

    report = verify(args.recording, args.digest)
    with quiet_pipe():
        _print(report.to_json() if args.json else None, report.lines())
    return report.exit_code


def _print(as_json: str | None, lines: list[str]) -> None:
    if as_json is None:
        say(lines)
    else:
        print(as_json)
