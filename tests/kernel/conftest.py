"""One boot for each kernel: the guest does everything once, the tests read what it wrote.

A kernel that cannot be fetched or booted is an error of every test that needs it, never a skip.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.awkward import COMPAT
from tests.kernel.booted import BESIDE, HOSTS, KERNELS, LIVES, MATRIX, USER_SPACE, Booted
from tests.kernel.booting import (
    Matrix,
    boot,
    check_run,
    chosen,
    compile_memfd_test,
    played,
    results_folder,
)
from tests.kernel.guest_tools import PROJECT, wait_until
from tests.kernel.scenes_stacks import BRIEF, STACKS
from tests.vm import kernels

_BEHIND_S = 1800
_PROGRAMS = PROJECT / "tests" / "kernel" / "programs"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--guest-out",
        type=Path,
        metavar="DIR",
        help="keep what the guests write in DIR; a kernel whose results are there is not booted "
        "again (for work on the tests themselves)",
    )
    parser.addoption(
        "--guest-scenes",
        default="",
        metavar="NAME,…",
        help="boot for these scenes of tests/kernel/guest.py alone; tests of others then fail",
    )
    parser.addoption(
        "--all-kernels",
        action="store_true",
        help="every kernel; the race at length",
    )
    parser.addoption(
        "--matrix-doc", type=Path, metavar="FILE", help="write the table of kernels into FILE"
    )


@pytest.fixture(scope="session")
def programs() -> None:
    """What the guest runs, compiled here: a compiler in the emulated guest would be slow."""
    for sample in ("workload", "holes", "vmm"):
        check_run(f"samples/{sample} does not build", ["make", "-s", "-C", f"samples/{sample}"])
    (_PROGRAMS / "build").mkdir(exist_ok=True)
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
    for name in ("race", "slots", "inaccessible", "creators", "passing", "execs", "jit", "frozen"):
        files = [str(_PROGRAMS / "build" / name), str(_PROGRAMS / f"{name}.c")]
        check_run(f"{name}.c does not build", ["cc", *flags, "-o", *files])
    for name, more in {**STACKS, BRIEF: STACKS["shared"]}.items():
        source = "brief_calls.c" if name == BRIEF else "stacks.c"
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-fno-optimize-sibling-calls", *more]
        files = [str(_PROGRAMS / "build" / f"stacks-{name}"), str(_PROGRAMS / source)]
        check_run(f"{source} does not build", ["cc", *flags, "-o", *files])
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-static", "-nostdlib", "-ffreestanding"]
    flags += ["-fno-pic", "-fno-pie", "-no-pie", "-fno-stack-protector"]
    for bits, more in COMPAT.items():
        files = [str(_PROGRAMS / "build" / f"compat-{bits}"), str(_PROGRAMS / "compat.c")]
        check_run("compat.c does not build", ["cc", *flags, *more, "-o", *files])


@pytest.fixture(scope="session")
def kernel(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """What one kernel had to show."""
    name: str = request.param
    folder = results_folder(request.config, tmp_path_factory, f"kernel-{name}")
    if not (folder / "results.json").exists():
        compile_memfd_test(name, folder)
    scenes = request.config.getoption("--guest-scenes") or ",".join(played(request.config, name))
    boot(request.config, name, folder, scenes=scenes)
    return Booted(name, folder)


@pytest.fixture(scope="session")
def locked_down(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """6.1 in confidentiality lockdown."""
    folder = results_folder(request.config, tmp_path_factory, "lockdown")
    options = ("--append", "lockdown=confidentiality")
    boot(request.config, "6.1", folder, *options, scenes="lockdown")
    return Booted("6.1 in lockdown", folder)


_BEHIND = {
    "here": ["make", "--no-print-directory", "check"],
    USER_SPACE.suite: ["tests/vm/root", USER_SPACE.suite, "--", "make", "check", "SETUP=tool"],
    "lowest": [sys.executable, "tests/lowest", "tests/elsewhere", "young"],
}
"""What needs no guest and runs one after the other while guests do."""


@pytest.fixture(scope="session", autouse=True)
def behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder with what they say, and how they ended; begun with the first test of all."""
    folder = tmp_path_factory.mktemp("behind")
    if not any("checked" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield folder
        return
    lines = [
        f"nice {shlex.join(command)} >{folder}/{name} 2>&1; echo $? >{folder}/new; "
        f"mv {folder}/new {folder}/{name}.code"
        for name, command in _BEHIND.items()
    ]
    with subprocess.Popen(["sh", "-c", "\n".join(lines)], cwd=PROJECT, process_group=0) as shell:
        try:
            yield folder
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)


@pytest.fixture(params=list(_BEHIND))
def checked(request: pytest.FixtureRequest, behind: Path) -> tuple[int, str]:
    """How one of them ended, and what it said."""
    name: str = request.param
    wait_until(name, (behind / f"{name}.code").exists, _BEHIND_S)
    said = (behind / name).read_text(errors="replace")
    return int((behind / f"{name}.code").read_text()), said


@pytest.fixture(scope="session")
def user_space(matrix: Matrix) -> Booted:
    """The kernel of the matrix that is booted with another release's Python, bcc and libraries."""
    found = matrix.kernel(USER_SPACE.kernel)
    assert found, matrix.absent[USER_SPACE.kernel]
    return found


GUEST_SCENES = ("guests", "kvm_comes_and_goes", "audits", "attacks", "late_kvm", "late_kvm_refused")
"""In their order: the last one leaves the kernel locked down."""


@pytest.fixture(scope="session")
def guest_host(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """A kernel that runs guests of its own, and what it had to show."""
    name: str = request.param
    folder = results_folder(request.config, tmp_path_factory, f"guests-{name}")
    options = ("--svm", "--append", "secretmem.enable=1")
    asked: str = request.config.getoption("--guest-scenes")
    scenes = asked or ",".join(chosen(request.config, GUEST_SCENES))
    boot(request.config, name, folder, *options, scenes=scenes)
    return Booted(name, folder)


@pytest.fixture(scope="session")
def matrix(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Matrix:
    """All kernels of the matrix."""
    return Matrix(request.config, tmp_path_factory)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all-kernels"):
        return
    long = [item for item in items if item.get_closest_marker("at_length")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    all_kernels = metafunc.config.getoption("--all-kernels")
    chosen = (mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "kernel" in metafunc.fixturenames and "kernel" not in chosen:
        one = hasattr(metafunc.module, "ON_ONE") and not all_kernels
        names = [LIVES] if one else list(KERNELS)
        metafunc.parametrize("kernel", names, indirect=True, scope="session")
    if "guest_host" in metafunc.fixturenames:
        hosts = list(KERNELS) if all_kernels else [HOSTS]
        metafunc.parametrize("guest_host", hosts, indirect=True, scope="session")
    if "matrix_kernel" in metafunc.fixturenames:
        asked = MATRIX if all_kernels else BESIDE
        metafunc.parametrize("matrix_kernel", asked, indirect=True, scope="session")


@pytest.fixture(scope="session")
def matrix_kernel(request: pytest.FixtureRequest, matrix: Matrix) -> Booted:
    """One kernel of the matrix. What cannot be fetched is skipped with its reason; that enough are
    left is a test of its own."""
    found = matrix.kernel(request.param)
    if found is None:
        pytest.skip(f"kernel {request.param}: {matrix.absent[request.param]}")
    return found


@pytest.fixture(scope="session")
def proposal(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """6.1 with F_SEAL_INACCESSIBLE, built here from Debian's source if it is not yet."""
    folder = results_folder(request.config, tmp_path_factory, "proposal")
    race = "proposal_long_race" if request.config.getoption("--all-kernels") else "proposal_race"
    boot(request.config, "inaccessible", folder, scenes=f"proposal,proposal_swap,{race}")
    return Booted("inaccessible", folder)


@pytest.fixture(scope="session")
def broken_proposal(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """The same kernel, told to let mmap through."""
    folder = results_folder(request.config, tmp_path_factory, "proposal-broken")
    options = ("--append", "break_inaccessible_mmap")
    boot(request.config, "inaccessible", folder, *options, scenes="proposal_broken")
    return Booted("inaccessible, broken", folder)


PRIVATE_SCENES = ("private_doctor", "private_memory", "frozen", "busy")


@pytest.fixture(scope="session")
def private_host(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """The kernel of our own whose guests have private memory, built here if it is not yet."""
    folder = results_folder(request.config, tmp_path_factory, "private")
    if not (folder / "results.json").exists():
        selftests = kernels.find("guest-memory").image.with_name("selftests")
        shutil.copytree(selftests, folder / "selftests", dirs_exist_ok=True)
    # One CPU: with two this kernel died twice, running what the other one was patching, which looks
    # like QEMU's fault (tests.kernel.booting) and is not proven to be.
    options = ("--append", "kho=on liveupdate=on", "--cpus", "1")
    scenes = request.config.getoption("--guest-scenes") or ",".join(PRIVATE_SCENES)
    boot(request.config, "guest-memory", folder, *options, scenes=scenes)
    return Booted("guest-memory", folder)


STOCK_SCENES = "stock_conversions,sev_commands,conversions_by_ftrace"


@pytest.fixture(scope="session", params=["6.12-amd64", "newest-amd64", "newest"])
def stock_host(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """Kernels of Debian's, with and without memory attributes."""
    folder = results_folder(request.config, tmp_path_factory, f"stock-{request.param}")
    # One CPU: where VMs come and go, two emulated ones die in __schedule, which they patch.
    options = ("--svm", "--cpus", "1")
    boot(request.config, request.param, folder, *options, scenes=STOCK_SCENES)
    return Booted(request.param, folder)


@pytest.fixture(scope="session")
def audit_host(guest_host: Booted) -> Booted:
    """The same, where guests misbehave, with recordings for audits of them."""
    return guest_host
