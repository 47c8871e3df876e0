"""Vega: charts as files, and the script that draws them in a page.

Both come from `vl_convert`, which takes half a second to be ready for the first chart, longer than
that for the script, and lets no other thread of its process run meanwhile. So each has a process of
its own, that can be started before what is drawn is known.
"""

import atexit
import json
import subprocess
import sys
from base64 import b64decode
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

__all__ = ["Drawing", "draw", "page_script", "start"]

Answer = dict[str, str]


class Drawing(NamedTuple):
    """A chart as files have it."""

    svg: bytes
    png: bytes


def start() -> None:
    """Have both processes make ready for Vega-Lite's newest version, while this one goes on."""
    _charts.start()
    if not page_script.cache_info().currsize:
        _scripts.start()


def draw(spec: dict[str, Any], version: str, scale: float) -> Future[Drawing]:
    """Have a chart drawn, after those that were asked for before.

    Args:
        spec: Of Vega-Lite.
        version: Vega-Lite's.
        scale: Pixels of the PNG for each of the spec's.

    Raises:
        RuntimeError: Of the future: it cannot be drawn.
    """
    return _one_by_one().submit(_drawing, spec, version, scale)


@cache
def page_script(version: str) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which sets `window.vegaEmbed`.

    Args:
        version: Vega-Lite's.

    Raises:
        RuntimeError: It cannot be made.
    """
    try:
        return _scripts.answer(version=version)["script"]
    finally:
        _scripts.end()


@cache
def _one_by_one() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


def _drawing(spec: dict[str, Any], version: str, scale: float) -> Drawing:
    answer = _charts.answer(spec=spec, version=version, scale=scale)
    return Drawing(answer["svg"].encode(), b64decode(answer["png"]))


class _Server:
    """A process that answers one question after another.

    Args:
        about: What; see `serve.py`.
    """

    def __init__(self, about: str) -> None:
        self._about = about
        self._process: subprocess.Popen[bytes] | None = None
        self._only = Lock()

    def start(self) -> None:
        """Start it, unless it runs."""
        with self._only:
            self._started()

    def answer(self, **question: Any) -> Answer:
        """The answer to a question; waits for it.

        Raises:
            RuntimeError: There is none; the message says why.
        """
        with self._only:
            try:
                line = self._asked((json.dumps(question) + "\n").encode())
            except BaseException:  # an interrupt must not leave an answer for the next question
                self.end()
                raise
            if not line.endswith(b"\n"):
                code = self._started().wait()
                self.end()
                raise RuntimeError(
                    f"vl-convert's process for {self._about} ended: exit code {code}"
                )
        answer: Answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"vl-convert, for {self._about}: {answer['error']}")
        return answer

    def end(self) -> None:
        """Leave no process behind."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(Path(__file__).with_name("serve.py")), self._about],
                stdin=subprocess.PIPE,  # its end is the process's end, too
                stdout=subprocess.PIPE,
            )
        return self._process

    def _asked(self, question: bytes) -> bytes:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(question)
            process.stdin.flush()
        except OSError:
            return b""
        return process.stdout.readline()


_charts, _scripts = _Server("charts"), _Server("scripts")
atexit.register(_charts.end)
atexit.register(_scripts.end)
