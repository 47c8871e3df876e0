"""`memo init` on folders of images: which are measured, and what is said of them."""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from memo.commands.first.dry_run import tried
from memo.commands.first.first_spec import FirstSpec
from memo.commands.init import init, tried_spec
from memo.datasets.prepared import DataError, Prepared
from memo.datasets.registry import look_at_source
from memo.project.reading import read_project
from memo.spec.dataset_specs import ImageFolderSpec


@pytest.fixture(scope="module", params=[8, 28])
def digits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,797 images in ten folders, of 8 x 8 or 28 x 28 pixels."""
    folder = tmp_path_factory.mktemp(f"side{request.param}") / f"digits-{request.param}"
    source = load_digits()
    for i, (levels, label) in enumerate(zip(source.images, source.target, strict=True)):
        file = folder / str(label) / f"{i:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((levels * 255 / 16).astype(np.uint8))
        image.resize((request.param, request.param)).save(file)
    return folder


def prepared_of(folder: Path, where: Path) -> tuple[FirstSpec, Prepared]:
    first, text = tried_spec(where / "study", "image-folder", folder)
    return first, tried(text, folder)


def test_every_class_is_measured_in_its_share(digits: Path, tmp_path: Path) -> None:
    first = init(tmp_path / "study", "image-folder", digits)
    (spec,) = read_project(tmp_path / "study" / "params.yaml").files.values()
    assert isinstance(spec, ImageFolderSpec)
    _, prepared = prepared_of(digits, tmp_path)
    shares = Counter(prepared.observations["label"].to_list())
    whole = Counter(map(str, load_digits().target))
    assert set(shares) == set(whole)
    limited = [line for line in first.said if " of 1,797 images are measured" in line]
    if digits.name == "digits-8":  # all of these are measured within minutes
        assert (spec.limit, shares, limited) == (None, whole, [])
        return
    assert spec.limit is not None
    assert len(prepared) == spec.limit == 1000
    for label, count in shares.items():
        assert abs(count - whole[label] * 1000 / 1797) <= 1
    assert len(limited) == 1
    assert limited[0].startswith("1,000 of 1,797 images are measured, drawn at random")
    assert "minutes of a core" in limited[0]


def noise(folder: Path, count: int) -> Path:
    stream = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        Image.fromarray(stream.integers(0, 256, (8, 8)).astype(np.uint8)).save(
            folder / f"{i:03d}.png"
        )
    return folder


def test_a_few_broken_images_are_left_out_and_named(tmp_path: Path) -> None:
    folder = noise(tmp_path / "photos", 40)
    (folder / "007.png").write_bytes(b"no picture")
    first, prepared = prepared_of(folder, tmp_path)
    assert {option.key: option.value for option in first.options}["unreadable"] == "skip"
    assert len(prepared) == 39
    (said,) = (line for line in first.said if "unreadable" in line)
    assert "007.png" in said


def test_many_broken_images_are_not_left_out(tmp_path: Path) -> None:
    folder = noise(tmp_path / "photos", 40)
    for i in range(0, 40, 2):
        (folder / f"{i:03d}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="20 images cannot be read"):
        init(tmp_path / "study", "image-folder", folder)
    assert not (tmp_path / "study").exists()


def test_what_else_is_in_the_folder_is_said(tmp_path: Path) -> None:
    folder = noise(tmp_path / "photos", 12)
    (folder / "readme.txt").touch()
    (folder / "copy.png").write_bytes((folder / "003.png").read_bytes())
    first, _ = prepared_of(folder, tmp_path)
    assert first.said[0] == f"{folder}: 13 images"
    assert any("other files, not read: 1 (1 .txt)" in line for line in first.said)
    assert any(line.startswith("copies: 1 of 13") for line in first.said)


def test_images_that_are_all_the_same_make_no_project(tmp_path: Path) -> None:
    folder = noise(tmp_path / "photos", 1)
    for i in range(5):
        (folder / f"again-{i}.png").write_bytes((folder / "000.png").read_bytes())
    with pytest.raises(DataError, match="all 6 observations are the same"):
        init(tmp_path / "study", "image-folder", folder)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(("whole", "broken"), [(9, 1), (6, 3), (2, 9), (1, 1)])
def test_broken_images_among_few_are_named(whole: int, broken: int, tmp_path: Path) -> None:
    folder = noise(tmp_path / "photos", whole)
    for i in range(broken):
        (folder / f"broken-{i}.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(DataError, match=f"{broken} images? cannot be read.*\n.*broken-0.png"):
        init(tmp_path / "study", "image-folder", folder)


def test_one_image_makes_no_project(tmp_path: Path) -> None:
    folder = noise(tmp_path / "photos", 1)
    with pytest.raises(DataError, match="has 1 image; memorization is measured on two or more"):
        init(tmp_path / "study", "image-folder", folder)


@pytest.mark.parametrize("kind", ["link", "hidden link", "loop", "pipe", "hidden pipe"])
def test_files_at_which_dvc_stops_are_refused_before(kind: str, tmp_path: Path) -> None:
    folder = noise(tmp_path / "photos", 12)
    (folder / "sub").mkdir()
    odd = folder / "sub" / f"{'.' * kind.startswith('hidden')}odd.png"
    if kind.endswith("pipe"):
        os.mkfifo(odd)
    else:
        odd.symlink_to("odd.png" if kind == "loop" else "gone.png")
    words = "pipe, socket or device" if kind.endswith("pipe") else "link that leads nowhere"
    message = re.escape(f"{odd.relative_to(folder)} is a {words}: `dvc repro` would stop there")
    with pytest.raises(DataError, match=message):
        init(tmp_path / "study", "image-folder", folder)
    spec = {"kind": "image-folder", "path": str(folder), "channels": 1, "values": "continuous"}
    with pytest.raises(DataError, match=message):
        look_at_source(ImageFolderSpec.model_validate(spec))
