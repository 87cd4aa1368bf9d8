"""tracefs, with ftrace's list of functions."""

from tracer.kernel.requirements.finding import Finding, Obstacle, Requirement, met, unmet
from tracer.kernel.requirements.host import Host

_AS_ROOT = "run as root; without the list a hook that cannot be set shows at attach time"
_UNREADABLE = Obstacle(
    "the list of traceable functions may not be read (no privilege, or lockdown)", _AS_ROOT
)
_HIDDEN = Obstacle("the list of traceable functions is hidden or ftrace is not built in", _AS_ROOT)
_NOT_MOUNTED = Obstacle(
    "tracefs is not mounted, so what can be hooked shows only at attach time",
    "mount -t tracefs tracefs /sys/kernel/tracing",
)


def tracefs(host: Host) -> Finding:
    """tracefs with ftrace's function list: tells beforehand what can be hooked."""
    for folder in ("sys/kernel/tracing", "sys/kernel/debug/tracing"):
        path = host.root / folder / "available_filter_functions"
        try:
            with path.open("rb"):
                return met("tracefs", f"/{folder}/available_filter_functions")
        except FileNotFoundError:
            continue
        except OSError as error:
            detail = f"/{folder}/available_filter_functions: {error.strerror}"
            return unmet(host, "tracefs", detail, _UNREADABLE)
    if host.mounted is not None and "tracefs" in host.mounted:
        return unmet(host, "tracefs", "tracefs has no available_filter_functions", _HIDDEN)
    return unmet(host, "tracefs", "not mounted", _NOT_MOUNTED)


TRACEFS = Requirement(
    "tracefs",
    "ftrace's function list tells beforehand which functions can be hooked.",
    tracefs,
    (_NOT_MOUNTED, _UNREADABLE, _HIDDEN),
)
