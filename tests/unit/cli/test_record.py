"""``bpf/record.h`` as gcc sees it beside what Python derives from it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracer import record
from tracer.capture.bpf_source import CAUSES, HOOKS, enumerators
from tracer.capture.program import COUNTS
from tracer.record import HEADER, structs

TEXT = HEADER.read_text()
BODIES = {
    "event_body": record.EVENT,
    "object_body": record.OBJECT,
    "name_body": record.NAME,
    "cgroup_body": record.CGROUP,
    "caller_body": record.CALLER,
    "frame_body": record.FRAME,
    "module_body": record.MODULE,
    "task_body": record.TASK,
    "loss_body": record.LOSS,
    "clock_body": record.CLOCK,
    "totals_body": record.TOTALS,
}
PRELUDE = """\
#include <stdio.h>
#include <stddef.h>
#include <stdint.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
typedef int32_t s32; typedef int64_t s64;
"""


def plain(text: str) -> str:
    """C without comments."""
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def c_structs() -> dict[str, list[str]]:
    """Structs and their fields, found in another way than `layout` does."""
    found = {}
    for name, body in re.findall(r"\bstruct\s+(\w+)\s*\{([^}]*)\}", plain(TEXT)):
        found[name] = re.findall(r"(\w+)\s*(?:\[[^]]*\])?\s*;", body)
    return found


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """``{struct: {field: [offset, size], "": [alignment, size]}}``"""
    lines = []
    for name, fields in c_structs().items():
        whole = f"struct {name}"
        lines.append(f'ROW("{name}", "", _Alignof({whole}), sizeof({whole}));')
        for field in fields:
            size = f"sizeof((({whole} *)0)->{field})"
            lines.append(f'ROW("{name}", "{field}", offsetof({whole}, {field}), {size});')
    body = "\n".join(lines)
    folder = tmp_path_factory.mktemp("record")
    source = folder / "show.c"
    source.write_text(
        f'{PRELUDE}#include "{HEADER}"\n'
        '#define ROW(s, f, o, n) printf("[\\"%s\\", \\"%s\\", %ld, %ld]\\n", s, f, (long)(o), '
        "(long)(n))\n"
        f"int main(void) {{\n{body}\nreturn 0; }}\n"
    )
    program = folder / "show"
    subprocess.run(["gcc", "-Wall", "-Werror", "-Wpadded", "-o", program, source], check=True)
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = {}
    for line in said.splitlines():
        group, field, first, second = json.loads(line)
        found.setdefault(group, {})[field] = [first, second]
    return found


def test_both_sides_have_the_same_structs_and_fields() -> None:
    derived = {name: [field for field, _ in fields] for name, fields in structs(TEXT).items()}
    assert derived == c_structs()
    assert set(derived) == {"record_head", *BODIES}


def test_head(compiled: dict[str, Any]) -> None:
    assert compiled["record_head"][""] == [8, 48]
    for name in structs(TEXT)["record_head"]:
        dtype, offset = record.HEAD.fields[name[0]][:2]  # type: ignore[index]
        assert compiled["record_head"][name[0]] == [offset, dtype.itemsize]
    assert record.HEAD.fields["body"][1] == 48  # type: ignore[index]


@pytest.mark.parametrize("body", BODIES)
def test_body(compiled: dict[str, Any], body: str) -> None:
    dtype = BODIES[body]
    assert dtype.itemsize == record.RECORD_SIZE
    assert compiled[body][""][1] == record.RECORD_SIZE - 48
    assert compiled[body][""][0] in (1, 2, 4, 8)
    derived = {
        name: [place[1] - 48, place[0].itemsize]
        for name, place in dtype.fields.items()  # type: ignore[union-attr]
        if place[1] >= 48
    }
    assert derived == {name: place for name, place in compiled[body].items() if name}


def test_one_size_for_all() -> None:
    assert record.RECORD_SIZE == 224
    assert record.RECORD_SIZE % 8 == 0
    assert {dtype.itemsize for dtype in [*BODIES.values(), record.HEAD, record.BASELINE]} == {224}


def test_signs_are_kept() -> None:
    row = np.zeros(1, record.EVENT)
    for name in ("fd", "offset", "answer", "check_answer", "file_answer", "writable"):
        row[name] = -1
        assert int(row[name][0]) == -1
    for name in ("arg", "length", "size", "duration_ns", "mm"):
        row[name] = 2**64 - 1
        assert int(row[name][0]) == 2**64 - 1


def test_c_has_every_number_that_it_uses() -> None:
    """The enums of `tracer.words`, whose numbers stand in recordings and never change."""
    numbers = enumerators()
    used = {
        name
        for path in HEADER.parent.glob("*.h")
        for name in re.findall(
            r"\b(?:TYPE|OP|HOOK|KIND|LOSS|FILL|RECEIPT|DEVICE|FLAG)_[A-Z_]+\b",
            plain(path.read_text()),
        )
    }
    assert used <= set(numbers)
    assert len(used) > 90
    assert numbers["OP_DEVICE"] == numbers["OP_RING"] + 1 == 33
    assert numbers["FLAG_IMMUTABLE"] == 2048
    assert numbers["RECEIPT_SECCOMP"] == numbers["KIND_SECRETMEM"] + 1 == 6
    for room, names in ((HOOKS, record.Hook), (CAUSES, record.LossCause)):
        assert max(names) < room
        assert room & (room - 1) == 0, "bpf/state.h masks with HOOK_MAX - 1"


def test_counts(tmp_path: Path) -> None:
    state = plain((HEADER.parent / "state.h").read_text())
    parts = [
        re.search(rf"struct {name} \{{.*?\n\}};", state, re.DOTALL) for name in ("totals", "counts")
    ]
    text = "\n".join(part[0] for part in parts if part)
    checks = "".join(
        f'_Static_assert(offsetof(struct counts, {name}) == {place[1]}, "{name}");\n'
        for name, place in COUNTS.fields.items()  # type: ignore[union-attr]
    )
    names = COUNTS["totals"].base.names
    assert names is not None
    checks += "".join(
        f'_Static_assert(offsetof(struct totals, {name}) == {8 * at}, "{name}");\n'
        for at, name in enumerate(names)
    )
    checks += f'_Static_assert(sizeof(struct counts) == {COUNTS.itemsize}, "counts");\n'
    room = f"enum {{ HOOK_MAX = {HOOKS}, LOSS_MAX = {CAUSES} }};\n"
    source = tmp_path / "counts.c"
    source.write_text(f"{PRELUDE}{room}{text}\n{checks}")
    subprocess.run(["gcc", "-fsyntax-only", source], check=True)


def test_copies_of_head_keep_the_body() -> None:
    row = np.zeros(2, record.EVENT)
    row["answer"], row["comm"] = [-1, 7], np.void(b"a\0b".ljust(16, b"\0"))
    head = row.view(record.HEAD)
    for copy in (
        head.copy(),
        head[[0, 1]],
        np.concatenate([head[:1], head[1:]]),
        head[head == head],
    ):
        assert copy.tobytes() == row.tobytes()
    target = np.zeros(2, record.HEAD)
    target[:] = head
    assert target.view(record.EVENT)["answer"].tolist() == [-1, 7]
    assert bytes(target.view(record.EVENT)["comm"][0]) == b"a\0b" + bytes(13)


def test_words() -> None:
    words = record.words(record.Op)
    assert words[8] == "punch_hole"
    assert words == {op.value: op.name.lower() for op in record.Op}
