"""`memo init`: what it writes, what it refuses, and that a wheel alone carries it to a report."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from ruamel.yaml import YAML
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from memo.commands.init import init
from memo.datasets.registry import prepare_dataset
from memo.errors import InputError, MemoError
from memo.project.project_spec import ProjectSpec
from memo.project.reading import read_project
from memo.spec.dataset_specs import TableSpec
from tests.conftest import ROOT, command

STREAM = np.random.default_rng(0)


def write_images(folder: Path, *sizes: tuple[int, ...], count: int = 12) -> Path:
    """Noise of those sizes, (height, width) or (height, width, 3), in turn."""
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = STREAM.integers(0, 256, sizes[i % len(sizes)]).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return folder


def write_wine(file: Path) -> pl.DataFrame:
    """scikit-learn's wines with their class."""
    wine = load_wine()
    table = pl.DataFrame(wine.data, schema=list(wine.feature_names)).with_columns(
        pl.Series("class", [wine.target_names[i] for i in wine.target])
    )
    table.write_csv(file)
    return table


def made(folder: Path, kind: str, source: Path | None = None) -> ProjectSpec:
    """A new project's spec."""
    init(folder, kind, source)
    return read_project(folder / "params.yaml")


def test_a_project_of_digits(tmp_path: Path) -> None:
    project = made(tmp_path / "study", "digits")
    assert list(project.datasets) == ["digits"]
    files = {f.name for f in (tmp_path / "study").iterdir()}
    assert files == {".dvc", ".dvcignore", ".gitignore", "dvc.yaml", "expanded.yaml"} | {
        "params.schema.json",
        "params.yaml",
    }
    listed = command(tmp_path / "study", "dvc", "stage", "list", "--name-only").stdout.split()
    assert {"prepare@digits", "score@digits-vae", "report@digits-vae", "compare"} <= set(listed)


def test_the_commented_mitigation_is_one(tmp_path: Path) -> None:
    made(tmp_path / "study", "digits")
    file = tmp_path / "study" / "params.yaml"
    head, mark, tail = file.read_text().partition("#\n# derived:")
    file.write_text(head + (mark + tail).replace("\n# ", "\n"))
    assert "digits-vae-slow" in read_project(file).experiments


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ([(8, 8)], None),
        ([(20, 24, 3)], None),
        ([(20, 24), (30, 18)], (1, 18, 18)),
        ([(70, 90, 3)], (3, 32, 32)),
        ([(20, 20), (20, 20, 3)], None),
    ],
)
def test_images_are_taken_as_they_are_or_made_small_and_alike(
    sizes: list[tuple[int, ...]], shape: tuple[int, ...] | None, tmp_path: Path
) -> None:
    write_images(tmp_path / "study" / "My Photos", *sizes)
    project = made(tmp_path / "study", "image-folder", tmp_path / "study" / "My Photos")
    spec = project.files["my-photos"]
    assert spec.path == "My Photos"
    assert spec.shape == shape
    assert spec.channels == max(len(size) for size in sizes) * 2 - 3
    assert spec.values == "continuous"


def test_drawings_in_black_and_white_are_binary(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "scans", (16, 16))
    for file in folder.iterdir():
        Image.open(file).point(lambda level: 255 * (level > 128)).save(file)
    project = made(tmp_path / "study", "image-folder", folder)
    assert project.files["scans"].values == "binary"
    assert project.experiments["scans-vae"].model.observation.kind == "bernoulli"  # type: ignore[union-attr]


def test_of_many_images_only_so_many_as_minutes_allow(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "large", (32, 32, 3), count=2)
    for i in range(2999):
        (folder / f"copy-{i:05d}.png").hardlink_to(folder / f"{i % 2:03d}.png")
    project = made(tmp_path / "study", "image-folder", folder)
    limit = project.files["large"].limit
    assert limit is not None
    assert 50 < limit < 3000
    assert "So many of 3,001" in (tmp_path / "study" / "params.yaml").read_text()


def test_paths_hold_in_a_clone_where_they_can(tmp_path: Path) -> None:
    outside = write_images(tmp_path / "outside", (8, 8))
    repository = tmp_path / "repository"
    write_images(repository / "photos", (8, 8))
    command(repository, "git", "init", "-q")
    inside = made(repository / "study", "image-folder", repository / "photos")
    assert inside.files["photos"].path == "../photos"
    assert "no_scm" not in (repository / "study" / ".dvc" / "config").read_text()
    beyond = made(repository / "other", "image-folder", outside)
    assert beyond.files["outside"].path == str(outside)


def test_a_table_s_columns_are_what_they_seem_to_be(tmp_path: Path) -> None:
    numbers = STREAM.standard_normal(60)
    table = pl.DataFrame(
        {
            "Record": [f"r{i}" for i in range(60)],
            "x": [None if i == 3 else x for i, x in enumerate(numbers)],
            "grade": (numbers * 2).round(0),
            "sex": np.arange(60) % 2,
            "constant": 1,
            "remark": [f"saw {i}" for i in range(60)],
            "kind": ["a", "b", "7"] * 20,
            "target": ["yes", "no", "no"] * 20,
        }
    )
    (tmp_path / "study").mkdir()
    table.write_csv(tmp_path / "study" / "t.csv", separator=";")
    spec = made(tmp_path / "study", "table", tmp_path / "study" / "t.csv").files["t"]
    assert isinstance(spec, TableSpec)
    assert (spec.path, spec.separator, spec.id, spec.label) == ("t.csv", ";", "Record", "target")
    assert (spec.drop, spec.missing) == (["constant", "remark"], "impute")
    assert (spec.categorical, spec.dequantize) == (["sex", "kind"], {"grade": 1})
    prepared = prepare_dataset(spec.model_copy(update={"path": str(tmp_path / "study" / "t.csv")}))
    assert prepared.shape == (1 + 1 + 2 + 3,)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("2024.csv", "data-2024"),
        ("1e3.csv", "data-1e3"),
        ("Null.csv", "data-null"),
        ("--.csv", "data"),
        ("My Wine!.csv", "my-wine"),
    ],
)
def test_a_data_set_s_name_is_text_in_yaml(file: str, name: str, tmp_path: Path) -> None:
    write_wine(tmp_path / file)
    project = made(tmp_path / "study", "table", tmp_path / file)
    assert list(project.files) == [name]
    assert project.experiments[f"{name}-vae"].dataset == name


@pytest.mark.parametrize("loader", [load_breast_cancer, load_diabetes, load_wine])
def test_tables_as_scikit_learn_has_them_can_be_prepared(
    loader: Callable[[], Any], tmp_path: Path
) -> None:
    bundle = loader()
    table = pl.DataFrame(bundle.data, schema=list(map(str, bundle.feature_names)))
    table.with_columns(target=pl.Series(bundle.target)).write_csv(tmp_path / "data.csv")
    spec = made(tmp_path / "study", "table", tmp_path / "data.csv").files["data"]
    assert len(prepare_dataset(spec)) == len(table)


@pytest.mark.parametrize("name", ["dvc.yaml", ".dvc", "params.yaml", ".gitignore"])
def test_nothing_is_overwritten_and_nothing_else_written(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=re.escape(f"has {name} already")):
        init(tmp_path, "digits", None)
    assert [f.name for f in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    study, empty, file = (tmp_path / name for name in ("study", "empty", "file"))
    empty.mkdir()
    file.touch()
    cases: list[tuple[Path, str, Path | None, str]] = [
        (study, "image-folder", None, "need a path"),
        (study, "image-folder", tmp_path / "no", "no: no such folder"),
        (study, "image-folder", empty, "empty: has no images"),
        (study, "table", tmp_path / "no", "no: no such file"),
        (study, "table", file, "file: "),
        (empty, "image-folder", tmp_path, "must not be the project's own folder or one above it"),
        (study, "digits", empty, "empty: data of kind 'digits' come with memo"),
        (file, "digits", None, "file: is a file"),
        (file / "study", "digits", None, "study: cannot be made: Not a directory"),
    ]
    for folder, kind, source, words in cases:
        with pytest.raises(MemoError, match=words):
            init(folder, kind, source)
    refused = command(tmp_path, "memo", "init", "study", "--data", "pictures", check=False)
    assert refused.returncode == 2
    assert "'pictures' is not one of digits, image-folder, table" in refused.stderr
    assert {f.name for f in tmp_path.iterdir()} == {"empty", "file"}


def test_a_second_run_explains_what_a_kill_has_left(tmp_path: Path) -> None:
    code = """
import os, signal
from pathlib import Path
from memo.commands import init as stage

write = stage.write_whole
def killed(file, content):
    if file.name == "params.schema.json":
        os.kill(os.getpid(), signal.SIGKILL)
    write(file, content)

stage.write_whole = killed
stage.init(Path("study"), "digits", None)
"""
    killed = command(tmp_path, "python", "-c", code, check=False)
    assert killed.returncode == -9
    study = tmp_path / "study"
    words = "has (.+) already.* if an earlier `memo init` was interrupted, remove them"
    with pytest.raises(InputError, match=words) as explained:
        init(study, "digits", None)
    for left in re.findall(words, str(explained.value))[0].split(", "):
        shutil.rmtree(study / left) if (study / left).is_dir() else (study / left).unlink()
    assert list(made(study, "digits").datasets) == ["digits"]


def test_every_pipeline_here_is_the_packages_own() -> None:
    shipped = ROOT / "memo" / "commands" / "templates" / "dvc.yaml"
    tracked = command(ROOT, "git", "ls-files", "*dvc.yaml").stdout.split()
    assert len(tracked) >= 4
    for copy in tracked:
        assert (ROOT / copy).read_bytes() == shipped.read_bytes()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment that has memo's wheel, and other packages from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in command(
        ROOT, "git", "ls-files", "memo", "*.toml", "*.md", "LICENSE"
    ).stdout.split():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run([*pip, *build], check=True)
    venv.create(folder / "venv", symlinks=True)
    (wheel,) = folder.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    borrowed = [entry for entry in sys.path if entry.endswith("site-packages")]
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    shutil.rmtree(source)
    dvc = python.with_name("dvc")
    dvc.write_text(f'#!/bin/sh\nexec {python} -m dvc "$@"\n')
    dvc.chmod(0o755)
    return python.parent


def run(installed: Path, folder: Path, *arguments: str) -> str:
    path = f"{installed}{os.pathsep}{os.environ['PATH']}"
    result = command(folder, *arguments, PATH=path, PYTHONPATH="")
    return result.stdout


def quicken(params: Path) -> None:
    """Fewer and smaller models than a new project asks for."""
    for setting, less in {
        r"hidden: \[.*\]": "hidden: [16]",
        r"epochs: \d+": "epochs: 4",
        r"epochs: \[.*\]": "epochs: [2, 4]",
        r"folds: \d+, repeats: \d+": "folds: 2, repeats: 2",
    }.items():
        text, count = re.subn(setting, less, params.read_text())
        assert count
        params.write_text(text)


def test_from_a_wheel_to_a_report_on_a_folder_of_images(installed: Path, tmp_path: Path) -> None:
    photos = write_images(tmp_path / "photos", (8, 8), count=30)
    where = run(installed, tmp_path, "python", "-c", "import memo; print(memo.__file__)")
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert (Path(where.strip()).parent / "py.typed").is_file()
    run(installed, tmp_path, "memo", "init", "study", "--data", "image-folder", "photos")
    study = tmp_path / "study"
    quicken(study / "params.yaml")
    ran = run(installed, study, "dvc", "repro")
    assert "Running stage 'prepare-files@photos'" in ran
    assert b"vegaEmbed" in (study / "reports" / "photos-vae" / "index.html").read_bytes()
    metrics = json.loads((study / "reports" / "photos-vae" / "metrics.json").read_bytes())
    assert metrics["observations"] == 30
    assert json.loads(run(installed, study, "dvc", "status", "--json")) == {}
    (photos / "000.png").unlink()
    changed = json.loads(run(installed, study, "dvc", "status", "--json"))
    assert changed["prepare-files@photos"] == [{"changed deps": {str(photos): "modified"}}]


def test_from_init_to_a_report_on_a_table(tmp_path: Path) -> None:
    wine = write_wine(tmp_path / "wine.csv").sample(48, seed=1)
    wine.write_csv(tmp_path / "wine.csv")
    command(tmp_path, "memo", "init", "study", "--data", "table", "wine.csv")
    study = tmp_path / "study"
    quicken(study / "params.yaml")
    command(study, "dvc", "repro", "report@wine-vae")
    page = (study / "reports" / "wine-vae" / "index.html").read_text()
    assert "proline" in page
    scores = pl.read_parquet(study / "artifacts" / "scores" / "wine-vae.parquet")
    assert scores.filter(pl.col("epoch") == 4)["label"].to_list() == wine["class"].to_list()


def test_from_init_to_a_report_on_a_model_of_ones_own(tmp_path: Path) -> None:
    command(tmp_path, "memo", "init", "study")
    study, example = tmp_path / "study", ROOT / "examples" / "diffusion"
    shutil.copy(example / "diffusion.py", study)
    spec = YAML(typ="safe").load((example / "params.yaml").read_text())
    spec["datasets"]["digits"]["limit"] = 40
    spec = {name: spec[name] for name in ("datasets", "custom")}
    for part, less in (("training", {"epochs": 4}), ("scoring", {"epochs": [4]})):
        spec["custom"]["diffusion"][part] |= less
    own = {"design": {"kind": "k-fold", "folds": 2, "repeats": 2}}
    own["likelihood"] = {"kind": "importance", "samples": 4}
    spec["custom"]["diffusion"]["scoring"] |= own
    spec["custom"]["diffusion"]["model"]["arguments"] = {"hidden": 16, "steps": 8}
    (study / "params.yaml").write_text(json.dumps(spec, indent=1))
    command(study, "dvc", "repro", "custom-report@diffusion")
    assert (study / "reports" / "diffusion" / "index.html").is_file()
    (study / "diffusion.py").write_text((study / "diffusion.py").read_text() + "\n")
    changed = json.loads(command(study, "dvc", "status", "--json").stdout)
    assert {"changed deps": {"diffusion.py": "modified"}} in changed["custom-train@diffusion"]


def test_the_gitignore_of_a_project_covers_its_outputs(tmp_path: Path) -> None:
    command(tmp_path, "git", "init", "-q")
    init(tmp_path / "study", "digits", None)
    for output in ("data/prepared/x", "artifacts/folds/x", "reports/x/index.html"):
        (tmp_path / "study" / output).parent.mkdir(parents=True)
        (tmp_path / "study" / output).touch()
    shown = command(tmp_path, "git", "status", "--short", "-uall").stdout
    assert "study/params.yaml" in shown
    assert not {"data", "artifacts", "reports"} & {Path(p).parts[1] for p in shown.split()[1::2]}
