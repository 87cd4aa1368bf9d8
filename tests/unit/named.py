"""Cgroups that tests know by name: as root made them, and as somebody else would have liked to."""

from tests.unit.cgroup_forms import ID
from tests.unit.recording.test_places import ROOT, SLICE, row

SSH, WEB, VM, FORGED = 3, 4, 6, 8
UNTOLD = 99
"""Of which nothing is recorded."""
NAMED = (
    ROOT,
    SLICE,
    row(SSH, 2, b"ssh.service"),
    row(WEB, 2, f"docker-{ID}.scope".encode()),
    row(5, 1, b"machine.slice"),
    row(VM, 5, b"machine-qemu\\x2d1\\x2dbank.scope"),
    row(7, 2, b"open.service"),
    row(FORGED, 7, f"docker-{ID}.scope".encode(), user=1000),
)
