"""The writing side of ``chain.jsonl``."""

import os
from collections.abc import Mapping
from dataclasses import replace

from tracer.store import folder as disk
from tracer.store.chain import (
    BEGINS,
    CHAIN,
    ENDS,
    MANIFEST,
    Link,
    PartInfo,
    digest,
    info,
    line,
    signed,
)
from tracer.store.errors import StoreError
from tracer.store.folder import Folder
from tracer.store.limits import CHAIN_BYTES, CHAIN_LINES


class ChainWriter:
    """The open ``chain.jsonl`` and the digest that the next line has to carry."""

    def __init__(self, folder: Folder, manifest: bytes) -> None:
        """Begins it with the line that holds the digest of ``manifest.json``."""
        self.last = ""
        self.count = 0
        """Segments."""
        self.size = 0
        """Bytes."""
        self.fd = folder.create(CHAIN)
        self._write(signed(BEGINS, {MANIFEST: info(manifest)}, ""))

    def append(self, link: Link) -> None:
        """Adds a segment with the digests that belong to it, and waits for the device."""
        if self.count + 3 > CHAIN_LINES or self.size > CHAIN_BYTES // 2:
            raise StoreError(
                f"{self.count} segments are as many as a recording can have: go on in another one"
            )
        link = replace(link, previous=self.last)
        self._write(replace(link, digest=digest(link)))
        self.count += 1

    def end(self, files: Mapping[str, PartInfo]) -> None:
        """The last line: digests of ``end.json`` and of the tails that are left."""
        if os.fstat(self.fd).st_size != self.size:
            disk.cut(self.fd, self.size)  # of a line that failed half-way, say of a full disk
        self._write(signed(ENDS, dict(files), self.last))

    def _write(self, link: Link) -> None:
        size = disk.write_all(self.fd, line(link))
        disk.sync(self.fd)
        self.size += size
        self.last = link.digest

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
