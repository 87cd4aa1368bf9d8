"""Digests of files in blocks, so that a check can say which bytes are not what they were."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from tracer.errors import UserError
from tracer.model.escape import printable

_BLOCKS = 256
_LEAST = 4096
_READ = 1 << 20
_LOCK = "lock"
"""A recording's lock file is empty and says nothing."""


def block_size(size: int) -> int:
    """Bytes of a block: a power of two, so that a file has at most 256 of them."""
    block = _LEAST
    while block * _BLOCKS < size:
        block *= 2
    return block


def of_file(path: str, follow: bool = True) -> dict[str, Any]:
    """Size, sha256 of all, and of each block. OSError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        return _of(file, os.fstat(file.fileno()).st_size)


def _of(file: Any, size: int) -> dict[str, Any]:
    block = block_size(size)
    whole = hashlib.sha256()
    blocks: list[str] = []
    state, room, read = hashlib.sha256(), block, 0
    while data := file.read(min(_READ, room)):
        whole.update(data)
        state.update(data)
        read += len(data)
        room -= len(data)
        if not room:
            blocks.append(state.hexdigest())
            state, room = hashlib.sha256(), block
    if room != block:
        blocks.append(state.hexdigest())
    return {"bytes": read, "sha256": whole.hexdigest(), "block": block, "blocks": blocks}


def of_folder(path: str) -> dict[str, dict[str, Any]]:
    """Each file of a recording by its path inside. UserError: one cannot be read."""
    found = {}
    try:
        for name in sorted(_files(path)):
            found[name] = of_file(os.path.join(path, name), follow=False)
    except OSError as error:
        raise UserError(f"{printable(path)}: {error.strerror or error}") from error
    return found


def _files(path: str, inside: str = "") -> Iterator[str]:
    with os.scandir(os.path.join(path, inside)) as entries:
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield from _files(path, name)
            elif stat.S_ISREG(mode) and name != _LOCK:
                yield name


def differences(then: Mapping[str, Any], now: Mapping[str, Any], name: str) -> Iterator[str]:
    """What of a file is not what it was, in sentences with byte ranges."""
    if then.get("sha256") == now["sha256"]:
        return
    block, blocks = then.get("block"), then.get("blocks")
    if not isinstance(block, int) or block < 1 or not isinstance(blocks, list):
        yield f"{name} was changed (its digest is wrong)."
        return
    if then.get("bytes") != now["bytes"]:
        yield f"{name} is {now['bytes']} bytes long and was {then.get('bytes')}."
    if block != now["block"]:
        return
    wrong = [
        place
        for place in range(min(len(blocks), len(now["blocks"])))
        if blocks[place] != now["blocks"][place]
    ]
    for first, last in _runs(wrong):
        end = min((last + 1) * block, now["bytes"])
        yield f"{name}: bytes {first * block} to {end - 1} were changed."
    if not wrong and then.get("bytes") == now["bytes"]:
        yield f"{name} was changed (its digest is wrong)."


def _runs(places: list[int]) -> Iterator[tuple[int, int]]:
    start = before = None
    for place in places:
        if before is not None and place == before + 1:
            before = place
            continue
        if start is not None and before is not None:
            yield start, before
        start = before = place
    if start is not None and before is not None:
        yield start, before


def all_differences(then: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What of a folder is not what it was."""
    for name in sorted({*then, *now}):
        shown = printable(str(name))
        if name not in now:
            yield f"{shown} is missing."
        elif name not in then:
            yield f"{shown} was not there: it was added."
        else:
            was = then[name]
            yield from differences(was if isinstance(was, dict) else {}, now[name], shown)
