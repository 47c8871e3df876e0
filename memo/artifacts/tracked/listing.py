"""Lists that DVC keeps of folders, the hash and path of each file: read as if they were forged."""

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from unicodedata import category

DIRECTORY = ".dir"
"""Ending of what DVC keeps of a folder: hashes of its files, and their paths within it."""

KEYS = {"md5", "relpath"}
"""The keys of each entry; DVC takes a further one for another hash."""

LONGEST = 255
"""Most bytes of a name that file systems take."""

RESERVED = {".git", ".dvc"}
"""Folders whose files git and DVC obey."""

DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of text, so that a name reads as another one."""

_MD5 = re.compile(r"[0-9a-f]{32}")


class ListingError(ValueError):
    """A list of a folder's files is not one that DVC writes; the message says why."""


def is_md5(oid: object) -> bool:
    """Tell a name of an object, which becomes a path in caches and remotes, from anything else."""
    return isinstance(oid, str) and _MD5.fullmatch(oid) is not None


def parse_listing(content: bytes) -> dict[str, str]:
    """Read the list of a folder's files: the MD5 of each by its path within the folder.

    Raises:
        ListingError: It is no list of DVC's, or an entry names an object or a path that could lie
            elsewhere.
    """
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError):
        raise ListingError("is no list of files") from None
    if not isinstance(entries, list):
        raise ListingError("is no list of files")
    files: dict[str, str] = {}
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != KEYS:
            raise ListingError("has an entry that is no MD5 with a path")
        path, oid = entry["relpath"], entry["md5"]
        if not is_md5(oid):
            raise ListingError(f"names an object {oid!a:.80}, which is no MD5")
        problem = path_problem(path) if isinstance(path, str) else "is no text"
        if problem is not None:
            raise ListingError(f"names a path {path!a:.80}, which {problem}")
        if path in files:
            raise ListingError(f"names the path {path!a:.80} twice")
        files[path] = oid
    _require_tree(files)
    return files


def path_problem(path: str) -> str | None:
    """Find a reason why a path may not be that of a file within a folder; None for a good one."""
    parts = path.split("/")
    found = {
        "is absolute": path.startswith("/") or PureWindowsPath(path).drive != "",
        "has a backslash": "\\" in path,
        "leads out of its folder": bool({"", ".", ".."} & set(parts)),
        "is one of git's or DVC's own": bool(RESERVED & {p.casefold().rstrip(". ") for p in parts}),
        "has control characters": any(map(_steers, path)),
        "has a name that is too long": any(
            len(p.encode(errors="replace")) > LONGEST for p in parts
        ),
    }
    return next((problem for problem, holds in found.items() if holds), None)


def _steers(character: str) -> bool:
    return character in DIRECTIONS or category(character) in ("Cc", "Cs", "Zl", "Zp")


def _require_tree(files: Mapping[str, str]) -> None:
    """See that no path is a file and a folder at once."""
    for path in files:
        for parent in PurePosixPath(path).parents:
            if parent.as_posix() in files:
                raise ListingError(f"names {parent.as_posix()!a:.80} as a file and as a folder")
