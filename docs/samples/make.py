"""Make the sample reports anew: `make sample-reports`. Takes minutes.

    python docs/samples/make.py [demo] [wine] [tiles]

`demo` is the page of the first experiment of the repository's own params.yaml, as `make demo`
leaves it. The other two are what `memo init` proposes for a table and for a folder of images,
unchanged, so that they look as a reader's first report will. Beside each page lies its params.yaml.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
from PIL import Image
from ruamel.yaml import YAML
from sklearn.datasets import load_sample_images, load_wine

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SIZE = 32
"""Side of a tile, pixels."""
LARGEST = 3_000_000
"""Bytes of a page."""
CHART_FILES = re.compile(r'<p class="files">.*?</p>\n?')
"""Links to the files of charts, which lie beside a report and not beside its copy."""


def demo(folder: Path) -> tuple[Path, str]:
    """The repository itself, and the name of its first experiment."""
    return ROOT, next(iter(YAML(typ="safe").load(ROOT / "params.yaml")["experiments"]))


def wine(folder: Path) -> tuple[Path, str]:
    """A table of 178 wines with the cultivar of each."""
    found = load_wine()
    table = pl.DataFrame(found.data, schema=list(found.feature_names))
    cultivar = pl.Series([str(found.target_names[kind]) for kind in found.target])
    table.with_columns(cultivar=cultivar).write_csv(folder / "wine.csv")
    return project(folder, "table", "wine.csv")


def tiles(folder: Path) -> tuple[Path, str]:
    """The two photographs that come with scikit-learn, cut into tiles, in a folder each."""
    found = load_sample_images()
    for name, pixels in zip(found.filenames, found.images, strict=True):
        target = folder / "tiles" / Path(name).stem
        target.mkdir(parents=True)
        rows, columns = (side // SIZE for side in pixels.shape[:2])
        for row in range(rows):
            for column in range(columns):
                tile = pixels[row * SIZE :, column * SIZE :][:SIZE, :SIZE]
                Image.fromarray(tile).save(target / f"{row:02d}-{column:02d}.png")
    return project(folder, "image-folder", "tiles")


def project(folder: Path, kind: str, data: str) -> tuple[Path, str]:
    """Make the project that `memo init` proposes for data in a folder; name its experiment."""
    subprocess.run(["memo", "init", ".", "--data", kind, data], cwd=folder, check=True)
    return folder, next(iter(YAML(typ="safe").load(folder / "params.yaml")["experiments"]))


SAMPLES: dict[str, Callable[[Path], tuple[Path, str]]] = {
    "demo": demo,
    "wine": wine,
    "tiles": tiles,
}


def main(names: list[str]) -> None:
    """Make samples and say how large they are."""
    for name in names or SAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            place, experiment = SAMPLES[name](Path(folder))
            subprocess.run(["dvc", "repro", f"report@{experiment}"], cwd=place, check=True)
            page = HERE / f"{name}.html"
            text = (place / "reports" / experiment / "index.html").read_text(encoding="utf-8")
            page.write_text(CHART_FILES.sub("", text), encoding="utf-8")
            shutil.copyfile(place / "params.yaml", HERE / f"{name}.yaml")
        size = page.stat().st_size
        if size > LARGEST:
            raise SystemExit(f"{page}: has {size:,} bytes, more than {LARGEST:,}")
        print(f"{page.relative_to(ROOT)}: {size:,} bytes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
