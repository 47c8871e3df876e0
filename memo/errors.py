"""Errors, by what the user has to do about them; and text that is safe to show."""

from unicodedata import category


class MemoError(Exception):
    """An error that names the thing at fault and needs no traceback."""

    exit_code = 1


class InputError(MemoError):
    """An input is wrong: a spec, a data set, an argument."""

    exit_code = 2


class WorkError(MemoError):
    """The work failed: a file is damaged, a training diverged, a disk is full."""


def printable(text: str) -> str:
    """The text with what would steer a terminal written out: names may come from other people.

    Line ends stay, and so do spaces of any width; characters that change the direction of text, or
    are nothing, do not.

    Example:
        >>> print(printable("red: " + chr(27) + "[31m, reversed: " + chr(0x202E)))
        red: \\x1b[31m, reversed: \\u202e
    """
    if text.isprintable():
        return text
    return "".join(c if _is_plain(c) else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    r"""The text as `printable` has it, in one line: a name must not look like another message.

    Example:
        >>> print(one_line("a\nmemo: all is well"))
        a\nmemo: all is well
    """
    return printable(text).replace("\n", r"\n")


def _is_plain(character: str) -> bool:
    return character.isprintable() or character == "\n" or category(character) == "Zs"
