"""Processes of `memo` for tests, forked from one that has imported what takes longest.

Each command is a process of its own, and runs the program as it is installed; libraries alone are
shared. Starting one anew takes seconds, most of them for torch.
"""

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = Path(sys.executable).parent / "memo"

LIBRARIES = (
    *("torch", "torch.func", "numpy", "polars", "altair", "scipy.stats", "scipy.interpolate"),
    *("pydantic", "typer", "rich.console", "yaml", "safetensors.torch", "jinja2", "loky"),
)

Result = subprocess.CompletedProcess[str]


class CommandServer:
    """A process that forks one for each command, one command at a time."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.command_server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> Result:
        """Run `memo` in a folder; what it prints is kept, nothing can be read from it."""
        sent, answers = self._process.stdin, self._process.stdout
        assert sent is not None and answers is not None
        with self._turn, tempfile.TemporaryDirectory() as printed:
            streams = [Path(printed, name) for name in ("stdout", "stderr")]
            asked = [str(folder), arguments, environment, [str(file) for file in streams]]
            print(json.dumps(asked), file=sent, flush=True)
            code = int(answers.readline())
            return subprocess.CompletedProcess(
                arguments, code, *(file.read_text("utf-8") for file in streams)
            )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _serve() -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # else the end of each process goes through all of it
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return _become(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(
    folder: str, arguments: list[str], environment: dict[str, str], streams: list[str]
) -> None:
    """Run the program, and end as it ends."""
    for number, name in enumerate([os.devnull, *streams]):
        file = os.open(name, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(PROGRAM), *arguments[1:]]
    sys.path[0] = str(PROGRAM.parent)
    runpy.run_path(str(PROGRAM), run_name="__main__")


if __name__ == "__main__":
    _serve()
