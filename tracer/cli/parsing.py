"""How every verb's ``--help`` looks."""

import argparse
from typing import Any


def add_verb(subparsers: Any, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    """A subparser whose help ends with ``epilog`` as it is written, examples first."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
