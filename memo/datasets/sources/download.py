"""Files of a source: found under its root, or downloaded there by torchvision."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from memo.datasets.prepared import DataError

__all__ = ["find_or_download"]

Found = TypeVar("Found")


def find_or_download(
    find: Callable[[], Found | None],
    download: Callable[[], Any] | None,
    *,
    name: str,
    files: str,
    folders: Sequence[Path],
    address: str,
) -> Found:
    """What `find` finds, before a download or after it.

    Args:
        find: Returns the files, or None where one is missing.
        download: Downloads them; None where that is not wanted.
        name: Of the data set.
        files: What the files are called.
        folders: Where `find` looks.
        address: Where people find them.

    Raises:
        DataError: There are no files; it says where they belong and what was tried.
    """
    found = find()
    if found is not None:
        return found
    tried = "no download was tried (`download: false`)"
    if download is not None:
        try:
            download()
        except (OSError, RuntimeError, ImportError, ValueError) as error:
            reason = " ".join(str(error).split())
            tried = f"torchvision's download failed ({type(error).__name__}: {reason})"
        else:
            tried = "torchvision's download did not bring them"
            found = find()
            if found is not None:
                return found
    places = " or ".join(f"{folder}/" for folder in folders)
    raise DataError(
        f"{name}: its files are not there, and {tried}. "
        f"Expected {files} in {places}; they are from {address}"
    )
