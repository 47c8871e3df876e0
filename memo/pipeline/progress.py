"""Progress: a bar with times on a terminal, plain lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from memo.console import plain_console
from memo.errors import WorkError

LOG_INTERVAL = 10.0
"""Seconds between lines in a log."""

console = plain_console(stderr=True)


class Advance(Protocol):
    """Tells that so many more units of work are done."""

    def __call__(self, done: int) -> None: ...

    def begin(self, count: int) -> None:
        """Tell that so many more are under way, which may take long until the first is done."""


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show how much of `total` is done and under way, and how long the rest will take."""
    if console.is_terminal:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bars:
            yield _Bar(bars, bars.add_task(what, total=total), what, total)
    else:
        yield _Lines(what, total)


@contextmanager
def without_progress() -> Iterator[None]:
    """Show none meanwhile, and nothing else of how work goes on."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


@contextmanager
def telling_kept(what: str, kept: Callable[[], str]) -> Iterator[None]:
    """Say what is kept where work is interrupted, or stopped by a disk or a cluster."""
    try:
        yield
    except (KeyboardInterrupt, WorkError) as end:
        how = "stopped" if isinstance(end, WorkError) else "interrupted"
        console.print(f"{what}: {how}; {kept()}", soft_wrap=True)
        raise


class _Bar:
    def __init__(self, bars: Progress, bar: TaskID, what: str, total: int) -> None:
        self._bars, self._bar, self._what = bars, bar, what
        self._left, self._running = total, 0

    def __call__(self, done: int) -> None:
        self._left -= done
        self._bars.advance(self._bar, done)
        self._show(self._running - done)

    def begin(self, count: int) -> None:
        self._show(self._running + count)

    def _show(self, running: int) -> None:
        self._running = max(0, min(running, self._left))  # a task may begin twice
        under_way = f" ({self._running} under way)" if self._running else ""
        self._bars.update(self._bar, description=f"{self._what}{under_way}", refresh=True)


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._start = self._last = time.monotonic()
        self._begun = False

    def __call__(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if self._done == self._total or now - self._last >= LOG_INTERVAL:
            self._last = now
            left = (now - self._start) / self._done * (self._total - self._done)
            rest = f", about {left:.0f} s left" if self._done < self._total else ""
            console.print(f"{self._what}: {self._done} of {self._total}{rest}", soft_wrap=True)

    def begin(self, count: int) -> None:
        if not self._begun:
            console.print(f"{self._what}: 0 of {self._total}, {count} under way", soft_wrap=True)
        self._begun = True
