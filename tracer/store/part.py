"""One Parquet file of a segment, for the tables that are not large."""

import pyarrow as pa
import pyarrow.parquet as pq

from tracer.store.chain import PartInfo, part_name
from tracer.store.folder import Folder
from tracer.store.schema import TABLES
from tracer.store.sink import Sink


class Part:
    """A part that is being written under a temporary name in the folder of its table."""

    def __init__(self, where: Folder, table: str, number: int) -> None:
        self.path = f"{table}/{part_name(number)}"
        self.sink = Sink(where, part_name(number))
        self._rows = 0
        self._writer = pq.ParquetWriter(self.sink, TABLES[table], compression="zstd")

    def add(self, table: pa.Table) -> None:
        """Appends a row group."""
        self._writer.write_table(table)
        self._rows += table.num_rows

    def finish(self) -> PartInfo:
        """Writes the end of the file; nothing can be added then."""
        self._writer.close()
        self.sink.push()
        return PartInfo(self.sink.digest.hexdigest(), self.sink.tell(), self._rows)
