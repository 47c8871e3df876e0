"""The interface of executors, and the loop that those with workers share."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from memo.errors import WorkError

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Item = TypeVar("Item")
Result = TypeVar("Result")
Handle = TypeVar("Handle")

Function: TypeAlias = Callable[[Any, Any], Any]
"""A function of what tasks share and of a task."""

Names: TypeAlias = Sequence[str] | None
"""Names of the tasks in errors; None for their positions."""

Results: TypeAlias = Generator[tuple[int, Result], None, None]
"""Pairs of a task's position and its result, as tasks finish; `close` ends what still runs."""

RESTARTS = 3
"""Restarts of a task whose worker died."""

_log = logging.getLogger(__name__)


class Executor(Protocol):
    """Runs one function over many tasks; what a task returns depends on the task alone."""

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        names: Names = None,
    ) -> Results[Result]:
        """Yield (position, result) as tasks finish; they start in their order.

        Leaving the iteration, in any way, ends what still runs.

        Args:
            function: Called with what is shared and a task.
            shared: What all tasks read; it is sent to each worker or node once.
            tasks: One argument each, asked for when a worker is free for it: see `Lazy`.
            names: Names of the tasks in errors; None for their positions.

        Raises:
            WorkError: A task's worker died more than `RESTARTS` times.
            Exception: What the function raises; the task is not tried again.
        """


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

    def __getitem__(self, position: Any) -> Any:
        return self._make(self._items[position])


class WorkerDiedError(Exception):
    """A worker ended in the middle of a task; the message says how."""


class Workers(Protocol[Handle]):
    """Workers that `stream` hands tasks to; a handle stands for a task that was handed over."""

    def room(self) -> int:
        """Count the tasks that may be handed over at once, unfinished ones included."""

    def start(self, task: Any, name: str) -> Handle:
        """Hand a task over."""

    def wait(self, running: Sequence[Handle]) -> Iterable[Handle]:
        """Wait until a task has ended, well or not; return those that have."""

    def result(self, handle: Handle, name: str) -> Any:
        """Return the result of a task that has ended.

        Raises:
            WorkerDiedError: The worker died, and with it the task.
            Exception: What the task raised.
        """

    def end(self, running: Iterable[Handle]) -> None:
        """End tasks that still run."""


def stream(workers: Workers[Handle], tasks: Sequence[Any], names: Names) -> Results[Any]:
    """Run tasks as `Executor.run` describes; those whose worker died are started again."""
    names = names if names is not None else [f"task {position}" for position in range(len(tasks))]
    failures: Counter[int] = Counter()
    waiting = deque(range(len(tasks)))
    running: dict[Handle, int] = {}
    finished: list[tuple[int, Any]] = []
    try:
        while waiting or running or finished:
            room = workers.room()
            while waiting and len(running) < room:
                position = waiting.popleft()
                running[workers.start(tasks[position], names[position])] = position
            yield from finished  # while workers that were free are at work again
            finished = []
            for handle in workers.wait(list(running)) if running else ():
                position = running.pop(handle)
                try:
                    finished.append((position, workers.result(handle, names[position])))
                except WorkerDiedError as error:
                    failures[position] += 1
                    _note(names[position], failures[position], error)
                    waiting.appendleft(position)
    finally:
        workers.end(running)


def _note(name: str, count: int, reason: WorkerDiedError) -> None:
    """Log that a task is started again, or raise a WorkError at one restart too many."""
    if count > RESTARTS:
        raise WorkError(
            f"{name}: its worker died {count} times ({reason}); is there enough memory?"
        )
    _log.warning("%s: its worker died (%s); it is started again", name, reason)
