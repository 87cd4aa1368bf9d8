"""What to boot: the guest's command line, its disks of shared folders, and its first script."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm import pulse
from tests.vm.debian import HarnessError
from tests.vm.roots import Root
from tests.vm.stream import Marks

PROJECT = Path(__file__).resolve().parents[2]
VENV = PROJECT / ".venv"
VIRTME_RUN = VENV / "bin" / "virtme-run"

# In the folder of a boot.
CONSOLE = "console.log"
CONTROL = "qmp"

# The guest's root is this machine's, read-only; these folders can be written to, into thin air.
_SCRATCH = tuple(map(Path, ("/etc", "/home", "/root", "/tmp", "/usr", "/var")))
_HIDDEN = (Path("/dev"), Path("/proc"), Path("/run"), Path("/sys"))
# virtme-ng pastes some paths into shell commands and the kernel command line.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:./~-]+")

# udev would load the drivers of QEMU's whole machine at every boot, for three seconds.
_UNUSED = (
    "aesni_intel ahci crc32_pclmul crct10dif_pclmul ghash_clmulni_intel i6300esb kvm_amd kvm_intel "
    "polyval_clmulni powernow_k8 sha1_ssse3 sha256_ssse3 sha512_ssse3 sr_mod sg"
)
_KERNEL_OPTIONS = (
    "tsc=reliable",
    "clocksource=tsc",
    "loglevel=7",
    "oops=panic",  # at once (virtme-ng has panic=-1), not when everybody waits for the dead task
    *pulse.KERNEL_OPTIONS,
    f"modprobe.blacklist={','.join(_UNUSED.split())}",
)


@dataclass(frozen=True)
class Options:
    """How to boot: everything that `boot` lets its caller choose."""

    timeout: float = 300.0
    up_timeout: float = 90.0
    silence: float = pulse.LIMIT_S
    memory: str = "2G"
    cpus: int = 2
    append: str = ""
    svm: bool = False
    count: bool = False
    """The guest's clock counts instructions, a nanosecond each (QEMU's icount; one CPU)."""
    console: Path | None = None
    shared: tuple[Path, ...] = ()
    verbose: bool = False
    root: Root | None = None
    """Where the command runs, instead of in the guest's own root, which is this machine's."""


def cpus(options: Options) -> int:
    """How many the guest has."""
    return 1 if options.count else options.cpus


def start_script(command: Sequence[str], cwd: Path, marks: Marks, options: Options) -> str:
    """The shell script that the guest runs; every word that came from outside is quoted."""
    begin, end = shlex.quote(marks.begin.decode()), shlex.quote(marks.end.decode())
    path = f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    lines = ["exec </dev/null"]
    # Should this harness be killed without a chance to clean up, the guest ends by itself.
    lines.append(
        f"(sleep {int(options.timeout) + 120}; echo o >/proc/sysrq-trigger) >/dev/null 2>&1 &"
    )
    lines += pulse.script(cpus(options))
    for kind, target in (
        ("tracefs", "/sys/kernel/tracing"),
        ("debugfs", "/sys/kernel/debug"),
        ("bpf", "/sys/fs/bpf"),
    ):
        lines.append(f"mountpoint -q {target} || mount -t {kind} {kind} {target}")
    if not any(path.is_relative_to("/tmp") for path in (PROJECT, cwd)):
        lines.append("[ -w /tmp ] || mount -t tmpfs tmpfs /tmp")  # a kernel without overlayfs
    if options.svm:
        lines.append("[ -d /sys/module/kvm_amd ] || modprobe kvm_amd")  # it may be built in
    for index, folder in enumerate(options.shared):
        target = shlex.quote(str(folder))
        lines.append(f"mkdir -p -- {target} && mount --bind /run/sealsnoop/{index} {target}")
    lines += [
        f"export PATH={shlex.quote(path)} VIRTUAL_ENV={shlex.quote(str(VENV))}",
        # Where .venv is another checkout's, this one's modules are meant.
        f"export PYTHONPATH={shlex.quote(str(PROJECT))}",
        "export HOME=/root LANG=C.UTF-8 TERM=dumb PYTHONUNBUFFERED=1 SEALSNOOP_GUEST=1",
        f"printf %s {begin}; printf %s {begin} >&2",
        *_run(command, cwd, options),
        "code=$?",
        "sync",
        f"printf '%s%d\\n' {end} $code; printf '%s%d\\n' {end} $code >&2",
        "sleep 60",  # the harness ends the machine when it has read both marks
    ]
    return "\n".join(lines) + "\n"


def _run(command: Sequence[str], cwd: Path, options: Options) -> list[str]:
    if options.root is None:
        return [f"(cd -- {shlex.quote(str(cwd))} && exec {shlex.join(command)})"]
    shared = [(Path(f"/run/sealsnoop/{n}"), folder) for n, folder in enumerate(options.shared)]
    return [f"(set -e\n{options.root.entry(shared)}\nexec {options.root.within(command)})"]


def overlays(*wanted: Path) -> list[Path]:
    """The folders over which the guest gets a writable layer."""
    folders = list(_SCRATCH)
    for folder in wanted:
        covered = any(folder.is_relative_to(known) for known in folders)
        if not covered and folder != Path("/") and _PLAIN.fullmatch(str(folder)):
            folders.append(folder)
    return folders


def machine(image: Path, cwd: Path, run: Path, options: Options) -> list[str]:
    """The command line of virtme-run, the part of virtme-ng that takes single arguments."""
    command = [str(VIRTME_RUN), "--kimg", str(image)]
    command += ["--disable-kvm", "--mods=auto", "--memory", options.memory]
    command += ["--cpus", str(cpus(options)), "--script-sh", "exec sh /run/sealsnoop/run/start.sh"]
    command += ["--rodir", f"/run/sealsnoop/run={run}/run"]
    for index in range(len(options.shared)):
        command += ["--rwdir", f"/run/sealsnoop/{index}={run}/{index}"]
    root = [options.root.path] if options.root else []
    for folder in overlays(PROJECT, cwd, *root):
        command.append(f"--overlay-rwdir={folder}")
    for word in (*_KERNEL_OPTIONS, *shlex.split(options.append)):
        command += ["--kopt", word]
    command.append("--qemu-opts")
    if options.count:
        command += ["-icount", "shift=0,sleep=off"]
    command += pulse.qemu_options(run / CONTROL)
    # virtme-ng throws the kernel's console away; keep it for when something goes wrong.
    return [*command, "-set", f"chardev.console.path={run / CONSOLE}"]


def check_paths(cwd: Path, *used: Path) -> None:
    """Refuse what virtme-ng or the guest cannot cope with."""
    for path in (PROJECT, *used):
        if not _PLAIN.fullmatch(str(path)):
            raise HarnessError(f"virtme-ng cannot work with blanks or signs in a path: {path}")
    for path in (PROJECT, cwd):
        if any(path.is_relative_to(hidden) for hidden in _HIDDEN):
            raise HarnessError(f"a guest cannot see {path}: it has a /{path.parts[1]} of its own")
    if not VIRTME_RUN.exists():
        raise HarnessError("virtme-ng is not installed in .venv (run `make setup`)")
