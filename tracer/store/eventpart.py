"""The events of a segment: a Parquet file put together here, for speed (see eventgroup)."""

from tracer.store.chain import PartInfo, part_name
from tracer.store.eventgroup import EventGroup
from tracer.store.folder import Folder
from tracer.store.footer import MAGIC, FileShape
from tracer.store.schema import EVENTS
from tracer.store.sink import Sink


class EventPart:
    """``events/NNNNNN.parquet``, being written under a temporary name."""

    def __init__(self, where: Folder, number: int) -> None:
        self.path = f"events/{part_name(number)}"
        self.sink = Sink(where, part_name(number))
        self.sink.write(MAGIC)
        self._shape = FileShape(EVENTS)

    def add(self, group: EventGroup) -> None:
        """Appends a row group."""
        chunks = group.chunks()
        at = self.sink.tell()
        self._shape.add_group(group.rows, at, chunks, {"time_ns": group.time_range()})
        for chunk in chunks:
            self.sink.write(chunk.data)

    def finish(self) -> PartInfo:
        """Writes the end of the file; nothing can be added then."""
        self.sink.write(self._shape.footer())
        self.sink.push()
        return PartInfo(self.sink.digest.hexdigest(), self.sink.tell(), self._shape.rows)
