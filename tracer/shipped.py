"""What comes with sealsnoop, each called by its name: policies, and recordings of real kernels.

They lie beside the packages, in the checkout as in what a wheel installs.
"""

import os
from pathlib import Path

from tracer.errors import UserError, hint, nearest
from tracer.escape import printable

_SAMPLES = Path(__file__).resolve().parents[1] / "samples"


def policies() -> dict[str, Path]:
    """Name → file, of each policy."""
    return _by_name("policies", ".toml")


def recordings() -> dict[str, Path]:
    """Name → folder, of each recording."""
    return _by_name("recordings", ".seal")


def _by_name(folder: str, suffix: str) -> dict[str, Path]:
    return {path.stem: path for path in sorted((_SAMPLES / folder).glob(f"*{suffix}"))}


def policy(given: str) -> str:
    """The path of a policy.

    :param given: a path, or the name of one that comes with us; ``./NAME`` is a file of that name.
        Where somebody put one does not change what the name means.
    :raises UserError: it is neither, and not written as a path.
    """
    found = _find(given, policies())
    if found == given and not os.path.lexists(given) and "/" not in given:
        known = policies()
        meant = hint(nearest(given.removesuffix(".toml"), known), known)
        raise UserError(
            f"policy {printable(given)}: no such file, and none of that name comes with sealsnoop; "
            f"{meant}"
        )
    return found


def recording(given: str) -> str:
    """The path of a recording: ``given``, or that of the one that comes with us by this name."""
    return _find(given, recordings())


def _find(given: str, known: dict[str, Path]) -> str:
    return os.fspath(known[given]) if given in known else given
