"""One boot for each kernel: the guest does everything once, the tests read what it wrote.

A kernel that cannot be fetched or booted is an error of every test that needs it, never a skip.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.booted import KERNELS, Booted
from tests.kernel.guest_tools import PROJECT
from tests.vm.debian import HarnessError
from tests.vm.sources import memfd_selftest

_TIMEOUT_S = 2400  # emulated, on a machine that may be busy
_RACE = PROJECT / "tests" / "kernel" / "programs"


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


def _run(what: str, command: list[str]) -> None:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{what}: {done.stdout}{done.stderr}", pytrace=False)


@pytest.fixture(scope="session")
def programs() -> None:
    """What the guest runs, compiled here: a compiler in the emulated guest would be slow."""
    for sample in ("workload", "holes", "vmm"):
        _run(f"samples/{sample} does not build", ["make", "-s", "-C", f"samples/{sample}"])
    (_RACE / "build").mkdir(exist_ok=True)
    race = [str(_RACE / "build" / "race"), str(_RACE / "race.c")]
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
    _run("the race does not build", ["cc", *flags, "-o", *race])


def _compile_memfd_test(kernel: str, folder: Path) -> None:
    """The kernel's own selftest, of the release that is booted."""
    try:
        source = memfd_selftest(kernel)
    except HarnessError as error:
        pytest.fail(f"kernel {kernel}: no source of memfd_test: {error}", pytrace=False)
    # glibc's headers are older than what the test tests; its Makefile has _FILE_OFFSET_BITS.
    flags = ["-O2", "-D_FILE_OFFSET_BITS=64", "-I", str(source / "include")]
    files = [str(source / name) for name in ("memfd_test.c", "common.c")]
    _run("memfd_test does not build", ["cc", *flags, "-o", str(folder / "memfd_test"), *files])


def _boot(
    config: pytest.Config, kernel: str, folder: Path, *options: str, scenes: str = ""
) -> None:
    """Boots and shows the guest's progress, which takes minutes, whatever pytest captures."""
    command = ["tests/vm/boot", "--kernel", kernel, "--rw", str(folder), "--memory", "4G"]
    command += ["--timeout", str(_TIMEOUT_S), "--console", str(folder / "console.log"), *options]
    command += ["--", "python", "-m", "tests.kernel.guest", str(folder), "--only", scenes]
    said = []
    capture = config.pluginmanager.getplugin("capturemanager")
    assert capture
    with (
        capture.global_and_fixture_disabled(),
        subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr
        print(file=sys.stderr)
        for line in process.stderr:
            said.append(line)
            print(f"  {kernel}: {line}", end="", file=sys.stderr, flush=True)
    (folder / "boot.log").write_text("".join(said))
    if process.returncode != 0:
        tail = "".join(said[-30:])
        pytest.fail(f"kernel {kernel}: boot ended with {process.returncode}\n{tail}", pytrace=False)


def _folder(config: pytest.Config, factory: pytest.TempPathFactory, name: str) -> Path:
    keep: Path | None = config.getoption("--guest-out")
    if keep is None:
        return factory.mktemp(name, numbered=False)
    folder = keep.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session", params=list(KERNELS))
def kernel(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """What one kernel had to show."""
    name: str = request.param
    folder = _folder(request.config, tmp_path_factory, f"kernel-{name}")
    if not (folder / "results.json").exists():
        _compile_memfd_test(name, folder)
        _boot(request.config, name, folder, scenes=request.config.getoption("--guest-scenes"))
    return Booted(name, folder)


@pytest.fixture(scope="session")
def locked_down(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """6.1 in confidentiality lockdown."""
    folder = _folder(request.config, tmp_path_factory, "lockdown")
    if not (folder / "results.json").exists():
        _boot(
            request.config, "6.1", folder, "--append", "lockdown=confidentiality",
            scenes="lockdown",
        )  # fmt: skip
    return Booted("6.1 in lockdown", folder)


@pytest.fixture(scope="session", params=list(KERNELS))
def guest_host(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """A kernel that runs guests of its own, and what it had to show."""
    name: str = request.param
    folder = _folder(request.config, tmp_path_factory, f"guests-{name}")
    if not (folder / "results.json").exists():
        _boot(
            request.config, name, folder, "--svm", "--append", "secretmem.enable=1",
            scenes="guests,kvm_comes_and_goes,start_times",
        )  # fmt: skip
    return Booted(name, folder)


@pytest.fixture(scope="session", params=list(KERNELS))
def audit_host(
    request: pytest.FixtureRequest, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Booted:
    """A kernel whose guests misbehave, with recordings for audits of them."""
    name: str = request.param
    folder = _folder(request.config, tmp_path_factory, f"audits-{name}")
    if not (folder / "results.json").exists():
        _boot(
            request.config, name, folder, "--svm", "--append", "secretmem.enable=1",
            scenes="audits",
        )  # fmt: skip
    return Booted(name, folder)
