"""CelebA, from its aligned JPEG files."""

from pathlib import Path

from memo.datasets.prepared import DataError
from memo.datasets.sources.download import find_or_download
from memo.datasets.sources.image_files import Images, read_files
from memo.spec.dataset_specs import CelebASpec

FOLDER = "img_align_celeba"
PARTITION = "list_eval_partition.txt"
TRAIN = "0"


def read_celeba(spec: CelebASpec) -> Images:
    """Training images of CelebA (Liu et al. 2015), aligned and cropped; they have no labels.

    Raises:
        DataError: Files are missing or damaged.
    """
    folders = [Path(spec.root), Path(spec.root, "celeba")]

    def find() -> Path | None:
        complete = (f for f in folders if (f / FOLDER).is_dir() and (f / PARTITION).is_file())
        return next(complete, None)

    folder = find_or_download(
        spec,
        find,
        torchvision="CelebA",
        files=f"the folder {FOLDER} of JPEG files and {PARTITION}",
        folders=folders,
        address="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    )
    files = [(name, folder / FOLDER / name) for name in _training_names(folder / PARTITION)]
    unlabelled = [None] * len(files)
    read = read_files(files, unlabelled, spec, channels=3, skip=False)
    return Images(
        levels=read.levels,
        ids=[files[position][0] for position in read.kept],
        labels=[None] * len(read.kept),
        facts={
            **read.facts(unlabelled, spec),
            "source": "CelebA training images, aligned and cropped (Liu et al. 2015), for "
            "non-commercial research",
        },
    )


def _training_names(partition: Path) -> list[str]:
    """Names of the training images, from a file with a name and 0, 1 or 2 on each line."""
    lines = [line.split() for line in partition.read_text(encoding="utf-8").splitlines()]
    wrong = next((number for number, line in enumerate(lines, 1) if len(line) not in (0, 2)), None)
    if wrong is not None:
        raise DataError(f"{partition}:{wrong}: is not a file name and a part")
    return [name for name, part in filter(None, lines) if part == TRAIN]
