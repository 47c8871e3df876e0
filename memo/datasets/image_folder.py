"""A folder or tree of image files."""

from pathlib import Path

from memo.datasets.images import Images, read_files
from memo.datasets.prepared import DataError
from memo.spec import ImageFolderSpec

__all__ = ["read_image_folder"]

SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)


def read_image_folder(spec: ImageFolderSpec) -> Images:
    """Images in the order of their paths; ids are paths below the root, labels folder names.

    Raises:
        DataError: The folder is missing or has no images, they differ in size, or one cannot be
            read and the spec does not say to skip it.
    """
    root = Path(spec.path)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    files = sorted((_name(path, root), path) for path in root.rglob("*") if path.is_file())
    visible = [(name, path) for name, path in files if "/." not in f"/{name}"]
    images = [(name, path) for name, path in visible if path.suffix.lower() in SUFFIXES]
    if not images:
        raise DataError(f"{root}: has no images ({', '.join(sorted(SUFFIXES))})")
    try:
        read = read_files(images, spec, spec.channels, skip=spec.unreadable == "skip")
    except DataError as error:
        raise DataError(f"{root}: {error}") from None
    return Images(
        levels=read.levels,
        ids=read.kept,
        labels=[_label(name) for name in read.kept],
        facts={
            "source": f"image files below {spec.path}",
            "unreadable": read.unreadable,
            "other_files": len(visible) - len(images),
        },
    )


def _name(path: Path, root: Path) -> str:
    """The path below the root; bytes that are not UTF-8 are spelt out."""
    relative = path.relative_to(root).as_posix()
    return relative.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _label(name: str) -> str | None:
    return name.split("/")[-2] if "/" in name else None
