"""Digests of files in blocks, so that a check can say which bytes are not what they were."""

import stat
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from tracer.model.escape import printable
from tracer.store import gate
from tracer.store.chain import CHAIN, MANIFEST
from tracer.store.errors import from_os
from tracer.store.folder import Folder
from tracer.store.limits import CHAIN_BYTES
from tracer.store.lock import LOCK
from tracer.store.reader import Recording

_BLOCKS = 256
_LEAST = 4096
_OF_ALL = 1 << 16
"""Blocks of all files of a recording, as far as each has more than one."""
REPORT_BYTES = 1 << 28
"""Of a report that --report gives."""


def block_size(size: int, blocks: int = _BLOCKS) -> int:
    """Bytes of a block: a power of two, so that a file has at most ``blocks`` of them."""
    block = _LEAST
    while block * blocks < size:
        block *= 2
    return block


def of_bytes(data: bytes, block: int | None = None) -> dict[str, Any]:
    """Size, sha256 of all, and of each block."""
    block = block or block_size(len(data))
    view = memoryview(data)
    blocks = [sha256(view[at : at + block]).hexdigest() for at in range(0, len(data), block)]
    digest = sha256(data).hexdigest()
    return {"bytes": len(data), "sha256": digest, "block": block, "blocks": blocks}


def of_recording(recording: Recording, then: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each file of a recording by its path inside; in the blocks that ``then`` has for it.

    Of its manifest the bytes that were read when it was opened. UserError: one cannot be read.
    """
    found = {}
    try:
        names = sorted(_files(recording.folder))
        blocks = max(1, min(_BLOCKS, _OF_ALL // max(1, len(names))))
        for name in names:
            data = gate.contents(recording.folder, name, CHAIN_BYTES)
            if name == MANIFEST:
                data = recording.manifest_bytes
            if name == CHAIN and recording.chain.end is not None:
                data = data[: recording.chain.size]
            found[name] = of_bytes(data, _block(then.get(name), len(data), blocks))
    except OSError as error:
        raise from_os(error, f"reading {printable(recording.path)}") from error
    return found


def _block(then: object, size: int, blocks: int) -> int:
    """The block size that was stated, if it is one that we state."""
    stated = then.get("block") if isinstance(then, dict) else None
    if type(stated) is int and stated >= _LEAST and stated * _BLOCKS >= size:
        return stated
    return block_size(size, blocks)


def _files(folder: Folder, inside: str = "") -> Iterator[str]:
    """A recording's lock file is empty and says nothing; deeper than tables there is nothing."""
    for name in folder.names():
        mode = folder.mode(name)
        if stat.S_ISDIR(mode) and not inside:
            with folder.sub(name) as sub:
                yield from _files(sub, f"{name}/")
        elif stat.S_ISREG(mode) and name != LOCK:
            yield f"{inside}{name}"


def differences(then: Mapping[str, Any], now: Mapping[str, Any], name: str) -> Iterator[str]:
    """What of a file is not what it was, in sentences with byte ranges; none only if all is."""
    if then == now:
        return
    if then.get("sha256") == now["sha256"]:
        yield f"{name}: what is stated of its size or blocks is wrong."
        return
    if then.get("bytes") != now["bytes"]:
        yield f"{name} is {now['bytes']} bytes long and was {_number(then.get('bytes'))}."
    wrong = []
    blocks = then.get("blocks")
    if then.get("block") == now["block"] and isinstance(blocks, list):
        both = zip(blocks, now["blocks"], strict=False)
        wrong = [place for place, (was, is_) in enumerate(both) if was != is_]
    for first, last in _runs(wrong):
        end = min((last + 1) * now["block"], now["bytes"])
        yield f"{name}: bytes {first * now['block']} to {end - 1} were changed."
    if not wrong:
        yield f"{name} was changed (its digest is wrong)."


def _number(value: object) -> str:
    return str(value) if type(value) is int else "no number"


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
