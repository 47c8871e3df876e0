"""Tasks that tests let executors run, in a module that imports no torch."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from memo.errors import WorkError


def power(shared: int, task: int) -> tuple[int, int]:
    return shared**task, os.getpid()


def remember(shared: list[int], task: int) -> list[int]:
    shared.append(task)
    return shared


def die_once(shared: str, task: int) -> tuple[int, int]:
    marker = Path(shared) / str(task)
    if task == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task, os.getpid()


def see_another_die(shared: str, task: str) -> tuple[str, int]:
    """One waits until the other was killed, and must see that from where it began."""
    started = Path(shared) / f"{task}-{os.getpid()}"
    started.touch()
    victims = len(list(Path(shared).glob("victim-*")))
    if task == "victim" and victims == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while len(list(Path(shared).glob("victim-*"))) < 2:
        time.sleep(0.01)
    return task, os.getpid()


def die(_: None, __: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(_: None, task: int) -> None:
    os._exit(task)


def hold(shared: str, task: int) -> None:
    (Path(shared) / str(os.getpid())).touch()
    time.sleep(60)


def grow(shared: list[bytes], task: int) -> int:
    """Take so many MB for good, and longer than loky waits until it looks at memory again."""
    shared.append(b"x" * (task << 20))
    time.sleep(1.1)
    return os.getpid()


def fail(_: None, task: int) -> None:
    raise WorkError(f"task {task} cannot be done")


def visible_gpu(_: None, __: int) -> tuple[str, int]:
    time.sleep(0.2)  # so that each worker gets tasks
    return os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()


def visible_gpu_of_survivors(shared: str, task: int) -> str:
    marker = Path(shared) / str(task)
    if task == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif task == 1:
        (Path(shared) / "again").touch()
    while not (Path(shared) / "again").exists():
        time.sleep(0.01)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def seen_content(shared: dict[str, Any], task: int) -> tuple[int, bool]:
    return int(shared["mapped"].sum()) + task, shared["mapped"].flags.writeable


def wait_for_release(shared: str, task: int) -> tuple[int, str]:
    """Say where it runs, and wait until the test lets go."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    (Path(shared) / f"{task}-{node}").touch()
    while not (Path(shared) / "release").exists():
        time.sleep(0.02)
    return task, node
