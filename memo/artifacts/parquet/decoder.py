"""The process that decodes tables on trial: see `memo.parquet.trial`, which starts it.

It imports nothing of memo, to start fast.
"""

import io
import json
import os
import signal
import sys
from pathlib import Path

import polars as pl

LENGTH_BYTES = 8

SPARE = 256 << 20
"""Bytes that any table may take when decoded, beside a multiple of its size."""

LARGEST_RATIO = 100
"""Tables of measured numbers are compressed by a factor of two; names and constants by some ten."""


A_ROW = 100
"""Bytes that a record takes beside its values, for its number and name."""


def _problem(content: bytes) -> str | None:
    most = SPARE + LARGEST_RATIO * len(content)
    try:
        _limit_memory(most)
        pl.read_parquet_metadata(io.BytesIO(content))
        least = _bytes_of_cells(content)
        if least <= most:
            least += _bytes_of_texts(pl.read_parquet(io.BytesIO(content)))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, MemoryError) as error:
        return str(error)
    if least > most:
        return (
            f"it takes {least >> 20:,} MiB of memory from {len(content) / 1024:,.0f} KiB of file, "
            "far more memory than a table of its size; save it as CSV if it is one"
        )
    return None


def _bytes_of_cells(content: bytes) -> int:
    """Bytes of all cells, by the numbers of rows and columns that the footer says, undecoded."""
    scanned = pl.scan_parquet(io.BytesIO(content))
    widths = {pl.Boolean(): 1, pl.String(): 16, pl.Binary(): 16}
    a_row = A_ROW + sum(widths.get(dtype, 8) for dtype in scanned.collect_schema().dtypes())
    return int(scanned.select(pl.len()).collect().item()) * a_row


def _bytes_of_texts(table: pl.DataFrame) -> int:
    """Bytes of all texts as if each stood for itself.

    Rows of one dictionary's entry share its text when they are decoded, and no longer do in what
    is computed from them.
    """
    found = 0
    for series in table:
        if series.dtype in (pl.Categorical, pl.Enum):
            counted = series.rename("text").value_counts(name="rows")
            lengths = counted["text"].cast(pl.String).str.len_bytes().cast(pl.Int64)
            found += int((lengths * counted["rows"]).sum())
        elif series.dtype == pl.String:
            found += int(series.str.len_bytes().cast(pl.Int64).sum())
        elif series.dtype == pl.Binary:
            found += int(series.bin.size().cast(pl.Int64).sum())
    return found


def _limit_memory(more: int) -> None:
    """No more than so many bytes beside what the process has; where the system can tell."""
    table = Path("/proc/self/statm")
    if table.exists():
        import resource  # noqa: PLC0415 -- where there is no such table, there is no such module

        used = int(table.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = used + more if hard == resource.RLIM_INFINITY else min(used + more, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _answer_all() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when it ends
    while length := sys.stdin.buffer.read(LENGTH_BYTES):
        content = sys.stdin.buffer.read(int.from_bytes(length, "little"))
        sys.stdout.write(json.dumps(_problem(content)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _answer_all()
