"""Writes rows of a table to a file: JSON, CSV or Parquet, as the name's ending says."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tracer.errors import UserError
from tracer.model.verdicts import Verdict
from tracer.text.data import csv_cell
from ui.rows import Rows

ENDINGS = (".json", ".csv", ".parquet")
_VERDICTS = ("verdict", "worst")


def records(rows: Rows, marked: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The marked rows, or all that are shown, with every column; verdicts as words."""
    places = {int(rows.ids[place]): place for place in rows.order.tolist()}
    chosen: Iterable[Mapping[str, Any]]
    if marked:
        chosen = (
            rows.record(places[row_id]) if row_id in places else record
            for row_id, record in marked.items()
        )
    else:
        chosen = map(rows.record, places.values())
    return [_worded(record) for record in chosen]


def _worded(record: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(record)
    for name in _VERDICTS:
        value = found.get(name)
        if isinstance(value, int):
            found[name] = Verdict(value).word if value >= 0 else None
    return found


def _json(path: Path, found: list[dict[str, Any]]) -> None:
    with path.open("x", encoding="utf-8") as file:
        for record in found:
            file.write(json.dumps(record) + "\n")


def _csv(path: Path, found: list[dict[str, Any]]) -> None:
    names = list(found[0]) if found else []
    with path.open("x", encoding="utf-8", newline="") as file:
        file.write(",".join(names) + "\r\n")
        for record in found:
            file.write(",".join(csv_cell(record[name]) for name in names) + "\r\n")


def _parquet(path: Path, found: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("xb") as file:
        pq.write_table(pa.Table.from_pylist(found), file)


_WRITE: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def write(path: str, found: list[dict[str, Any]]) -> str:
    """Writes ``found`` to a new file and says so; JSON is one object a line.

    UserError: the ending says nothing, or the system refuses (an existing file is not replaced).
    """
    target = Path(path).expanduser()
    form = _WRITE.get(target.suffix.lower())
    if form is None:
        raise UserError(f"{path}: end the name with {', '.join(ENDINGS)}")
    try:
        form(target, found)
    except FileExistsError:
        raise UserError(f"{path} is there already; choose another name") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    return f"{len(found):,} rows written to {target}"
