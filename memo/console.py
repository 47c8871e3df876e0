"""Standard output and error: whatever is printed, nothing in it steers the terminal."""

import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from memo.errors import printable


class PlainConsole(Console):
    """A console that writes out control characters in everything that it renders."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text of a string, before rich drops some of its control characters."""
        return super().render_str(printable(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as `Console.render`; what rich itself has to say to the terminal stays."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def plain_console(*, stderr: bool = False, width: int | None = None) -> PlainConsole:
    """Make a console without markup, on standard output or error."""
    return PlainConsole(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def say(text: str, *, error: bool = False) -> None:
    """Print a text as it is but for control characters, on standard output or error."""
    stream = sys.stderr if error else sys.stdout
    if stream is not None:  # closed before the process began
        print(printable(text), file=stream, flush=True)


def set_up() -> None:
    """Let every character be printed in any encoding, and log lines and warnings be plain, too.

    Streams that were closed before the process began lead nowhere: else the next files that are
    opened would take their numbers, and libraries fail.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the smallest number that is free, this one
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    if sys.stderr is not None:
        handler = logging.StreamHandler()
        handler.setFormatter(_Plain("%(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        logging.captureWarnings(True)


def discard_output() -> None:
    """Send what is still to be printed nowhere: whoever read it has gone."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
