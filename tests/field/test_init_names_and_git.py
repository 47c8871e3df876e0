"""Names that YAML may take for other things, and what git tracks of a new project."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML

from memo.commands.first.spec_text import is_plain, yaml_value
from memo.commands.init import init
from memo.commands.upgrade import upgrade
from memo.project.reading import read_project
from memo.spec.dataset_specs import TableSpec
from tests.conftest import command

NAMES = [
    *("2021", "1e5", "1_000", "017", "0x1F", "0o17", "12:30:45", "2021-01-01", "1.", "+1", ".5"),
    *("true", "False", "null", "~", "on", "Off", "yes", "NO", "y", "n", ".inf", ".NaN", "NaN"),
    *("=", "<<", "-", "- a", "? a", "a: b", "a #b", "a,b", "[a]", "{a}", "@x", "%x", "!x", "&x"),
    *("*x", "|", ">", "?", ":", "`x", "'", '"', "\\", "a'b", "${x}", "item.path", "a.b", "a[0]"),
    *("é", "日本", "😀", "a\x85b", "a\u2028b", "a\u2029b", "\ufeffa", "a\x1b[31mb", "a\x7fb"),
    *("...", "---", "%YAML 1.1", "# a", "--- a", "Body Mass (g)", "x / y", "a  b", "a\tb"),
]
"""Names of columns that readers of YAML have taken for numbers, truth, structure or line breaks."""


def loads(version: tuple[int, int], text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return yaml.load(text)


@pytest.mark.parametrize("version", [(1, 1), (1, 2)])
def test_text_is_the_same_text_in_both_versions_of_yaml(version: tuple[int, int]) -> None:
    written = {"list": NAMES, "keys": dict.fromkeys(NAMES, 0.5)}
    assert loads(version, yaml_value(written)) == written
    for name in NAMES:
        assert loads(version, f"a: {yaml_value(name)}\n{yaml_value(name)}: 1\n") == {
            "a": name,
            name: 1,
        }


@pytest.mark.parametrize("version", [(1, 1), (1, 2)])
@pytest.mark.parametrize("value", [1e-5, 1e300, 0.1, 25.0, 1 / 3, -3.0, True, None, 7, 1e-300])
def test_other_values_are_read_as_they_are(version: tuple[int, int], value: Any) -> None:
    assert loads(version, yaml_value(value)) == value


def test_columns_of_any_name_are_read_back(tmp_path: Path) -> None:
    stream = np.random.default_rng(1)
    table = {name: (stream.standard_normal(60) * 2).round() for name in NAMES}
    table |= {f"{name} constant": np.ones(60) for name in NAMES}
    pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
    init(tmp_path / "study", "table", tmp_path / "t.parquet")
    spec = read_project(tmp_path / "study" / "params.yaml").files["t"]
    assert isinstance(spec, TableSpec)
    assert spec.drop == [f"{name} constant" for name in NAMES]
    assert spec.dequantize == dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize("name", ["2021", "true", "on", "1e5", "~", "2021-01-01", "a\x85b", "? a"])
def test_any_key_may_name_such_a_column(name: str, tmp_path: Path) -> None:
    stream = np.random.default_rng(1)
    table = {
        name: [f"id {i}" for i in range(60)],
        f"{name} ": pl.Series(stream.integers(0, 999, 60), dtype=pl.Int32).cast(pl.Date),
        f"{name}  ": np.arange(60) % 2,
        "x": stream.standard_normal(60),
    }
    pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
    init(tmp_path / "study", "table", tmp_path / "t.parquet")
    spec = read_project(tmp_path / "study" / "params.yaml").files["t"]
    assert isinstance(spec, TableSpec)
    assert (spec.id, spec.dates, spec.categorical) == (name, {f"{name} ": None}, [f"{name}  "])


@pytest.mark.parametrize(
    "stem",
    ["2021", "true", "null", "1e5", "~", "on", "Yes", "2021-01-01", "0x1f", "1_000", "é", ".inf"],
)
def test_a_data_set_s_name_is_text(stem: str, tmp_path: Path) -> None:
    (name,) = made_of(tmp_path, stem)
    assert is_plain(name)


@pytest.mark.parametrize("stem", ["2021", "on"])
def test_dvc_finds_the_stages_of_such_a_name(stem: str, tmp_path: Path) -> None:
    (name,) = made_of(tmp_path, stem)
    stages = command(tmp_path / "study", "dvc", "stage", "list", "--name-only").stdout.split()
    assert f"prepare-files@{name}" in stages


def made_of(folder: Path, stem: str) -> list[str]:
    """Names of the data sets of a project that is made of a table of that name."""
    stream = np.random.default_rng(1)
    file = folder / f"{stem}.csv"
    pl.DataFrame(stream.standard_normal((60, 2)), schema=["a", "b"]).write_csv(file)
    init(folder / "study", "table", file)
    return list(read_project(folder / "study" / "params.yaml").files)


def test_git_tracks_no_data_models_or_pages_of_a_project(tmp_path: Path) -> None:
    study = tmp_path / "study"
    init(study, "digits", None)
    command(study, "dvc", "repro", "prepare@digits")
    assert list((study / ".dvc" / "cache").rglob("*"))
    for output in (
        "artifacts/folds/x/r000-f000.safetensors",
        "artifacts/scores/x.parquet",
        "reports/x/index.html",
        "data/sources/MNIST/raw/images",
        "dvc_plots/index.html",
        ".dvc/config.local",
    ):
        (study / output).parent.mkdir(parents=True, exist_ok=True)
        (study / output).write_text("private")
    command(study, "git", "init", "-q")
    command(study, "git", "add", "-A")
    assert set(command(study, "git", "ls-files").stdout.split()) == {
        *(".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore"),
        *("dvc.lock", "dvc.yaml", "expanded.yaml", "params.schema.json", "params.yaml"),
    }


@pytest.mark.parametrize("inside_git", [True, False])
def test_init_writes_what_dvc_init_writes(inside_git: bool, tmp_path: Path) -> None:
    for name in ("ours", "dvcs"):
        (tmp_path / name).mkdir()
        if inside_git:
            command(tmp_path / name, "git", "init", "-q")
    init(tmp_path / "ours", "digits", None)
    command(tmp_path / "dvcs", "dvc", "init", *([] if inside_git else ["--no-scm"]))
    wanted = {".dvc/.gitignore": b"/config.local\n/tmp\n/cache\n"}
    for file in (".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        of_dvc = tmp_path / "dvcs" / file
        wanted.setdefault(file, of_dvc.read_bytes() if of_dvc.exists() else b"")
    assert {file: (tmp_path / "ours" / file).read_bytes() for file in wanted} == wanted


def test_upgrade_has_git_leave_out_dvc_s_cache(tmp_path: Path) -> None:
    init(tmp_path, "digits", None)
    (tmp_path / ".dvc" / ".gitignore").unlink()
    assert upgrade(tmp_path) == [f"{tmp_path / '.dvc' / '.gitignore'} is new"]
    assert (tmp_path / ".dvc" / ".gitignore").read_bytes() == b"/config.local\n/tmp\n/cache\n"
    assert upgrade(tmp_path) == []


@pytest.mark.parametrize("inside_git", [True, False])
@pytest.mark.parametrize("stem", ["t", "my [raw] data!", "#1 *?"])
def test_git_tracks_no_data_of_the_user_s_own(stem: str, inside_git: bool, tmp_path: Path) -> None:
    study, stream = tmp_path / "study", np.random.default_rng(1)
    study.mkdir()
    if inside_git:
        command(study, "git", "init", "-q")
    file = study / f"{stem}.csv"
    pl.DataFrame({"a": stream.standard_normal(60)}).write_csv(file)
    said = "\n".join(init(study, "table", file).said)
    assert f".gitignore leaves {file} out of git; `dvc add` it" in said
    command(study, "dvc", "add", file.name)
    command(study, "git", "init", "-q")
    command(study, "git", "add", "-A")
    tracked = command(study, "git", "ls-files", "-z").stdout.split("\0")
    assert f"{stem}.csv.dvc" in tracked
    assert f"{stem}.csv" not in tracked


def test_what_to_do_once_there_is_a_repository_is_said(tmp_path: Path) -> None:
    study = tmp_path / "study"
    said = "\n".join(init(study, "digits", None).said)
    assert (
        "is in no git repository; once it is in one, run `dvc config --unset core.no_scm`" in said
    )
    command(study, "git", "init", "-q")
    command(study, "dvc", "config", "--unset", "core.no_scm")
    command(study, "dvc", "status")


def test_data_elsewhere_in_the_repository_are_named(tmp_path: Path) -> None:
    command(tmp_path, "git", "init", "-q")
    file = tmp_path / "t.csv"
    pl.DataFrame({"a": np.random.default_rng(1).standard_normal(60)}).write_csv(file)
    said = init(tmp_path / "study", "table", file).said
    assert said[-1].startswith(f"git would track {file}; if it is private, run `dvc add` on it")
