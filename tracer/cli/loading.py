"""Imports that many modules hang on."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Imports without looking for garbage meanwhile: they make none, and it takes a tenth of them.

    What was made stays out of the collector's sight.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""So that neither numpy nor pyarrow starts a thread when it is imported."""


def import_without_threads() -> None:
    """Imports numpy and pyarrow so that this process still has one thread.

    Privileges are each thread's own: what a thread has that was there before they are given away,
    nobody can take from it.
    """
    before = {name: os.environ.get(name) for name in _NO_THREADS}
    os.environ.update(_NO_THREADS)
    try:
        import numpy  # noqa: F401
        import pyarrow  # noqa: F401
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
