"""The BPF source: put together, guarded, and really compiled by bcc on this machine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracer.capture.bpf_source import BPF_DIR, HEADERS, Filters, flags, text, with_way
from tracer.kernel.requirements.host import Host, bcc

ROOT = Path(__file__).resolve().parents[3]
VMLINUX = Path("/sys/kernel/btf/vmlinux")


def test_includes_are_in_place() -> None:
    source = text()
    names = re.findall(
        r'^#include "(\w+\.h)"$', (BPF_DIR / "sealsnoop.c").read_text(), re.MULTILINE
    )
    assert set(names) == {path.name for path in BPF_DIR.glob("*.h")}, "every header is used"
    assert '#include "' not in source
    for name in names:
        assert source.count(f'#line 1 "{name}"\n{(BPF_DIR / name).read_text()}') == 1
    places = [source.index(f'#line 1 "{name}"') for name in names]
    assert places == sorted(places)
    assert re.findall(r"^#include (.*)$", source, re.MULTILINE) == ["<uapi/linux/ptrace.h>"]


def test_flags() -> None:
    assert flags({"A": 1, "B_2": -3}, {}, {"_C": "shmem_mmap", "D": True}) == [
        "-DA=1",
        "-DB_2=-3",
        "-D_C=shmem_mmap",
        "-DD=1",
    ]
    assert flags() == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a b",
        "1; int x",
        "x\n#include </etc/passwd>",
        "x\n",
        "x;",
        "f()",
        "-o/etc/passwd",
        '"x"',
        "1x",
        "naïve",
        "a.isra.0",
        "x\0",
        b"x",
        1.5,
        None,
        ["x"],
    ],
)
def test_flags_refuse(value: Any) -> None:
    with pytest.raises(ValueError, match=r"A: .* is neither a number nor a C name"):
        flags({"A": value})


@pytest.mark.parametrize("name", ["", "A B", "A=1 -include/etc/passwd", "A\n", "1A", "A(x)"])
def test_flags_refuse_names(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a macro"):
        flags({name: 1})


def test_macros() -> None:
    assert Filters().macros(32 << 20) == {
        "FILTER_PID": 0,
        "FOLLOW_FILES": 0,
        "FILTER_FILE": 0,
        "FILTER_UID": 0,
        "FILTER_CGROUP": 0,
        "FILTER_NAME": 0,
        "FILTER_SEALS": 0,
        "FILTER_DENIED": 0,
        "FILTER_UNSEALABLE": 1,
        "TASKS": 1,
        "CMDLINE": 1,
        "AUDIT": 0,
        "RING_PAGES": 8192,
        "MAX_TASKS": 16384,
        "MAX_OUTER": 4096,
        "MAX_OBJECTS": 65536,
        "MAX_EXECS": 4096,
        "MAX_CGROUPS": 65536,
        "STACKS": 0,
        "KERNEL_STACKS": 0,
        "STACK_RING_PAGES": 2048,
        "CODE_RING_PAGES": 1024,
    }


def _preprocessed(source: str, **macros: int) -> list[str]:
    """Its lines of code, as the compiler goes on with them."""
    source = re.sub(r"^#include.*$", "", source, flags=re.MULTILINE)
    command = ["cpp", "-P", *(f"-D{name}={value}" for name, value in macros.items())]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.strip()]


_BLOCK = re.compile(r"^#if STACKS\n.*?^#endif\n", re.MULTILINE | re.DOTALL)


def test_without_stacks_the_program_is_as_if_there_were_none() -> None:
    """Nothing of user stacks is compiled: neither programs nor a branch in those of decisions."""
    plain = text()
    at = plain.index('#line 1 "stacks.h"')
    less = plain[:at] + plain[plain.index("#line 1", at + 1) :]
    blocks = _BLOCK.findall(less)
    assert len(blocks) == 11, "each is found, and none has another condition in it"
    assert not any("#if" in block[3:] or "#else" in block for block in blocks)
    less = _BLOCK.sub("", less)
    assert "STACKS" not in less
    assert "stack_wanted" not in less
    programs = {f"WITH_{kind}_{name}": 1 for kind in ("FENTRY", "KPROBE")
                for name in ("WRITE", "MMAP", "EXEC", "CREATE")}  # fmt: skip
    macros = {**programs, "AUDIT": 1, "FILTER_PID": 1, "HAVE_CGROUPS": 1, "HAVE_TASK_PT_REGS": 1}
    assert _preprocessed(plain, STACKS=0, **macros) == _preprocessed(less, **macros)
    denied = "".join(_preprocessed(plain, STACKS=1, **macros))
    assert "take_stack" in denied
    assert "bpf_get_task_stack" not in denied
    both = {"STACKS": 1, "KERNEL_STACKS": 1}
    assert "bpf_get_task_stack" in "".join(_preprocessed(plain, **both, **macros))
    macros["HAVE_TASK_PT_REGS"] = 0
    assert "bpf_get_task_stack" not in "".join(_preprocessed(plain, **both, **macros))


@pytest.mark.parametrize(
    ("filters", "on"),
    [
        (Filters(), {"FILTER_UNSEALABLE"}),
        (Filters(pids=(1,)), {"FILTER_PID", "FILTER_UNSEALABLE"}),
        (Filters(follow_command=True), {"FILTER_PID", "FOLLOW_FILES", "FILTER_UNSEALABLE"}),
        (Filters(files=("0:1/42/7",)), {"FILTER_FILE", "FILTER_UNSEALABLE"}),
        (Filters(uids=(0,)), {"FILTER_UID", "FILTER_UNSEALABLE"}),
        (Filters(cgroups=(1,)), {"FILTER_CGROUP", "FILTER_UNSEALABLE"}),
        (Filters(name=b"x"), {"FILTER_NAME", "FILTER_UNSEALABLE"}),
        (Filters(seals=8), {"FILTER_SEALS", "FILTER_UNSEALABLE"}),
        (Filters(denied=True), {"FILTER_DENIED", "FILTER_UNSEALABLE"}),
        (Filters(unsealable=True), set()),
    ],
)
def test_filters_shape_the_program(filters: Filters, on: set[str]) -> None:
    macros = filters.macros(1 << 20)
    switches = {name for name in macros if name.startswith(("FILTER_", "FOLLOW_"))}
    assert {name for name in switches if macros[name] == 1} == on
    assert {name for name in switches if macros[name] == 0} == switches - on
    assert macros["RING_PAGES"] == 256


def test_what_a_user_typed_is_never_in_the_source() -> None:
    typed = Filters((4711,), (1234,), (5678,), b'evil"; name', 0x1F)
    told = " ".join(flags(typed.macros(1 << 20))) + text()
    for word in ("4711", "1234", "5678", "evil"):
        assert word not in told
    assert typed.to_json()["name"] == 'evil"; name'
    assert Filters(name=b"\xff\n").to_json()["name"] == "\\xff\n"


def test_bcc_reads_our_headers_alone() -> None:
    assert (HEADERS / "include/uapi/linux/ptrace.h").exists()


COMPILE = """
import sys
from dataclasses import replace
from tracer.capture.bpf_source import Filters
from tracer.capture.program import Program
from tracer.kernel import offsets
from tracer.kernel.btf import Btf
from tracer.kernel.plan import Planner
from tracer.kernel.symbols import Symbols

btf = Btf.from_file("/sys/kernel/btf/vmlinux")
planner, layout = Planner(btf, Symbols.load()), offsets.macros(btf)
plain = Filters()
full = Filters((1,), (0,), (1,), b"x", 8, True, True, True)
for method, filters in (("auto", full), ("kprobe", plain)):
    plan = planner.plan(method)
    assert len(plan.live) > 10, plan
    program = Program(plan, layout, filters, btf, 1 << 16)
    wanted = set()
    for step in plan.live:
        entry, leave = ("fentry", "fexit") if step.method == "fexit" else ("kprobe", "kretprobe")
        wanted |= {f"{entry}_{step.program}"} if step.at_entry else set()
        wanted |= {f"{leave}_{step.program}"} if step.at_return else set()
    size = program._lib.bpf_function_size
    sizes = {name: size(program._bpf.module, name.encode()) for name in wanted}
    # with --denied mappings are not reported at all: then such a program is two instructions
    empty = sorted(name for name, bytes in sizes.items() if bytes <= 16)
    print(method, len(sizes), *empty)
    ring = program.ring()
    assert (len(ring.poll()), ring.fill) == (0, 0.0)
    counts = program.counts()
    assert int(counts["seq"].sum()) == 0 and len(counts) >= 1
    program.enable()
    assert program.in_flight() == 0
    program.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not VMLINUX.exists() or bcc.look(Host.live()).ok is not True, reason="no BTF, or no bcc"
)
@pytest.mark.skipif(os.geteuid() != 0, reason="making BPF maps needs root")
def test_compiles(tmp_path: Path) -> None:
    """In a process of its own: bcc must not be in the test runner, and may only end there."""
    assert shutil.which(sys.executable)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    auto, kprobe = done.stdout.splitlines()
    assert auto.split()[0] == "auto"
    assert auto.split()[2:] == ["fentry_map", "fentry_unmap"]
    assert kprobe.split()[0] == "kprobe"
    assert kprobe.split()[2:] == [], "a program is missing or empty"


def test_a_way_is_put_where_its_mark_is() -> None:
    mark = 0x5EA150FB.to_bytes(4, "little")
    assert f"#define WAY_MARK {0x5EA150FB:#x}" in (BPF_DIR / "access.h").read_text()
    move = b"\xb7\x01\0\0"
    code = b"\x79\x11\0\0\0\0\0\0" + move + mark + b"\x95" + bytes(7)
    assert with_way(code, 7) == code.replace(mark, b"\x07\0\0\0")
    for broken in (
        code.replace(mark, bytes(4)),  # gone
        code + move + mark,  # twice
        code.replace(move, b"\xa5\x01\0\0"),  # compared with, not moved
        code + mark + bytes(4),
    ):
        with pytest.raises(ValueError, match="WAY_MARK"):
            with_way(broken, 7)
