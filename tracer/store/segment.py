"""One segment: what arrived between two cuts, as one part a table and one line of the chain."""

import numpy as np
import numpy.typing as npt

from tracer.model.record import EVENT, HEAD, RECORD_SIZE, RecordType
from tracer.store.chain import Link
from tracer.store.chainfile import ChainWriter
from tracer.store.events import EventColumns
from tracer.store.folder import Folder
from tracer.store.objects import objects_tables
from tracer.store.part import Part
from tracer.store.sequence import count_by_cpu
from tracer.store.tables import all_events, build, split

Records = npt.NDArray[np.void]
_RAW = f"V{RECORD_SIZE}"
_OBJECTS_HELD = 16384  # records; names find their objects within one call of objects_tables


class TableFolders:
    """The folders of the tables, made when the first row comes."""

    def __init__(self, root: Folder) -> None:
        self._root = root
        self._open: dict[str, Folder] = {}

    def __getitem__(self, name: str) -> Folder:
        if name not in self._open:
            self._open[name] = self._root.make_sub(name)
            self._root.sync()
        return self._open[name]

    def close(self) -> None:
        """Gives the descriptors back."""
        for folder in self._open.values():
            folder.close()


class Segment:
    """Takes records in pieces, writes them as they come, and becomes visible in :meth:`commit`."""

    def __init__(self, number: int, folders: TableFolders, columns: EventColumns) -> None:
        self.number = number
        self.rows = 0
        self.written = 0
        """Bytes, known after :meth:`commit`."""
        self._folders = folders
        self._columns = columns
        self._parts: dict[str, Part] = {}
        self._objects: list[Records] = []
        self._cpus: dict[int, tuple[int, int, int]] = {}
        self._unknown = 0
        self._link: Link | None = None

    def add(self, records: Records) -> None:
        """Takes records (HEAD, any types); they may be overwritten after the call."""
        self.rows += len(records)
        if all_events(records):
            self._add_events(records.view(_RAW).view(EVENT))
            return
        # Events are counted as columns, which takes a third of the time.
        rest = records[records["type"] != RecordType.EVENT]
        count_by_cpu(rest["cpu"], rest["seq"], self._cpus)
        found, objects, unknown = split(records)
        self._unknown += unknown
        for name, rows in found.items():
            if name == "events":
                self._add_events(rows)
            else:
                self._part(name).add(build(name, rows))
        if len(objects):
            self._objects.append(objects.view(_RAW))
            if sum(map(len, self._objects)) > _OBJECTS_HELD:
                self._add_objects()

    def _add_events(self, rows: Records) -> None:
        while len(rows):
            rows = rows[self._columns.add(rows) :]
            if self._columns.rows == self._columns.capacity:
                self._write_events()

    def _write_events(self) -> None:
        if self._columns.rows:
            count_by_cpu(*self._columns.sequence(), self._cpus)
            self._part("events").add(self._columns.table())
            self._columns.clear()

    def _add_objects(self) -> None:
        if not self._objects:
            return
        records = np.concatenate(self._objects).view(HEAD)
        self._objects.clear()
        for name, table in zip(("objects", "names"), objects_tables(records), strict=True):
            if table.num_rows:
                self._part(name).add(table)

    def _part(self, name: str) -> Part:
        if name not in self._parts:
            self._parts[name] = Part(self._folders[name], name, self.number)
        return self._parts[name]

    def finish(self) -> None:
        """Writes what was held back and the ends of the files."""
        self._write_events()
        self._add_objects()
        files = {part.path: part.finish() for part in self._parts.values()}
        self._link = Link(self.number, files, dict(sorted(self._cpus.items())), self._unknown, "")

    def commit(self, chain: ChainWriter) -> None:
        """Makes the segment durable and then visible. The order is what kill -9 must not break."""
        if self._link is None:
            raise RuntimeError("commit before finish")
        for name, part in self._parts.items():
            part.sink.publish()
            self._folders[name].sync()
        self.written = sum(part.size for part in self._link.files.values())
        chain.append(self._link)

    @property
    def bytes_on_disk(self) -> int:
        """What its unfinished parts take."""
        return sum(part.sink.size for part in list(self._parts.values()))

    def discard(self) -> None:
        """Takes files away that did not become part of the chain."""
        for part in self._parts.values():
            part.sink.discard()
