"""Ray clusters that do not answer, are none, or lose their head; and what a local one leaves."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from memo.errors import InputError
from tests.conftest import ROOT, until
from tests.execution_tasks import power

pytest.importorskip("ray")

from memo.execution import cluster


@pytest.fixture
def answering() -> Iterator[tuple[str, list[bytes]]]:
    """A server that accepts, and sends what is first in a list, if anything; its address."""
    server = socket.create_server(("127.0.0.1", 0))
    answers: list[bytes] = []
    kept = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            kept.append(connection)
            if answers:
                # Who asked may be gone by now.
                with contextlib.suppress(OSError):
                    connection.sendall(answers[0])
                    connection.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}", answers
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for connection in kept:
        connection.close()


def test_an_address_that_accepts_and_says_nothing(
    answering: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    address, _ = answering
    start = time.monotonic()
    with pytest.raises(
        InputError, match=rf"no cluster at '{address}': it does not answer within 1"
    ):
        list(cluster.Ray(address).run(power, 2, [1]))
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0", b"SSH-2.0-OpenSSH"])
def test_an_address_at_which_something_else_answers(
    answer: bytes, answering: tuple[str, list[bytes]]
) -> None:
    address, answers = answering
    answers.append(answer)
    with pytest.raises(InputError, match="what answers there is no Ray cluster"):
        list(cluster.Ray(address).run(power, 2, [1]))


LOCAL = """
import sys
from memo.errors import WorkError
from memo.execution import cluster
from memo.pipeline.progress import telling_kept
from tests.execution_tasks import hold, power

cluster.LOST = 3.0
print(list(cluster.Ray(workers=1).run(power, 3, [2]))[0][1][0], flush=True)
try:
    with telling_kept("fast", lambda: "3 of 7 models are kept"):
        list(cluster.Ray(workers=1).run(hold, sys.argv[1], [1, 2]))
except WorkError as error:
    print(error, flush=True)
"""


def test_a_local_cluster_leaves_no_token_and_its_loss_is_said(tmp_path: Path) -> None:
    """Ray by itself would end the process after a minute, with a message of its own."""
    home, held = tmp_path / "home", tmp_path / "held"
    home.mkdir()
    held.mkdir()
    temporary = tempfile.mkdtemp(prefix="t-")  # names of sockets must be short
    driver = subprocess.Popen(
        [sys.executable, "-c", LOCAL, str(held)],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "HOME": str(home),
            "TMPDIR": temporary,
            "PYTHONPATH": str(ROOT),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: list(held.iterdir()) or driver.poll() is not None, 180)
        (head,) = (
            process
            for process in psutil.Process(driver.pid).children(recursive=True)
            if process.name() == "gcs_server"
        )
        head.kill()
        killed = time.monotonic()
        stdout, stderr = driver.communicate(timeout=120)
    finally:
        driver.kill()
    nine, lost = stdout.splitlines()
    assert nine == "9"
    assert "has not answered for 3 s" in lost
    assert "fast: stopped; 3 of 7 models are kept" in stderr
    assert "Traceback" not in stderr
    assert time.monotonic() - killed < 60
    assert not (home / ".ray").exists()
