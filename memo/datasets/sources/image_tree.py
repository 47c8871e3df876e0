"""The files of a tree of folders: which are images, which are links, and which are left out."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memo.datasets.prepared import DataError
from memo.datasets.sources.image_decoding import SUFFIXES

NAMED = 5


@dataclass
class ImageTree:
    """The files below a folder."""

    images: list[tuple[str, Path]] = field(default_factory=list)
    """Name and path of each image, in the order of names; a name is the path below the folder,
    with bytes that are not UTF-8 spelt out."""
    linked_files: int = 0
    """Images that are symbolic links."""
    linked_folders: list[str] = field(default_factory=list)
    """Symbolic links to folders whose images are among these."""
    repeated_folders: list[str] = field(default_factory=list)
    """Symbolic links to folders that are read under another name, or lead in circles."""
    broken_links: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    """Pipes, sockets and devices."""
    others: Counter[str] = field(default_factory=Counter)
    """Numbers of other files by suffix."""
    hidden: int = 0
    """Files whose name, or whose folder's name, begins with a dot."""

    def notes(self) -> list[str]:
        """Say what was followed and what was left out; nothing about what is not there."""
        others = sorted(self.others.items(), key=lambda item: (-item[1], item[0]))
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in others[:NAMED])
        found = {
            f"links to images, which are read: {self.linked_files:,}": self.linked_files,
            f"links to folders, whose images are read: {_some(self.linked_folders)}; DVC does not "
            "notice changes behind them": self.linked_folders,
            "links to folders that are read under other names, not followed: "
            f"{_some(self.repeated_folders)}": self.repeated_folders,
            f"links that lead nowhere: {_some(self.broken_links)}": self.broken_links,
            f"other files, not read: {self.others.total():,} ({kinds}{_more(others)})": others,
            f"hidden files, not read: {self.hidden:,}": self.hidden,
        }
        return [words for words, there in found.items() if there]


def image_tree(root: Path) -> ImageTree:
    """List what lies below a folder; symbolic links are followed, to each folder once.

    Raises:
        DataError: There is no such folder, or no image in it, or a folder cannot be listed.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    try:
        tree = _listed(root)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be listed: {error.strerror}") from None
    if not tree.images:
        told = "".join(f"; {note}" for note in tree.notes())
        raise DataError(f"{root}: has no images ({', '.join(sorted(SUFFIXES))}){told}")
    return tree


def require_tracked(root: Path) -> None:
    """See that DVC can take the hash of all files, as it does before `memo prepare`.

    Raises:
        DataError: A link leads nowhere, or there is a pipe, a socket or a device; or as of
            `image_tree`.
    """
    tree = image_tree(root)
    names = tree.broken_links + tree.special
    if names:
        what = "link that leads nowhere" if tree.broken_links else "pipe, socket or device"
        others = f", and there are {len(names) - 1:,} more" if len(names) > 1 else ""
        raise DataError(
            f"{root}: {names[0]} is a {what}{others}: `dvc repro` would stop there; remove it"
        )


def _listed(root: Path) -> ImageTree:
    tree = ImageTree()
    seen: set[tuple[int, int]] = set()
    for folder in (root, *root.resolve().parents):  # a link to one above leads in circles too
        _mark(folder, seen)
    linked = [root]
    while linked:
        linked = sorted(_walk(linked, root, tree, seen))
        linked = [link for link in linked if _followed(link, root, tree, seen)]
    tree.images.sort()
    return tree


def _walk(
    folders: list[Path], root: Path, tree: ImageTree, seen: set[tuple[int, int]]
) -> list[Path]:
    """Sort the files below folders into the tree; returns symbolic links to further folders.

    Folders themselves come before links to them, so that images have the names of their own place.
    """
    links = []
    for folder in folders:
        for place, names, files in os.walk(folder, onerror=_unlisted):
            for name in list(names):
                path = Path(place, name)
                if path.is_symlink():
                    links.append(path)
                    names.remove(name)
                elif _is_hidden(path, root):
                    continue
                elif not _mark(path, seen):
                    names.remove(name)
            for name in files:
                _sort_file(Path(place, name), root, tree)
    return links


def _followed(link: Path, root: Path, tree: ImageTree, seen: set[tuple[int, int]]) -> bool:
    name = _name(link, root)
    if _is_hidden(link, root):
        tree.hidden += 1
        return False
    new = _mark(link, seen)
    (tree.linked_folders if new else tree.repeated_folders).append(name)
    return new


def _mark(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Remember a folder; False where it was seen before."""
    status = folder.stat()
    key = (status.st_dev, status.st_ino)
    new = key not in seen
    seen.add(key)
    return new


def _sort_file(path: Path, root: Path, tree: ImageTree) -> None:
    suffix = path.suffix.lower()
    if path.is_symlink() and not path.exists():
        tree.broken_links.append(_name(path, root))
    elif not path.is_file():
        tree.special.append(_name(path, root))
        tree.others["neither file nor folder"] += 1
    elif _is_hidden(path, root):
        tree.hidden += 1
    elif suffix not in SUFFIXES:
        tree.others[suffix or "without a suffix"] += 1
    else:
        tree.linked_files += path.is_symlink()
        tree.images.append((_name(path, root), path))


def _unlisted(error: OSError) -> None:
    raise error


def _is_hidden(path: Path, root: Path) -> bool:
    return "/." in f"/{path.relative_to(root).as_posix()}"


def _name(path: Path, root: Path) -> str:
    relative = path.relative_to(root).as_posix()
    return relative.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _some(names: list[str]) -> str:
    """Count names, and list the first few."""
    return f"{len(names):,} ({', '.join(sorted(names)[:NAMED])}{_more(names)})"


def _more(items: Sequence[object]) -> str:
    return ", ..." * (len(items) > NAMED)
