"""Official files of a source: found under its root, or downloaded there by torchvision."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from memo.datasets.prepared import DataError
from memo.spec.dataset_specs import DownloadedSpec

Found = TypeVar("Found")


def find_or_download(
    spec: DownloadedSpec,
    find: Callable[[], Found | None],
    *,
    torchvision: str,
    files: str,
    folders: Sequence[Path],
    address: str,
) -> Found:
    """Find a source's files, or download them first.

    Args:
        spec: Root, and leave to download.
        find: Returns the files, or None where one is missing.
        torchvision: Name of torchvision's class that downloads them.
        files: Names of the files, for people.
        folders: Folders in which `find` looks.
        address: Web address of the files, for people.

    Raises:
        DataError: There are no files; the message says where they belong and what was tried.
    """
    found = find()
    tried = "no download was tried (`download: false`)"
    if found is None and spec.download:
        try:
            from torchvision import datasets  # noqa: PLC0415 - a slow import, for the rare case

            getattr(datasets, torchvision)(spec.root, download=True)
        except (OSError, RuntimeError, ImportError, ValueError) as error:
            reason = " ".join(str(error).split())
            tried = f"torchvision's download failed ({type(error).__name__}: {reason})"
        else:
            tried = "torchvision's download did not bring them"
            found = find()
    if found is None:
        places = " or ".join(f"{folder}/" for folder in folders)
        raise DataError(
            f"{spec.kind}: its files are not there, and {tried}. "
            f"Expected {files} in {places}; they are from {address}"
        )
    return found
