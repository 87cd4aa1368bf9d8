"""From records to segments of the chain, with a thread that waits for the disk.

Capture goes on while a disk takes its time: one segment may be on its way to the device; only when
the next one is cut before that has arrived does the writer wait.
"""

from contextlib import suppress
from functools import partial

import numpy as np
import numpy.typing as npt

from tracer.store.chain import TAIL_FOLDER, PartInfo
from tracer.store.chainfile import ChainWriter
from tracer.store.events import EventColumns
from tracer.store.folder import Folder
from tracer.store.limits import Limits
from tracer.store.segment import Segment, TableFolders
from tracer.store.tail import TailWriter
from tracer.store.worker import Worker

Records = npt.NDArray[np.void]


class Open:
    """A segment that is not in the chain yet, and its tail."""

    def __init__(self, segment: Segment, tail: TailWriter) -> None:
        self.segment = segment
        self.tail = tail
        self.rows = 0
        """Records that belong to it so far."""


class Pipeline:
    """Takes chunks of records and turns them into segments of the chain."""

    def __init__(self, root: Folder, manifest: bytes, limits: Limits) -> None:
        self.chain = ChainWriter(root, manifest)
        self.stored_rows = 0
        """Records in the segments of the chain."""
        self.stored_bytes = 0
        self._tables = TableFolders(root)
        # There from the start, for readers that only know folders; and synced with it is the chain.
        self._tables["events"]
        self._tails = root.make_sub(TAIL_FOLDER)
        self._columns = EventColumns(limits.group_rows)
        self._finisher = Worker("finish", inline=not limits.threads)
        self._open: dict[int, Open] = {}

    def begin(self, number: int) -> Open:
        """A new segment; nothing is written for it yet."""
        new = Open(
            Segment(number, self._tables, self._columns),
            TailWriter(self._tails, number),
        )
        self._open[number] = new
        return new

    def add(self, to: Open, records: Records) -> None:
        """Encodes ``records`` (HEAD, any stride) into a segment."""
        if len(records):
            to.segment.add(records)

    def finish(self, done: Open) -> None:
        """Nothing more comes for this segment: it goes to the disk and into the chain."""
        done.tail.close()
        done.segment.finish()
        self._finisher.submit(partial(self._commit, done))

    def _commit(self, done: Open) -> None:
        done.segment.commit(self.chain)
        self.stored_rows += done.segment.rows
        self.stored_bytes += done.segment.written
        del self._open[done.segment.number]
        if done.tail.begun:
            self._tails.unlink(done.tail.name)

    def may_have_tail(self, one: Open) -> bool:
        """Whether nothing before this segment would be missing if everything ended now.

        A tail behind a segment that is nowhere yet would leave a hole, and not an end.
        """
        return all(other is one or other.tail.whole for other in list(self._open.values()))

    def check(self) -> None:
        """Raises what went wrong in the thread."""
        self._finisher.check()

    def wait(self) -> None:
        """Waits until everything given is in the chain. Raises like :meth:`check`."""
        self._finisher.wait()

    @property
    def rows_in_tails(self) -> int:
        """Records that are in no segment of the chain, but in a tail."""
        return sum(open_.tail.rows for open_ in self._open.values())

    @property
    def bytes_on_disk(self) -> int:
        """Segments of the chain, and for the others their tails and what of them is written."""
        parts = [(one.tail.size, one.segment.bytes_on_disk) for one in list(self._open.values())]
        return self.chain.size + self.stored_bytes + sum(map(sum, parts))

    def tails_left(self) -> dict[str, PartInfo]:
        """The tails of segments that did not come to be, on the device; to be called when stopped.

        A tail that the device does not take is given up: its records count as not stored.
        """
        found = {}
        for open_ in self._open.values():
            if open_.tail.begun:
                try:
                    found[f"{TAIL_FOLDER}/{open_.tail.name}"] = open_.tail.left()
                except OSError:
                    open_.tail.rows = 0
                    with suppress(OSError):
                        self._tails.unlink(open_.tail.name, missing_ok=True)
        if found:
            self._tails.sync()
        return found

    def stop(self) -> None:
        """Ends the thread and takes unfinished files away; tails stay. Raises nothing."""
        self._finisher.stop()
        for left in self._open.values():
            left.tail.close()
            left.segment.discard()

    def close(self) -> None:
        """:meth:`stop`, and gives the descriptors back."""
        self.stop()
        self.chain.close()
        self._tables.close()
        self._tails.close()
