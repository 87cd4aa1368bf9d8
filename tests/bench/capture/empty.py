"""The floor: BPF programs that return at once, on the hooks that a write passes."""

import ctypes
import os
from typing import Any

from tracer.capture import bpf_source
from tracer.kernel import bpf_syscall
from tracer.kernel.btf import running_btf
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
        self.btf = running_btf()
        self.fds: list[int] = []
        attach = self._fexit if method == "fexit" else self._kprobe
        # As our programs stand: a kprobe pair begins at the call's entry, a trampoline does not.
        attach("shmem_write_begin", entry=method == "kprobe" and not both)
        if both:
            attach(write_call(), entry=method == "kprobe")

    def _code(self, function: bytes) -> bytes:
        module = self.bpf.module
        start, size = self.lib.bpf_function_start, self.lib.bpf_function_size
        code: bytes = ctypes.string_at(start(module, function), size(module, function))
        return code

    def _fexit(self, symbol: str, entry: bool) -> None:
        target = self.btf.function_id(symbol)
        kinds = [bpf_syscall.FENTRY, bpf_syscall.FEXIT] if entry else [bpf_syscall.FEXIT]
        for kind in kinds:
            fd = bpf_syscall.load(
                self._code(b"fentry_nothing"),
                "nothing",
                bpf_syscall.TRACING,
                attach_type=kind,
                function_id=target,
            )
            self.fds.append(bpf_syscall.attach(fd))

    def _kprobe(self, symbol: str, entry: bool) -> None:
        for at_return in (0, 1) if entry else (1,):
            fd = bpf_syscall.load(self._code(b"kprobe_nothing"), "nothing", bpf_syscall.KPROBE)
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
