"""How every verb's ``--help`` looks."""

import argparse
import re
from typing import Any

from tracer.errors import UserError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(?:i?B)?", re.ASCII)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


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


def size(option: str, text: str) -> int:
    """Bytes of ``500M`` or ``1.5G``; K, M, G and T are powers of 1024. UserError."""
    found = _SIZE.fullmatch(text.strip())
    count = int(float(found[1]) * (1 << _UNITS[found[2].upper()])) if found else 0
    if not found or not 0 < count < 1 << 62:
        raise UserError(f"{option}: {text!r} is no size; it is written 500M or 2G", 2)
    return count
