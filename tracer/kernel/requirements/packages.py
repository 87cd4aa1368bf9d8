"""What must be installed."""

from importlib.machinery import PathFinder
from pathlib import Path

from tracer.kernel.requirements.finding import Finding, Obstacle, Requirement, met, unmet
from tracer.kernel.requirements.host import Host

_BCC = "usr/lib/python3*/*-packages/bcc/libbcc.py"
"""Where distributions have it: Debian beside all its Pythons, others beside one of them."""

_NAMESAKE = Obstacle(
    "the package `bcc` found is PyPI's unrelated one, not the BPF Compiler Collection",
    "pip uninstall bcc, then {INSTALL_BCC}",
)
_NOT_SEEN = Obstacle(
    "the distribution's bcc is installed, but this Python does not see the system's packages",
    "make the environment with {PYTHON} -m venv --system-site-packages",
)
_NOT_INSTALLED = Obstacle(
    "the BPF Compiler Collection's Python package is not installed",
    "{INSTALL_BCC}",
)


def bcc(host: Host) -> Finding:
    """The BPF Compiler Collection's Python package. It is not imported: that takes a second."""
    spec = PathFinder.find_spec("bcc", list(host.python_path))
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    if any((place / "libbcc.py").exists() for place in folders):
        return met("bcc", str(folders[0]))
    if spec is not None and spec.loader is not None:
        return unmet(host, "bcc", f"{spec.origin}", _NAMESAKE)
    for found in sorted(host.root.glob(_BCC)):
        detail = f"{found.parent} is not on this Python's path"
        python = f"/usr/bin/{found.parents[2].name}"
        return unmet(host, "bcc", detail, _NOT_SEEN, PYTHON=python)
    return unmet(host, "bcc", "no module bcc", _NOT_INSTALLED)


BCC = Requirement(
    "bcc",
    "The BPF Compiler Collection's Python package, which compiles and loads the BPF programs "
    "(kernel headers and a compiler are not needed).",
    bcc,
    (_NOT_INSTALLED, _NOT_SEEN, _NAMESAKE),
)
