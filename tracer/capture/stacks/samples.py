"""What the kernel side sends of user stacks, as numpy sees it: the structs of ``bpf/stacks.h``."""

from pathlib import Path

import numpy as np

from tracer.record import structs

_STRUCTS = structs((Path(__file__).resolve().parents[3] / "bpf" / "stacks.h").read_text())
SAMPLE = np.dtype(_STRUCTS["stack_sample"])
"""struct stack_sample: registers and pages of a stack."""
CODE_MAP = np.dtype(_STRUCTS["code_map"])
"""struct code_map: where code lies."""
CODE_FILE, CODE_ANONYMOUS, CODE_VDSO, CODE_FORK = 1, 2, 3, 4
PAGE = 4096
REGISTERS = (
    "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di",
    "orig_ax", "ip", "cs", "flags", "sp", "ss",
)  # fmt: skip
"""struct pt_regs of arch/x86/include/asm/ptrace.h."""
IP, CS, SP = REGISTERS.index("ip"), REGISTERS.index("cs"), REGISTERS.index("sp")
USER_CS = 0x33
"""__USER_CS of 64-bit code."""


def path_of(raw: bytes, length: int) -> bytes:
    """A path from the names of its folders, the innermost first."""
    names = [name for name in raw[: min(length, len(raw))].split(b"\0") if name]
    return b"/" + b"/".join(reversed(names)) if names else b""
