"""The script that draws a page's charts, made once a machine."""

import contextlib
import hashlib
import os
from functools import cache
from importlib import metadata
from pathlib import Path

import platformdirs
import vl_convert

from memo.report.charts.themes import VEGA_LITE


@cache
def page_script() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which sets `window.vegaEmbed`.

    `vl_convert` takes seconds to make it, so that it is kept in the user's cache folder, below its
    SHA-256. A file that cannot be read or written, or does not match its digest, costs those
    seconds again and nothing else.
    """
    maker = metadata.version("vl-convert-python")
    file = platformdirs.user_cache_path("memo") / f"vega-lite-{VEGA_LITE}-vl-convert-{maker}.js"
    with contextlib.suppress(OSError):
        digest, _, script = file.read_bytes().partition(b"\n")
        if digest == _digest(script):
            return script.decode()
    made: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    script = made.encode()
    with contextlib.suppress(OSError):
        _write(file, _digest(script) + b"\n" + script)
    return made


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _write(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
