"""The choice of an executor: a property of the machine, and never of a result."""

import difflib
import math
import os
from collections.abc import Sequence
from numbers import Integral

from loky import cpu_count

from memo.errors import InputError
from memo.execution.processes import InProcess, Processes
from memo.execution.protocol import Executor
from memo.extras import require_extra

EXECUTORS = ("in-process", "processes", "ray")


def executor(workers: int | None = None, *, gpus: Sequence[str] = ()) -> Executor:
    """Return the executor that MEMO_EXECUTOR names.

    By default tasks run in worker processes, or in this one where there is to be one worker.

    Args:
        workers: The most tasks at once. By default MEMO_WORKERS; without it, one for each GPU, or
            for each core that this process may use; with Ray, as many as the cluster has room for.
        gpus: This machine's, by their names in CUDA_VISIBLE_DEVICES.

    Raises:
        InputError: A setting is not one that it may be, or Ray is not installed.
    """
    kind = os.environ.get("MEMO_EXECUTOR")
    if kind is not None and kind not in EXECUTORS:
        near = difflib.get_close_matches(kind, EXECUTORS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        allowed = ", ".join(EXECUTORS)
        raise InputError(f"MEMO_EXECUTOR must be one of {allowed}, not {kind!r}{hint}")
    if workers is not None and (not isinstance(workers, Integral) or workers < 1):
        raise InputError(f"workers must be a positive number, not {workers!r}")
    count = workers if workers is not None else _positive_int("MEMO_WORKERS")
    if kind == "ray":
        return _ray(count)
    local = count or len(gpus) or int(cpu_count())
    if kind == "in-process" or (kind is None and local == 1):
        return InProcess()
    return Processes(local, gpus)


def _ray(workers: int | None) -> Executor:
    cpus, gpus = _amount("MEMO_TASK_CPUS"), _amount("MEMO_TASK_GPUS")
    require_extra("ray", "MEMO_EXECUTOR=ray")
    from memo.execution.cluster import Ray  # noqa: PLC0415 -- an optional extra

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
    """Read a share or a number of processors from the environment."""
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
