"""The floor: BPF programs that return at once, on the hooks that a write passes."""

import os
from typing import Any

from tracer.capture import bpf_source
from tracer.kernel.symbols import Symbols

os.environ["BCC_KERNEL_SOURCE"] = str(bpf_source.HEADERS)
TEXT = """
int fentry_nothing(u64 *ctx) { return 0; }
int kprobe_nothing(struct pt_regs *ctx) { return 0; }
"""


def write_call() -> str:
    """The write call's own function: shmem's (since 6.6) or every file system's."""
    shmem = "shmem_file_write_iter"
    return shmem if Symbols.load().has(shmem) else "generic_file_write_iter"


class Floor:
    """Empty programs on ``shmem_write_begin`` alone, or on the write call's own function too."""

    def __init__(self, method: str, both: bool) -> None:
        from bcc import BPF, libbcc

        self.lib: Any = libbcc.lib
        self.bpf = BPF(text=TEXT.encode())
        self.kprobe_type, self.tracing_type = BPF.KPROBE, BPF.TRACING
        self.fds: list[int] = []
        attach = self._fexit if method == "fexit" else self._kprobe
        # As our programs stand: a kprobe pair begins at the call's entry, a trampoline does not.
        attach("shmem_write_begin", entry=method == "kprobe" and not both)
        if both:
            attach(write_call(), entry=method == "kprobe")

    def _load(self, function: bytes, kind: int, name: bytes) -> int:
        module = self.bpf.module
        fd: int = self.lib.bcc_func_load(
            module,
            kind,
            name,
            self.lib.bpf_function_start(module, function),
            self.lib.bpf_function_size(module, function),
            self.lib.bpf_module_license(module),
            self.lib.bpf_module_kern_version(module),
            0,
            None,
            0,
            None,
            -1,
        )
        if fd < 0:
            raise SystemExit(f"cannot load an empty program as {name!r}")
        return fd

    def _fexit(self, symbol: str, entry: bool) -> None:
        prefixes = ["kfunc__", "kretfunc__"] if entry else ["kretfunc__"]
        for prefix in prefixes:
            fd = self._load(b"fentry_nothing", self.tracing_type, f"{prefix}{symbol}".encode())
            self.fds.append(self._checked(self.lib.bpf_attach_kfunc(fd), symbol))

    def _kprobe(self, symbol: str, entry: bool) -> None:
        for at_return in (0, 1) if entry else (1,):
            fd = self._load(b"kprobe_nothing", self.kprobe_type, b"nothing")
            event = f"floor_{at_return}_{symbol}".encode()
            link = self.lib.bpf_attach_kprobe(fd, at_return, event, symbol.encode(), 0, 0)
            self.fds.append(self._checked(link, symbol))

    @staticmethod
    def _checked(fd: int, symbol: str) -> int:
        if fd < 0:
            raise SystemExit(f"cannot attach to {symbol}")
        return fd

    def detach(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()
