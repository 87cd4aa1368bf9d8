"""``sealsnoop verify``: is a recording whole and unchanged; does an audit's statement hold?"""

import argparse
import os
import re
from typing import TYPE_CHECKING

from tracer.cli.verb import Verb
from tracer.errors import UserError
from tracer.output.console import quiet_pipe, say

if TYPE_CHECKING:
    from tracer.audit.statement import Recheck
    from tracer.recording.verify import VerifyReport

_DIGEST = re.compile("[0-9a-fA-F]{64}")


class Verify(Verb):
    """Check a recording (digests, gaps), or the signed statement of an audit.

    Whether a recording is what its recorder wrote, and whether all that is missing from
    it was declared missing; or whether the statement of an audit holds.

    examples:
      sealsnoop verify trace.seal
      sealsnoop verify trace.seal --json | jq .unexplained
      sealsnoop verify trace.seal && sealsnoop report trace.seal
      sealsnoop verify trace.seal --digest 0adda477fd4d...
      sealsnoop verify audit.json --key pub.pem --recording trace.seal

    exit code, recording:
      0  whole: ended by its recorder, nothing changed, every gap declared as a loss
      1  cannot be read (no recording, no permission, written by a newer sealsnoop)
      2  damaged: files changed, removed or added, or gaps that are not declared
      3  readable, but cut off: killed, power failure, full disk, or still being written

    exit code, statement of an audit:
      0  what could be checked holds; what was not checked is listed
      1  cannot be read
      2  wrong signature, changed files, or another result when it is computed again

    With the final digest (--digest) or a signed statement (sealsnoop audit
    --statement FILE --sign KEY), any change is evident; a tail without a digest
    (recorder killed) exits 3. With neither, only accidents and careless changes
    are: who can write to a recording can also write a new chain.
    """

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "recording",
            metavar="RECORDING|STATEMENT",
            help="a NAME.seal folder, or a statement's file",
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
            help="what was audited: check it and compute the result again (repeatable)",
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

    def run(self, args: argparse.Namespace) -> int:
        """Prints the findings on stdout; the exit code is as in the help."""
        is_file = os.path.isfile(args.recording)
        found: Recheck | VerifyReport = _statement(args) if is_file else _recording(args)
        with quiet_pipe():
            if args.json:
                print(found.to_json())
            else:
                say(found.lines())
        return found.exit_code


def _statement(args: argparse.Namespace) -> "Recheck":
    if args.digest:
        raise UserError("--digest is for a recording, not for a statement")
    from tracer.audit.statement import recheck

    return recheck(args.recording, args.key, args.recordings, args.policy, args.reports)


def _recording(args: argparse.Namespace) -> "VerifyReport":
    if args.key or args.recordings or args.policy or args.reports:
        raise UserError(
            f"{args.recording} is not a statement's file: --key, --recording, --policy and "
            "--report are for one (sealsnoop audit --statement FILE)",
        )
    if args.digest is not None and not _DIGEST.fullmatch(args.digest):
        raise UserError(f"--digest: {args.digest!r} is not a SHA-256 (64 hex digits)")
    from tracer.recording.verify import verify

    return verify(args.recording, args.digest)
