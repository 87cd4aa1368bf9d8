"""What is measured: our writer, and what one would write without thinking about it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tracer.record import EVENT
from tracer.recording.format import Limits

Records = npt.NDArray[np.void]


class Way(Protocol):
    """Takes records and makes files of them."""

    def append(self, records: Records) -> None: ...

    def end(self) -> int:
        """Finishes, and says how many bytes there are on the disk."""
        ...


class Sealsnoop:
    """The recording as the recorder writes it: digests, chain, fsync and all."""

    def __init__(self, path: Path) -> None:
        from tracer.recording.writer import RecordingWriter

        self._writer = RecordingWriter(path, {}, force=True, limits=Limits())

    def append(self, records: Records) -> None:
        self._writer.append(records)
        self._writer.tick(time.monotonic())

    def end(self) -> int:
        self._writer.close("done")
        return self._writer.bytes_on_disk


class Plain:
    """numpy columns → pyarrow.Table → write_table with defaults: no digests, no tail, no words."""

    def __init__(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        for old in path.iterdir():
            old.unlink()
        self._path = path
        self._rows: list[Records] = []
        self._bytes = 0
        self._parts = 0

    def append(self, records: Records) -> None:
        self._rows.append(records.copy())
        if sum(map(len, self._rows)) >= 1 << 19:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = np.concatenate(self._rows).view(EVENT)
        self._rows.clear()
        columns = {name: rows[name] for name in EVENT.names or () if name != "comm"}
        comm = np.ascontiguousarray(rows["comm"]).view("S16").astype("U16")
        table = pa.table({**columns, "comm": pa.array(comm)})
        file = self._path / f"{self._parts}.parquet"
        pq.write_table(table, file)
        self._bytes += file.stat().st_size
        self._parts += 1

    def end(self) -> int:
        if self._rows:
            self._write()
        return self._bytes


WAYS: dict[str, Callable[[Path], Way]] = {"sealsnoop": Sealsnoop, "plain pyarrow": Plain}
