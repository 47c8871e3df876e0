"""Which executor this machine uses: a property of the machine, and never of a result."""

import difflib
import math
import os
from collections.abc import Sequence

from memo.errors import InputError
from memo.execution.nursery import FORKS, Nursery
from memo.execution.processes import InProcess, Processes
from memo.execution.protocol import Executor

__all__ = ["EXECUTORS", "executor", "start_nursery"]

EXECUTORS = ("in-process", "processes", "ray")


def start_nursery(module: str, workers: int | None = None) -> Nursery | None:
    """What to fork workers from, if there are to be any: it is started now.

    Args:
        module: What tasks need; it is imported there while this process does something else.
        workers: As of `executor`.

    Raises:
        InputError: As of `executor`.
    """
    kind = _named_executor()
    several = (workers or _positive_int("MEMO_WORKERS") or _cores()) > 1
    wanted = kind == "processes" or (kind is None and several)
    return Nursery(module) if wanted and FORKS else None


def executor(
    workers: int | None = None,
    *,
    gpus: Sequence[str] = (),
    nursery: Nursery | None = None,
) -> Executor:
    """The executor that MEMO_EXECUTOR names.

    By default tasks run in worker processes, or in this one where there is to be one worker.

    Args:
        workers: The most tasks at once. By default MEMO_WORKERS; without it, one for each GPU, or
            for each core that this process may use; with Ray, as many as the cluster has room for.
        gpus: This machine's, by their names in CUDA_VISIBLE_DEVICES.
        nursery: What worker processes are forked from, where there are any.

    Raises:
        InputError: A setting is not one that it may be, or Ray is not installed.
    """
    kind = _named_executor()
    count = workers if workers is not None else _positive_int("MEMO_WORKERS")
    if kind == "ray":
        return _ray(count)
    local = count or len(gpus) or _cores()
    if kind == "in-process" or (kind is None and local == 1):
        return InProcess()
    return Processes(local, gpus, nursery)


def _cores() -> int:
    """Those that this process may use."""
    import joblib  # noqa: PLC0415 -- a tenth of a second, which workers need not wait for

    return int(joblib.cpu_count())


def _named_executor() -> str | None:
    setting = os.environ.get("MEMO_EXECUTOR")
    if setting is None or setting in EXECUTORS:
        return setting
    near = difflib.get_close_matches(setting, EXECUTORS, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"MEMO_EXECUTOR must be one of {', '.join(EXECUTORS)}, not {setting!r}{hint}")


def _ray(workers: int | None) -> Executor:
    cpus, gpus = _amount("MEMO_TASK_CPUS"), _amount("MEMO_TASK_GPUS")
    try:
        from memo.execution.cluster import Ray  # noqa: PLC0415 -- an optional extra
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise InputError(
            "MEMO_EXECUTOR=ray: Ray is not installed; run: pip install 'memo-audit[ray]'"
        ) from None
    address = os.environ.get("MEMO_RAY_ADDRESS") or os.environ.get("RAY_ADDRESS")
    return Ray(address, workers=workers, cpus=1 if cpus is None else cpus, gpus=gpus)


def _positive_int(name: str) -> int | None:
    setting = os.environ.get(name)
    if setting is None:
        return None
    if not setting.isdecimal() or int(setting) < 1:
        raise InputError(f"{name} must be a positive number, not {setting!r}")
    return int(setting)


def _amount(name: str) -> float | None:
    """A share or a number of processors."""
    setting = os.environ.get(name)
    if setting is None:
        return None
    try:
        amount = float(setting)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf or (amount > 1 and amount % 1):
        raise InputError(f"{name} must be a share of one or a whole number, not {setting!r}")
    return amount
