"""The kernel's own test programs, taken from Debian's source package of a kernel.

A source package is 130 MB of which a few files are wanted, so these are kept beside the kernels
and the rest is thrown away. They are compiled when a test needs them, never shipped.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tests.vm.cache import cache_folder, lock, new_folder, say
from tests.vm.debian import HarnessError, Registry
from tests.vm.kernels import candidates, find, known

SELFTEST = "tools/testing/selftests/memfd"
_WANTED = (
    f"{SELFTEST}/*",
    "include/uapi/linux/memfd.h",
    "include/uapi/asm-generic/hugetlb_encode.h",
)
"""Members of the source tree: the test, and the headers that older C libraries have not got."""


def series(release: str) -> str:
    """``6.1`` of ``6.1.0-56-cloud-amd64``: what the source package of a kernel is named by."""
    found = re.match(r"\d+\.\d+", release)
    return found.group() if found else release


def choose(served: Sequence[str], release: str) -> str | None:
    """The source package of a kernel: its own series, else the newest one that is served."""
    packages = candidates(served, "linux-source-[0-9]*")
    own = f"linux-source-{series(release)}"
    return own if own in packages else next(iter(packages), None)


def memfd_selftest(kernel: str) -> Path:
    """The folder with ``memfd_test.c`` for a kernel of kernels.toml, fetched once.

    ``include`` beside it holds the kernel's own ``linux/memfd.h``. HarnessError when no source
    package is served or it has no such test.
    """
    release = find(kernel).release
    root = cache_folder().parent / "sources" / release
    if not root.exists():
        with lock("sources"):
            if not root.exists():  # perhaps fetched while we waited
                _fetch(known()[kernel].suites, release, root)
    return root / SELFTEST


def _fetch(suites: Sequence[str], release: str, root: Path) -> None:
    registry = Registry(cache_folder() / "apt-sources", suites)
    registry.update()
    package = choose(registry.names("linux-source-"), release)
    if package is None:
        raise HarnessError(f"no linux-source package is served in {', '.join(suites)}")
    say(f"fetching {package} for its memfd selftest")
    with new_folder(root) as work:
        registry.unpack([package], work)
        (archive,) = (work / "usr" / "src").glob("linux-source-*.tar.*")
        extract(archive, work)
        shutil.rmtree(work / "usr")
        if not (work / SELFTEST / "memfd_test.c").exists():
            raise HarnessError(f"{package} has no {SELFTEST}/memfd_test.c")
        (work / "package").write_text(package + "\n")
    registry.forget()


def extract(archive: Path, target: Path) -> None:
    """The wanted members, without the folder that the archive puts around everything."""
    with tarfile.open(archive, "r|*") as members:
        for member in members:
            name = member.name.partition("/")[2]
            wanted = any(fnmatchcase(name, pattern) for pattern in _WANTED)
            if wanted and member.isfile() and ".." not in name.split("/"):
                content = members.extractfile(member)
                assert content
                file = target / _place(name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.read())


def _place(name: str) -> str:
    """The headers go where ``-I include`` finds them as ``<linux/memfd.h>``."""
    return name.replace("include/uapi/", f"{SELFTEST}/include/")
