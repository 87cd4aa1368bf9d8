"""The table of losses."""

from collections.abc import Mapping

import pandas as pd

from tracer.analysis.source import Source

_COLUMNS = ["path", "host", "boot_id", "cause", "hook", "count"]


def losses(found: Mapping[Source, pd.DataFrame]) -> pd.DataFrame:
    """See :attr:`tracer.analysis.snapshot.Tables.losses`."""
    pieces = []
    for source, frame in found.items():
        piece = frame.groupby(["cause", "hook"], observed=True, as_index=False)["count"].sum()
        piece = piece[piece["count"] > 0]
        whence = {"path": source.path, "host": source.host, "boot_id": source.boot_id}
        pieces.append(piece.astype({"cause": "str", "hook": "str"}).assign(**whence))
    if not pieces:
        return pd.DataFrame(columns=_COLUMNS)
    rows: pd.DataFrame = pd.concat(pieces, ignore_index=True)
    return rows.reindex(columns=_COLUMNS)
