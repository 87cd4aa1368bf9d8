"""Numbers that rise or wander, as Parquet's DELTA_BINARY_PACKED in whole bytes.

Arrow chooses the bits of every 32 values and packs them one by one; here the differences of a page
share one width of 1 to 4 bytes, so that packing is a copy. A page whose differences need more is
stored plain.
"""

import numpy as np
import numpy.typing as npt

from tracer.store.pages import DELTA, PLAIN, RLE, Chunk, data_page
from tracer.store.thrift import varint

_PAGE = 16384  # values: one far jump widens no more than these
_BLOCK, _MINIBLOCKS = 128, 4
_MINI = _BLOCK // _MINIBLOCKS

Numbers = npt.NDArray[np.int32] | npt.NDArray[np.int64]


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _in_bytes(values: npt.NDArray[np.unsignedinteger], width: int) -> npt.NDArray[np.uint8]:
    """The lowest ``width`` bytes of each value, lowest first; the others must be 0."""
    if width == 3:
        # Four values to three words; picking bytes one by one takes several times as long.
        a, b, c, d = np.ascontiguousarray(values, "<u4").reshape(-1, 4).T
        out = np.empty((len(a), 3), "<u4")
        np.bitwise_or(a, b << 24, out=out[:, 0])
        np.bitwise_or(b >> 8, c << 16, out=out[:, 1])
        np.bitwise_or(c >> 16, d << 8, out=out[:, 2])
        return out.reshape(-1).view(np.uint8)
    return np.ascontiguousarray(values, f"<u{width}").view(np.uint8)


def encode(values: Numbers) -> bytes | None:
    """The body of a page, None where plain values take no more room. At least one value."""
    # Wrapping round is what the format wants: differences have the width of the values.
    steps = values[1:] - values[:-1]
    head = varint(_BLOCK) + varint(_MINIBLOCKS) + varint(len(values)) + _zigzag(int(values[0]))
    if not len(steps):
        return head
    least = int(steps.min())
    most = int(steps.max()) - least
    width = -(-most.bit_length() // 8) or 1
    if width > 4 or width == values.itemsize:
        return None
    blocks = -(-len(steps) // _BLOCK)
    padded = np.zeros(blocks * _BLOCK, f"<u{values.itemsize}")
    np.subtract(steps, least, out=padded[: len(steps)].view(values.dtype))
    block_head = np.frombuffer(_zigzag(least) + bytes([8 * width]) * _MINIBLOCKS, np.uint8)
    out = np.empty((blocks, len(block_head) + _BLOCK * width), np.uint8)
    out[:, : len(block_head)] = block_head
    out[:, len(block_head) :] = _in_bytes(padded, width).reshape(blocks, -1)
    # Miniblocks without any value are not stored.
    empty = (len(padded) - len(steps)) // _MINI
    body = out.tobytes()
    return head + (body[: -empty * _MINI * width] if empty else body)


def number_chunk(values: npt.NDArray[np.integer]) -> Chunk:
    """A column of integers that have no dictionary, as Parquet stores them: in 4 or 8 bytes."""
    kind = np.dtype(np.int64 if values.itemsize == 8 else np.int32)
    stored: Numbers = np.ascontiguousarray(
        values.view(kind) if values.itemsize >= 4 else values.astype(kind)
    )
    pages = []
    encodings = {RLE}
    for start in range(0, len(stored), _PAGE):
        part = stored[start : start + _PAGE]
        body = encode(part)
        encoding = PLAIN if body is None else DELTA
        encodings.add(encoding)
        pages.append(data_page(part.tobytes() if body is None else body, len(part), encoding))
    data = b"".join(pages)
    return Chunk(data, 0, len(data), 0, sorted(encodings))
