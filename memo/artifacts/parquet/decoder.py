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


def _problem(content: bytes) -> str | None:
    try:
        _limit_memory(SPARE + LARGEST_RATIO * len(content))
        pl.read_parquet_metadata(io.BytesIO(content))
        pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, MemoryError) as error:
        return str(error)
    return None


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
