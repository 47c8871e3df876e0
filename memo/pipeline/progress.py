"""Progress: a bar with time left on a terminal, plain lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from memo.console import plain_console
from memo.errors import WorkError

LOG_INTERVAL = 10.0
"""Seconds between lines in a log."""

console = plain_console(stderr=True)


class Advance(Protocol):
    """Tells that so many more units of work are done."""

    def __call__(self, done: int) -> None: ...


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show how much of `total` is done, and how long the rest will take."""
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bars:
            bar = bars.add_task(what, total=total)
            yield lambda done: bars.advance(bar, done)
    else:
        yield _Lines(what, total)


@contextmanager
def telling_kept(what: str, kept: Callable[[], str]) -> Iterator[None]:
    """Say what is kept where work is interrupted, or stopped by a disk or a cluster."""
    try:
        yield
    except (KeyboardInterrupt, WorkError) as end:
        how = "stopped" if isinstance(end, WorkError) else "interrupted"
        console.print(f"{what}: {how}; {kept()}", soft_wrap=True)
        raise


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._start = self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if self._done == self._total or now - self._last >= LOG_INTERVAL:
            self._last = now
            left = (now - self._start) / self._done * (self._total - self._done)
            rest = f", about {left:.0f} s left" if self._done < self._total else ""
            console.print(f"{self._what}: {self._done} of {self._total}{rest}", soft_wrap=True)
