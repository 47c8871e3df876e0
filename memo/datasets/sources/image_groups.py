"""Groups of the images of a folder, from a file of them among the images."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from memo.datasets.prepared import DataError
from memo.datasets.sources.image_tree import ImageTree
from memo.datasets.tabular.table_files import RECORD, read_table_file
from memo.spec.dataset_specs import ImageFolderSpec

COLUMNS = ("file", "group")


def image_groups(spec: ImageFolderSpec, tree: ImageTree) -> list[str] | None:
    """Group of each image of a folder; None where the spec names no file of groups.

    The file no longer counts among those of the tree that are not read.

    Args:
        spec: The folder, and its file of groups: CSV or Parquet with columns `file` and `group`.
        tree: What lies below the folder.

    Raises:
        DataError: The file is missing, is no such table, or has no group of an image, or two.
    """
    if spec.groups is None:
        return None
    place = Path(spec.groups)
    if place.is_absolute() or ".." in place.parts:
        raise DataError(
            f"{spec.path}: `groups: {spec.groups}` must be a path below the folder, so that DVC "
            "notices when the file changes"
        )
    file = Path(spec.path) / place
    records = read_table_file(str(file), ",").records
    lacking = [name for name in COLUMNS if name not in records.columns]
    if lacking:
        known = ", ".join(repr(name) for name in records.columns if name != RECORD)
        raise DataError(f"{file}: has no column {lacking[0]!r} (columns: {known:.300})")
    named = records.filter(~records["file"].is_null())
    again = named.filter(~named["file"].is_first_distinct())
    if len(again):
        raise DataError(f"{file}: {again['file'][0]!r:.200} is named twice")
    groups = dict(zip(*(named[name].cast(str).to_list() for name in COLUMNS), strict=True))
    images = [name for name, _ in tree.images]
    _require_all(str(file), images, groups)
    tree.others -= Counter([file.suffix.lower() or "without a suffix"])
    return [groups[name] for name in images]


def _require_all(file: str, images: Sequence[str], groups: dict[str, str | None]) -> None:
    missing = [name for name in images if groups.get(name) is None]
    if missing:
        others = f", and none of {len(missing) - 1:,} others" if len(missing) > 1 else ""
        raise DataError(
            f"{file}: has no group of {missing[0]}{others}: give each image one, its own where it "
            "belongs to no other; files are named by their paths below the folder, as "
            f"{images[-1]!r:.200}"
        )
