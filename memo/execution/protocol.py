"""What every executor does, wherever its tasks run."""

import logging
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, overload

from memo.errors import WorkError

__all__ = ["Deaths", "Executor", "Lazy", "Results", "named"]

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Item = TypeVar("Item")
Result = TypeVar("Result")

Results: TypeAlias = Generator[tuple[int, Result], None, None]
"""Pairs of a task's position and its result, as tasks finish; `close` ends what still runs."""

_log = logging.getLogger(__name__)

RESTARTS = 3
"""How often a task is started again after what it ran on died."""


class Executor(Protocol):
    """Runs one function over many tasks; what a task returns depends on the task alone."""

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        names: Sequence[str] | None = None,
    ) -> Results[Result]:
        """Yield (position, result) as tasks finish; they start in their order.

        Leaving the iteration, by any way, ends what still runs.

        Args:
            function: A module-level function.
            shared: What all tasks read; it is sent to each worker or node once.
            tasks: One argument each, asked for when a worker is about to be free: see `Lazy`.
            names: What errors call the tasks.

        Raises:
            WorkError: Workers die of a task again and again.
            Exception: What the function raises; it is not tried again.
        """
        ...


class Lazy(Sequence[Task], Generic[Item, Task]):
    """Tasks that are made when they are asked for, so that few are in memory at a time.

    Args:
        make: Makes a task of an item.
        items: One for each task.
    """

    def __init__(self, make: Callable[[Item], Task], items: Sequence[Item]) -> None:
        self._make = make
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, position: int) -> Task: ...
    @overload
    def __getitem__(self, position: slice) -> "Lazy[Item, Task]": ...
    def __getitem__(self, position: int | slice) -> "Task | Lazy[Item, Task]":
        if isinstance(position, slice):
            return Lazy(self._make, self._items[position])
        return self._make(self._items[position])


class Deaths:
    """Counts the deaths that each task has seen of what it ran on, and ends it at too many.

    Args:
        names: The tasks'.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._count: Counter[int] = Counter()

    def note(self, position: int, reason: str) -> None:
        """A task's worker died; a log says that the task is started again.

        Raises:
            WorkError: It did so more than `RESTARTS` times.
        """
        self._count[position] += 1
        name, count = self._names[position], self._count[position]
        if count > RESTARTS:
            raise WorkError(
                f"{name}: its worker died {count} times ({reason}); is there enough memory?"
            )
        _log.warning("%s: its worker died (%s); it is started again", name, reason)


def named(names: Sequence[str] | None, tasks: Sequence[Any]) -> Sequence[str]:
    """The names, or where there are none, the tasks' positions."""
    return names if names is not None else [f"task {position}" for position in range(len(tasks))]
