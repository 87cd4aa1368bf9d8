"""sealsnoop: every seal decision of a Linux kernel, recorded and judged. The public API.

::

    import sealsnoop

    found = sealsnoop.load("program.seal")
    found.by_fd       # a DataFrame: decisions by process, descriptor and memory file
    found.decisions   # one row a decision, with its verdict

:func:`main` is the command ``sealsnoop``; ``python -m sealsnoop`` runs it too.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracer import __version__, shipped

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from tracer.analysis.api import Analysis
    from tracer.analysis.decisions import Keep

__all__ = ["__version__", "load", "main"]


def load(
    *paths: str | os.PathLike[str],
    keep: "Keep | None" = None,
    executor: "Executor | None" = None,
) -> "Analysis":
    """Opens recordings; their tables are read and judged when they are first used.

    >>> found = load("debian-6.1")
    >>> int((found.decisions["verdict"] == "breach").sum())
    8
    >>> sorted(found.by_object.query("breach > 0")["name"])[:2]
    ['memfd:future-write-merge-0', 'memfd:future-write-merge-1']

    :param paths: ``NAME.seal`` folders, finished or still being written; or names of recordings
        that come with sealsnoop.
    :param keep: which decisions count in the sums, for example
        ``tracer.filter.query.parse("op:mmap verdict:breach").mask``; None: all.
    :param executor: who reads and counts parts of them, with the interface of
        :mod:`concurrent.futures`: ``tracer.analysis.parts.processes(2)``, or a cluster's whose
        machines see the same paths; None: this process.
    :return: tables as DataFrames: ``decisions``, ``by_object``, ``by_fd``, ``by_process``,
        ``by_op``, ``by_rule``, ``late_seals`` and more (:mod:`tracer.analysis.api`).
    :raises tracer.recording.errors.StoreError: one cannot be read.
    """
    from tracer.analysis import api

    found = (shipped.recording(os.fspath(path)) for path in paths)
    return api.load(*found, keep=keep, executor=executor)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command ``sealsnoop`` with all its verbs.

    :param argv: the words after ``sealsnoop``; None: those of the process.
    :return: the exit code, as in the help of each verb.
    :raises SystemExit: after ``--help`` and ``--version``.
    """
    from tracer.cli import main as command

    return command.main(argv, verbs())


def verbs() -> dict[str, str]:
    """Each verb and its class, in the order of the help."""
    from tracer.cli.main import VERBS
    from ui.verbs import VERBS as VIEWS

    return {"record": VERBS["record"], **VIEWS, **VERBS}


if __name__ == "__main__":
    sys.exit(main())
