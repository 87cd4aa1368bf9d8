"""Facts about the host that a recording needs to be understood elsewhere.

Doctor tells them too, also where numpy is missing.
"""

import os
import platform
import socket
import sys
from pathlib import Path
from typing import Any

from tracer import __version__


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def facts() -> dict[str, Any]:
    """JSON values: kernel, boot, machine and the versions of what recorded it."""
    kernel = os.uname()
    return {
        "kernel": {
            "release": kernel.release,
            "version": kernel.version,
            "machine": kernel.machine,
            "command_line": _text("/proc/cmdline"),
        },
        "boot_id": _text("/proc/sys/kernel/random/boot_id"),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "clock_source": _text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "page_size": os.sysconf("SC_PAGESIZE"),
        "memfd_noexec": _text("/proc/sys/vm/memfd_noexec"),
        "tool": {"sealsnoop": __version__, "python": platform.python_version()},
        "command_line": sys.argv,
    }
