"""DuckDB doing only the group-by on the recording's Parquet: it judges nothing."""

from pathlib import Path

_COUNTS = """count(*) AS decisions,
    count(*) FILTER (answer = -1) AS eperm,
    count(*) FILTER (answer < -1 AND answer >= -4095) AS other_errors,
    min(time_ns) AS first_ns, max(time_ns) AS last_ns"""
_KEYS = {
    "object": "dev, ino, gen",
    "fd": "pid, fd, dev, ino, gen",
    "process": "pid",
    "op": "op",
    "over_time": "time_ns // 50000000",
}


def group_by(path: Path, tables: tuple[str, ...]) -> dict[str, int]:
    """Rows of each table."""
    import duckdb

    connection = duckdb.connect()
    found = {}
    for name in tables:
        query = f"SELECT {_KEYS[name]}, {_COUNTS} FROM read_parquet(?) GROUP BY ALL"
        result = connection.execute(query, [f"{path}/events/*.parquet"]).fetchnumpy()
        found[name] = len(result["decisions"])
    return found


ALL = tuple(_KEYS)
