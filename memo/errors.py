"""Errors, by what the user has to do about them."""


class MemoError(Exception):
    """An error that names the thing at fault and needs no traceback."""

    exit_code = 1


class InputError(MemoError):
    """An input is wrong: a spec, a data set, an argument."""

    exit_code = 2


class WorkError(MemoError):
    """The work failed: a file is damaged, a training diverged, a disk is full."""


def printable(text: str) -> str:
    """The text with what would steer a terminal written out: names may come from other people."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
