"""Names of error numbers: the kernel's, whatever the host's C library knows."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tracer.labels import ERRNOS, errno_name, errno_number

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (0, None),
        (4096, None),
        (0x7F1234567000, None),
        (-1, "EPERM"),
        (-11, "EAGAIN"),
        (-16, "EBUSY"),
        (-35, "EDEADLK"),
        (-41, "E41"),
        (-95, "EOPNOTSUPP"),
        (-133, "EHWPOISON"),
        (-134, "EFTYPE"),
        (-512, "ERESTARTSYS"),
        (-524, "ENOTSUPP"),
        (-531, "ENOGRACE"),
        (-4095, "E4095"),
        (-4096, None),
    ],
)
def test_name(answer: int, name: str | None) -> None:
    assert errno_name(answer) == name


def test_every_number_has_a_name_that_means_it() -> None:
    assert [errno_number(errno_name(-number) or "") for number in range(1, 4096)] == [
        *range(1, 4096)
    ]
    assert [errno_number(f"E{number}") for number in range(1, 4096)] == [*range(1, 4096)]


def test_no_number() -> None:
    for name in ("", "E", "E0", "E01", "E4096", "E99999", "E\u0661", "PERM", "134"):
        assert errno_number(name) is None, name


def test_this_hosts_names_are_the_same() -> None:
    """Those that both know: a newer C library may know more, or an older one less."""
    both = {name: number for name, number in ERRNOS.items() if hasattr(errno, name)}
    assert len(both) > 120
    assert both == {name: getattr(errno, name) for name in both}


HOSTS = {
    "names of its own": "errno.EHOST = 134; errno.errorcode[134] = 'EHOST'; errno.E135 = 7",
    "other numbers": "errno.EPERM = 16; errno.errorcode.update({1: 'EBUSY', 16: 'EPERM'})",
    "no names": "[delattr(errno, one) for one in errno.errorcode.values()]; "
    "errno.errorcode.clear()",
}
ASKED = """
import errno, sys
import tracer.analysis.features, tracer.filter.query
for name in [name for name in sys.modules if name.startswith("tracer.")]:
    del sys.modules[name]  # read again with the other errno; the libraries that they use are not
CHANGE
from tracer.analysis.features import _ANSWER_CODES
from tracer.filter.query import QueryError, parse
for text in ("ret:E134", "ret:EFTYPE", "ret:E135", "ret:EPERM", "ret:EHOST", "expected:EPERM"):
    try:
        print(repr(parse(text)), parse(text))
    except QueryError as error:
        print(error)
print(_ANSWER_CODES[:140].tolist())
"""


def asked(change: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", ASKED.replace("CHANGE", change)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_filter_means_the_same_on_every_host(host: str) -> None:
    """A Python whose C library has other names: sid's has one for 134."""
    here = asked("")
    assert "ret:EFTYPE" in here
    assert asked(HOSTS[host]) == here
