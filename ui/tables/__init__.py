"""The columns of each table on the screen."""

from collections.abc import Mapping, Sequence

from ui.columns import Column
from ui.tables.audit import AUDIT
from ui.tables.events import EVENTS, HOOKS
from ui.tables.groups import FDS, OBJECTS, PROCESSES

COLUMNS: Mapping[str, Sequence[Column]] = {
    "objects": OBJECTS,
    "fds": FDS,
    "processes": PROCESSES,
    "events": EVENTS,
    "hooks": HOOKS,
    "audit": AUDIT,
}
"""By the tab's name (ui.request.TABLES)."""
