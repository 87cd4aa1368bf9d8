"""Local time, when a test has set ``TZ``."""

import time

from tracer import walltime


def changed() -> None:
    """The C library and what remembers local times look at the zone again."""
    time.tzset()
    walltime._local.cache_clear()
