"""Tasks in this process, or in worker processes on this machine."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from memo.execution.nursery import FORKS, Nursery
from memo.execution.protocol import Deaths, Results, named
from memo.execution.worker import Worker, WorkerDiedError, packed, spawned

__all__ = ["InProcess", "Processes", "gpu_of"]

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")


class InProcess:
    """One task after another, here."""

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        names: Sequence[str] | None = None,
    ) -> Results[Result]:
        """See `Executor.run`."""
        for position in range(len(tasks)):
            yield position, function(shared, tasks[position])


class Processes:
    """Worker processes on this machine.

    One that dies takes only its own task with it, and the one that replaces it computes on the
    same GPU.

    Args:
        workers: How many.
        gpus: GPUs by their names in CUDA_VISIBLE_DEVICES; each worker sees one, dealt in turn.
        nursery: What to fork workers from; without it, one is started when it is needed.
    """

    def __init__(
        self, workers: int, gpus: Sequence[str] = (), nursery: Nursery | None = None
    ) -> None:
        self.workers = workers
        self.gpus = tuple(gpus)
        self._nursery = nursery

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        names: Sequence[str] | None = None,
    ) -> Results[Result]:
        """See `Executor.run`."""
        deaths = Deaths(named(names, tasks))
        waiting = deque(range(len(tasks)))
        new = partial(self._new_worker, function.__module__, packed((function, shared)))
        places = [
            _Place(new, gpu_of(rank, self.gpus)) for rank in range(min(self.workers, len(tasks)))
        ]
        free = deque(places)
        running: list[_Place] = []
        finished: list[tuple[int, Result]] = []
        try:
            while waiting or running or finished:
                while waiting and free:
                    place, position = free.popleft(), waiting.popleft()
                    running.append(place)
                    place.start(position, packed(tasks[position]))
                yield from finished  # while workers that were free are at work again
                finished = []
                for place in _first_to_answer(running):
                    running.remove(place)
                    free.append(place)
                    try:
                        finished.append((place.task, place.answer()))
                    except WorkerDiedError as error:
                        deaths.note(place.task, str(error))
                        waiting.appendleft(place.task)
        finally:
            for place in places:
                place.kill()

    def _new_worker(self, module: str, job: bytes, environment: dict[str, str]) -> Worker:
        if not FORKS:
            return spawned(environment, job)
        if self._nursery is None or not self._nursery.lives:
            self._nursery = Nursery(module)
        return self._nursery.worker(environment, job)


def gpu_of(worker: int, gpus: Sequence[str]) -> str | None:
    """Which GPU a worker computes on: they are dealt in turn; None where there are none."""
    return gpus[worker % len(gpus)] if gpus else None


class _Place:
    """One worker after another: a new one where the last has died."""

    def __init__(self, new: Callable[[dict[str, str]], Worker], gpu: str | None) -> None:
        self._new = partial(new, {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        self.worker: Worker | None = None
        self.task = -1
        """Position of the task that it has, or had last."""

    def start(self, task: int, content: bytes) -> None:
        """Give a worker the task at that position, `packed`; the place must be free."""
        self.task = task
        if self.worker is None:
            self.worker = self._new()
        self.worker.give(content)

    def answer(self) -> Any:
        """See `Worker.answer`."""
        assert self.worker is not None
        try:
            return self.worker.answer()
        except WorkerDiedError:
            self.worker.connection.close()
            self.worker = None
            raise

    def kill(self) -> None:
        """End the worker without the seconds that an orderly end may take."""
        if self.worker is not None:
            self.worker.kill()
            self.worker = None


def _first_to_answer(running: Sequence[_Place]) -> list[_Place]:
    """Waits for one, where there are any; a worker that has died counts too."""
    places = {place.worker.connection: place for place in running if place.worker is not None}
    ready = wait(list(places)) if places else []
    return [places[one] for one in ready if isinstance(one, Connection)]
