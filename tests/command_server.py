"""Processes of `memo` for tests, forked from one that has imported everything.

Each command is a process of its own, and runs the program as it is installed; modules alone are
shared. Starting one anew takes seconds, most of them for torch. A program `memo` that stands first
in the path asks for such a process and lends it its streams, so that `dvc` finds it, too. Tests
that give variables of the environment, start processes or install a wheel run memo as users do.
"""

import atexit
import importlib
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

import memo

ROOT = Path(__file__).parent.parent
PROGRAM = Path(sys.executable).parent / "memo"

LIBRARIES = ("altair", "networkx", "scipy.stats", "sklearn.neighbors", "vl_convert")
"""Packages that memo imports within functions, when they are needed."""

ASKING = """\
#!{python} -SE
import json, os, socket, sys

environment = dict(os.environ)
environment["PATH"] = environment["PATH"].replace({folder!r} + os.pathsep, "")
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = json.dumps([os.getcwd(), sys.argv[1:], environment])
    socket.send_fds(server, [asked.encode()], [0, 1, 2])
    server.shutdown(socket.SHUT_WR)
    code = int(server.recv(16))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def start_server() -> Path:
    """Start one for as long as this process lives, and give the folder of the program that asks."""
    folder = tempfile.TemporaryDirectory(prefix="memo-")
    address, asking = Path(folder.name) / "server", Path(folder.name) / "bin" / "memo"
    asking.parent.mkdir()
    names = {"address": str(address), "folder": str(asking.parent)}
    asking.write_text(ASKING.format(python=sys.executable, **names))
    asking.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.command_server", str(address)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline(), "the server of commands did not start"

    def end() -> None:
        process.kill()
        process.communicate()
        folder.cleanup()

    atexit.register(end)
    return asking.parent


def _serve(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        own = pkgutil.walk_packages(memo.__path__, "memo.")
        for module in (*LIBRARIES, *(one.name for one in own)):
            importlib.import_module(module)
        print("ready", flush=True)
        while True:
            asking, _ = listening.accept()
            if not os.fork():
                break
            asking.close()
            while _has_ended():
                pass
    _run(asking)


def _has_ended() -> bool:
    """Take leave of a process that has ended; False where none has."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _run(asking: socket.socket) -> None:
    """Run one command in a process of its own, and tell how it ended."""
    streams: list[int] = []
    parts = []
    while True:
        part, lent, *_ = socket.recv_fds(asking, 1 << 16, 3)
        streams += lent
        if not part:
            break
        parts.append(part)
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        asking.sendall(str(code).encode())
        os._exit(0)
    asking.close()
    folder, arguments, environment = json.loads(b"".join(parts))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(PROGRAM), *arguments]
    sys.path[0] = str(PROGRAM.parent)
    code: object = 1
    try:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    # As the interpreter ends, but for its modules: taking them down takes half a second.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _serve(sys.argv[1])
