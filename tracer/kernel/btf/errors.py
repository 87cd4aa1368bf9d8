"""What can be wrong with BTF."""


class BtfError(Exception):
    """The BTF is broken, or cannot answer the question; the message says why."""


class BtfMissing(BtfError):
    """The BTF is sound and has no such type, member, function or enumerator."""
