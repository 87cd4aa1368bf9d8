"""The writing side of ``chain.jsonl``."""

import os
from dataclasses import replace

from tracer.store import folder as disk
from tracer.store.chain import CHAIN, Link, digest, line
from tracer.store.folder import Folder


class ChainWriter:
    """The open ``chain.jsonl`` and the digest that the next line has to carry."""

    def __init__(self, folder: Folder, manifest_digest: str) -> None:
        self.last = manifest_digest
        self.count = 0
        self.fd = folder.create(CHAIN)

    def append(self, link: Link) -> int:
        """Signs a line with the digests, adds it, waits for the device; its length in bytes."""
        link = replace(link, previous=self.last)
        link = replace(link, digest=digest(link))
        size = disk.write_all(self.fd, line(link))
        disk.sync(self.fd)
        self.last = link.digest
        self.count += 1
        return size

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
