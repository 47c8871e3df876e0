"""Tasks on a Ray cluster: one that is joined, or one that is started on this machine."""

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import KW_ONLY, dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import ray
import ray.util.client
from loky import cpu_count
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from memo.errors import InputError, WorkError
from memo.execution.installed import installed
from memo.execution.payload import Payload, pack, run_packed
from memo.execution.protocol import Function, Names, Results, WorkerDiedError, stream

Demand: TypeAlias = Mapping[str, float]
"""CPUs and GPUs that one task takes."""

LOOK_INTERVAL = 2.0
"""Seconds between looks at whether the cluster's head is there, while tasks run."""

LOST = 20.0
"""Seconds without its head after which a cluster is lost; Ray itself ends this process after 60."""

QUEUED = 2
"""Tasks handed over for each that can run at once: one that runs and one that waits."""

TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Variables of the environment by which Ray is given a token."""

PATIENCE = 10
"""Seconds in which a cluster must answer."""

SETTINGS = 4
"""The type of the first frame that each side of HTTP/2 sends, which gRPC is built on (RFC 9113)."""

FRAME_HEADER = 9
"""Bytes of a frame's header: three of its length, one of its type, and five more."""

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, SETTINGS, 0, 0, 0, 0, 0))

WORKER_DIED = (
    exceptions.WorkerCrashedError,
    exceptions.OutOfMemoryError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.TaskUnschedulableError,
)
"""Errors that Ray raises where a worker or its node has gone."""


@dataclass(frozen=True)
class Ray:
    """A Ray cluster. What tasks share is put once into its object store, on each node.

    A cluster that was started here ends with the run; one that was joined is left as it was. In a
    process that is connected to Ray already, tasks run on that cluster.

    Args:
        address: Address of the cluster to join; None starts one on this machine.
        workers: The most tasks at once; None for as many as there is room for.
        cpus: Processors that one task takes.
        gpus: GPUs that one task takes; None for 1 where the cluster has any, else 0.
    """

    address: str | None = None
    _: KW_ONLY
    workers: int | None = None
    cpus: float = 1
    gpus: float | None = None

    def run(
        self, function: Function, shared: Any, tasks: Sequence[Any], names: Names = None
    ) -> Results[Any]:
        """See `Executor.run`.

        Raises:
            InputError: There is no such cluster, or no node of it has room for a task.
            WorkError: Also where a node has another memo, or none.
        """
        with self._connected():
            has_gpus = any("GPU" in node["Resources"] for node in _nodes())
            gpus = self.gpus if self.gpus is not None else float(has_gpus)
            demand = {"CPU": self.cpus, "GPU": gpus}
            _check_nodes(demand)
            yield from stream(_Tasks(function, shared, demand, self.workers), tasks, names)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        if ray.is_initialized():
            yield
            return
        with ExitStack() as stack:
            nowhere = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(redirect_stdout(nowhere))  # Ray tells at length of dead workers
            before = signal.getsignal(signal.SIGTERM)
            try:
                self._connect(stack)
            except (exceptions.RayError, RuntimeError, ValueError, OSError) as error:
                here = "can be started here" if self.address is None else f"at {self.address!r}"
                message = f"MEMO_EXECUTOR=ray: no cluster {here}: {_first_line(error)}"
                raise InputError(message) from None
            except SystemExit:  # what Ray makes of SIGTERM as soon as it starts
                raise KeyboardInterrupt from None
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)
            yield

    def _connect(self, stack: ExitStack) -> None:
        """Join the cluster, or start one, whose folder the stack removes."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_SCHEDULER_EVENTS", "0")
        if self.address is not None:
            _reach(self.address)
            where: dict[str, Any] = {"address": self.address}
        else:
            folder = tempfile.mkdtemp(prefix="memo-ray-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(_own_token())
            where = {
                "address": "local",
                "num_cpus": self.workers or cpu_count(),
                "include_dashboard": False,
                "_temp_dir": folder,
            }
        stack.callback(_leave)  # before its folder is removed
        device = os.environ.get("MEMO_DEVICE")  # holds for tasks on other machines too
        ray.init(
            **where,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env=None if device is None else {"env_vars": {"MEMO_DEVICE": device}},
        )


class _Tasks:
    """Tasks of one run on a cluster, as `stream` hands them over."""

    def __init__(
        self, function: Function, shared: Any, demand: Demand, workers: int | None
    ) -> None:
        self._demand = demand
        self._workers = workers
        self._job = ray.put(pack((function, shared)))
        self._remote = ray.remote(num_cpus=demand["CPU"], num_gpus=demand["GPU"], max_retries=0)(
            _run_task
        )

    def room(self) -> int:
        _require_head()
        running = sum(slots(node["Resources"], self._demand) for node in _nodes())
        return self._workers or QUEUED * max(1, running)

    def start(self, task: Any, name: str) -> Any:
        return self._remote.options(name=name).remote(
            self._job, self._job.hex(), installed(), pack(task)
        )

    def wait(self, running: Sequence[Any]) -> Iterable[Any]:
        while True:
            done = ray.wait(list(running), num_returns=1, timeout=LOOK_INTERVAL)[0]
            if done:
                return list(done)
            _require_head()

    def result(self, handle: Any, name: str) -> Any:
        return _result(handle, name)

    def end(self, running: Iterable[Any]) -> None:
        if _head_answers():
            for handle in running:
                ray.cancel(handle, force=True)


@contextmanager
def _own_token() -> Iterator[None]:
    """Let a cluster that is started here have a token that is written nowhere.

    Ray would write one to ~/.ray, readable by all, and demand it for every later cluster.
    """
    before = {name: os.environ.get(name) for name in (*TOKENS, "RAY_AUTH_MODE")}
    if not any(before.values()):
        os.environ[TOKENS[0]] = _token()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@cache
def _token() -> str:
    """A token for all clusters of this process: Ray reads it once."""
    return secrets.token_hex(32)


def _reach(address: str) -> None:
    """Exchange greetings with the host:port of a cluster, which Ray itself would try for minutes.

    Raises:
        OSError: Nothing answers there, or not as gRPC does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        if os.environ.get("RAY_USE_TLS") == "1":
            return  # what is said first is encrypted then
        connection.settimeout(PATIENCE)
        connection.sendall(GREETING)
        try:
            answer = connection.recv(FRAME_HEADER)
        except TimeoutError:
            raise TimeoutError(f"it does not answer within {PATIENCE} s") from None
        if len(answer) < FRAME_HEADER or answer[3] != SETTINGS:
            raise OSError("what answers there is no Ray cluster")


def _require_head() -> None:
    """Wait until the cluster's head answers.

    Raises:
        WorkError: It does not, for longer than a restart takes.
    """
    deadline = time.monotonic() + LOST
    while not _head_answers():
        if time.monotonic() > deadline:
            raise WorkError(
                f"MEMO_EXECUTOR=ray: the head of the cluster, {_head()}, has not answered for "
                f"{LOST:.0f} s: it has ended, or cannot be reached any more"
            )
        time.sleep(LOOK_INTERVAL / 2)


def _head_answers() -> bool:
    if ray.util.client.ray.is_connected():  # through a proxy, which has its own ways to notice
        return True
    try:
        _reach(_head())
    except OSError:
        return False
    return True


def _head() -> str:
    return str(ray.get_runtime_context().gcs_address)


def _leave() -> None:
    """Leave the cluster; but not one that is lost, for which Ray would wait for a minute."""
    if _head_answers():
        ray.shutdown()


def slots(resources: Mapping[str, float], demand: Demand) -> int:
    """Count the tasks of one demand that fit into a node's resources at once."""
    room = [
        int(resources.get(kind, 0) / amount + 1e-9) for kind, amount in demand.items() if amount
    ]
    return min(room, default=1)


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _check_nodes(demand: Demand) -> None:
    """See that a task fits somewhere, and that memo is the same wherever one does."""
    nodes = [node for node in _nodes() if slots(node["Resources"], demand)]
    if not nodes:
        wanted = " and ".join(
            f"{amount:g} {kind}{'s' * (amount != 1)}" for kind, amount in demand.items() if amount
        )
        raise InputError(
            f"MEMO_TASK_CPUS, MEMO_TASK_GPUS: no node of the Ray cluster has {wanted} for a task"
        )
    for answer, address in [(_ask_for_memo(node), node["NodeManagerAddress"]) for node in nodes]:
        try:
            found = _result(answer, f"Ray node {address}")
        except WorkerDiedError:
            continue  # it left meanwhile
        if found != installed():
            raise _other_memo(address, found)


def _ask_for_memo(node: Mapping[str, Any]) -> Any:
    """Have a node tell which memo it has; returns the handle of the answer."""

    def found() -> str:  # sent as code, so that a node without memo can answer
        try:
            from memo.execution.installed import installed as there  # noqa: PLC0415
        except ImportError as error:
            return str(error)
        return there()

    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    asked = ray.remote(found).options(num_cpus=0, max_retries=1, scheduling_strategy=strategy)
    return asked.remote()


def _other_memo(address: str, found: str, wanted: str | None = None) -> WorkError:
    return WorkError(
        f"Ray node {address} has {found}, this machine {wanted or installed()}: install the same "
        "memo on every node, or results would depend on where they were computed"
    )


def _result(handle: Any, name: str) -> Any:
    """Return a task's result; see `Workers.result`."""
    try:
        return ray.get(handle)
    except exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except WORKER_DIED as error:
        raise WorkerDiedError(_first_line(error)) from None
    except exceptions.RayError as error:
        raise WorkError(f"{name}: Ray: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _run_task(job: Payload, key: str, wanted: str, task: Payload) -> Any:
    """Run a task on a node."""
    if installed() != wanted:
        address = ray.util.get_node_ip_address()
        raise _other_memo(address, installed(), wanted)
    return run_packed(job, task, key)
