"""Leftovers of renamed and removed experiments run nothing again, and can be cleared away."""

import json
import os
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from memo.artifacts.layout import Layout
from memo.cli import app
from memo.commands.program_path import path_advice
from memo.errors import InputError, MemoError
from memo.pipeline.compare import comparison_folder
from tests.conftest import BIN, ROOT, command, edit

SPEC = """\
files:
  t: {kind: table, path: t.csv}
experiments:
  one:
    dataset: t
    model: {kind: normal}
    training: {}
    mitigations: []
    scoring: {design: {kind: k-fold, folds: 3, repeats: 2}, epochs: [100]}
    seed: 1
"""


def make(folder: Path) -> Path:
    """A project of one small table and a model without gradient steps."""
    folder.mkdir()
    (folder / "params.yaml").write_text(SPEC)
    (folder / "expanded.yaml").write_text("expanded: {}\n")
    (folder / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    values = np.random.default_rng(0).normal(size=(60, 2))
    pl.DataFrame(values, schema=["a", "b"]).write_csv(folder / "t.csv")
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["-C", str(folder), *arguments])
    if isinstance(result.exception, MemoError):
        return result.exception.exit_code, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def made(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "one") -> None:
    """Run all stages of an experiment in this process."""
    monkeypatch.setenv("MEMO_WORKERS", "1")
    monkeypatch.chdir(folder)
    for stage in ("prepare", "train", "score", "sample", "neighbors", "attack", "report"):
        assert run(folder, stage, *(() if stage == "prepare" else (name,)))[0] == 0


def paths(folder: Path) -> set[str]:
    return {
        file.relative_to(folder).as_posix()
        for part in ("artifacts", "reports", "data")
        for file in (folder / part).rglob("*")
        if file.is_file() and "locks" not in file.parts
    }


def test_a_renamed_experiment_leaves_a_colleague_with_nothing_to_do(tmp_path: Path) -> None:
    ours, theirs = make(tmp_path / "ours"), tmp_path / "theirs"
    yaml = YAML(typ="safe")
    stages = yaml.load(ours / "dvc.yaml")["stages"]
    wanted = ("prepare-files", "train", "score", "compare")  # all that takes part
    content = {"vars": ["expanded.yaml"], "stages": {name: stages[name] for name in wanted}}
    yaml.dump(content, ours / "dvc.yaml")
    command(ours, "git", "init", "-q", "-b", "main")
    command(ours, "git", "config", "user.email", "test@example.org")
    command(ours, "git", "config", "user.name", "Test")
    command(ours, "dvc", "init", "-q")
    (ours / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    command(ours, "dvc", "remote", "add", "-d", "remote", str(tmp_path / "remote"))
    command(ours, "dvc", "repro", "-q")
    edit(ours / "params.yaml", "  one:", "  two:")
    command(ours, "dvc", "repro", "-q")
    assert Layout(ours).scores("one").is_file()
    assert [file.name for file in (ours / "artifacts" / "compared").iterdir()] == ["two.json"]
    command(ours, "git", "add", "-A")
    command(ours, "git", "commit", "-qm", "renamed")
    command(ours, "dvc", "push", "-q")

    command(tmp_path, "git", "clone", "-q", str(ours), str(theirs))
    command(theirs, "dvc", "pull", "-q")
    assert "Running stage" not in command(theirs, "dvc", "repro").stdout
    assert not Layout(theirs).scores("one").exists()

    # a comparison that was asked for once is no obstacle to going back
    compared = command(ours, "memo", "compare", "two", "--rev", "HEAD").stdout
    assert "reports/compare@two-rev-HEAD/index.html" in compared
    assert "up to date" in command(ours, "dvc", "status").stdout
    command(ours, "dvc", "checkout")

    before = paths(ours)
    assert "nothing is deleted yet" in command(ours, "memo", "prune").stdout
    assert paths(ours) == before
    gone = command(ours, "memo", "prune", "--yes").stdout
    assert "reports/compare@two-rev-HEAD" in gone
    assert "dvc.lock: train@one" in gone
    assert "up to date" in command(ours, "dvc", "status").stdout
    assert paths(ours) == paths(theirs)
    assert set(yaml.load(ours / "dvc.lock")["stages"]) == {
        *("compare", "prepare-files@t", "train@two", "score@two")
    }


def test_prune_keeps_all_that_the_spec_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "project")
    made(folder, monkeypatch)
    table = folder / "likelihoods.parquet"
    assert run(folder, "export", "one", "-o", str(table))[0] == 0
    assert run(folder, "score", "elsewhere", "--from", str(table))[0] == 0
    assert run(folder, "compare")[0] == 0
    (folder / "reports" / "notes").mkdir()
    (folder / "reports" / "notes" / "index.html").write_text("mine")
    (folder / "artifacts" / "scores" / "notes.txt").write_text("mine")
    everything = paths(folder)
    assert run(folder, "prune", "--yes") == (
        0,
        "no leftovers: everything here belongs to params.yaml\n",
    )
    assert paths(folder) == everything


def test_prune_takes_every_kind_and_only_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "project")
    made(folder, monkeypatch)
    of_one = paths(folder)
    edit(folder / "params.yaml", "  one:", "  two:")
    edit(folder / "params.yaml", "  t: {", "  u: {")
    edit(folder / "params.yaml", "dataset: t", "dataset: u")
    assert run(folder, "prepare", "u")[0] == 0
    kept = paths(folder) - of_one
    found = json.loads(run(folder, "prune", "--json")[1])
    sizes = {one["path"]: one["bytes"] for one in found["files"]}
    assert set(sizes) == {
        "artifacts/attacks/one.json",
        "artifacts/attacks/one.parquet",
        "artifacts/compared/one.json",
        "artifacts/folds/one",
        "artifacts/full/one.safetensors",
        "artifacts/illustrations/one.safetensors",
        "artifacts/influence/one.parquet",
        "artifacts/log_likelihoods/one",
        "artifacts/neighbors/one.parquet",
        "artifacts/samples/one",
        "artifacts/scores/one.parquet",
        "artifacts/seconds/one.json",
        "data/prepared/t",
        "reports/one",
    }
    assert sum(sizes.values()) == sum((folder / path).stat().st_size for path in of_one)
    assert found["deleted"] is False
    assert run(folder, "prune", "--yes")[0] == 0
    assert paths(folder) == kept


def test_points_of_a_grid_that_are_no_more_are_leftovers(tmp_path: Path) -> None:
    folder = make(tmp_path / "project")
    (folder / "params.yaml").write_text(
        SPEC + "derived:\n  again: {base: one, grid: {seed: [2, 3]}}\n"
    )
    layout = Layout(folder)
    layout.seconds("one").parent.mkdir(parents=True)
    for name in ("one", "again-2", "again-3", "again-4"):
        layout.seconds(name).write_text("{}")
    stages = ("expand", "train@one", "derived-train@again-3", "derived-train@again-4")
    (folder / "dvc.lock").write_text(f"stages: {{{', '.join(f'{s}: {{}}' for s in stages)}}}\n")
    found = json.loads(run(folder, "prune", "--json")[1])
    assert [one["path"] for one in found["files"]] == ["artifacts/seconds/again-4.json"]
    assert found["stages"] == ["derived-train@again-4"]


def test_links_and_outputs_of_own_stages(tmp_path: Path) -> None:
    folder = make(tmp_path / "project")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    layout = Layout(folder)
    layout.folds("old").parent.mkdir(parents=True)
    layout.folds("old").symlink_to(elsewhere)
    layout.scores("own").parent.mkdir(parents=True)
    layout.scores("own").write_text("of a stage")
    edit(
        folder / "dvc.yaml",
        "stages:\n",
        "stages:\n  own:\n    cmd: 'true'\n    outs: [artifacts/scores/own.parquet]\n",
        1,
    )
    code, said = run(folder, "prune", "--yes")
    assert code == 0
    assert "1 leftovers are deleted" in said
    assert not layout.folds("old").is_symlink()
    assert (elsewhere / "kept").read_text() == "kept"
    assert layout.scores("own").is_file()


def test_damaged_scores_of_a_table_are_kept(tmp_path: Path) -> None:
    folder = make(tmp_path / "project")
    layout = Layout(folder)
    for file in (layout.scores("mine"), layout.report("mine") / "too-few-models.csv"):
        file.parent.mkdir(parents=True)
        file.write_text("cut off")
    assert run(folder, "prune")[1].startswith("no leftovers")


@pytest.mark.parametrize("content", ["", "[]", "stages: 3", "stages: {1: 2, 'x@y': {}}"])
def test_a_strange_lock_file_is_left_alone(tmp_path: Path, content: str) -> None:
    folder = make(tmp_path / "project")
    (folder / "dvc.lock").write_text(content)
    assert run(folder, "prune", "--yes")[1].startswith("no leftovers")
    assert (folder / "dvc.lock").read_text() == content


def test_a_lock_file_that_is_no_yaml_is_one_line(tmp_path: Path) -> None:
    folder = make(tmp_path / "project")
    (folder / "dvc.lock").write_text("stages: {")
    code, said = run(folder, "prune")
    assert code == 1
    assert re.fullmatch(r".*dvc\.lock: cannot be read: [^\n]+", said)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ((None, None, None, None), "compare"),
        ((["a", "b"], None, None, None), "compare@a-b"),
        ((None, "v1.0", None, None), "compare@rev-v1.0"),
        ((None, None, "a", None), "compare@baseline-a"),
        ((None, None, None, "q99.9"), "compare@q99.9"),
        ((None, "origin/main", None, None), r"compare@rev-origin-main-[0-9a-f]{8}"),
        ((None, "../../x", None, None), r"compare@rev-..-..-x-[0-9a-f]{8}"),
        (([f"experiment-{k}" for k in range(60)], None, None, None), r"compare@.{80}-[0-9a-f]{8}"),
    ],
)
def test_only_the_whole_comparison_is_an_output_of_dvc(
    tmp_path: Path, asked: tuple[list[str] | None, str | None, str | None, str | None], name: str
) -> None:
    folder = comparison_folder(Layout(tmp_path), *asked)
    assert folder.parent == tmp_path / "reports"
    assert re.fullmatch(name, folder.name)


def test_charts_of_an_earlier_page_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "project")
    made(folder, monkeypatch)
    charts = folder / "reports" / "one" / "charts"
    before = {file.name for file in charts.iterdir()}
    for name in ("earlier.svg", "mine.svg"):
        (charts / name).write_text("<svg/>")
    edit(charts.parent / "index.html", "</main>", '<a href="charts/earlier.svg">it</a></main>')
    assert run(folder, "report")[0] == 0
    assert {file.name for file in charts.iterdir()} == {*before, "mine.svg"}


def test_the_only_experiment_needs_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "project")
    monkeypatch.setenv("MEMO_WORKERS", "1")
    monkeypatch.chdir(folder)
    for stage in ("prepare", "train", "score", "sample", "neighbors", "attack", "report", "show"):
        code, said = run(folder, stage)
        assert code == 0, said
        assert ("t: " if stage == "prepare" else "one") in said
    again = SPEC.split("experiments:\n")[1].replace("  one:", "  two:")
    (folder / "params.yaml").write_text(SPEC + again)
    for stage in ("train", "score", "report", "show", "check"):
        assert run(folder, stage) == (2, "there are 2, so name one experiment: one, two")


def test_what_is_trained_anew_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "project")
    made(folder, monkeypatch)
    edit(folder / "params.yaml", "seed: 1", "seed: 2")
    (folder / "artifacts" / "folds" / "one" / "r001-f002.safetensors").write_text("cut off")
    told = run(folder, "train")[1].splitlines()
    assert "one: 7 models trained" in told
    anew = [line for line in told if line.endswith("trained anew")]
    assert anew[0].endswith(
        "r000-f000.safetensors and 5 more files: belongs to another spec; they are trained anew"
    )
    assert "r001-f002.safetensors: is not a whole" in anew[1]
    assert anew[1].endswith("; it is trained anew")
    assert len(anew) == 2
    assert "one: models trained: 0 of 7, 1 under way" in told  # before the first is done

    edit(folder / "params.yaml", "  one:", "  copy:")
    assert run(folder, "train")[1].splitlines() == [
        "copy: repeat 0, fold 0 and 6 more models are the same as of one",
        "copy: 7 of 7 models are kept",
        "copy: 0 models trained",
    ]


def test_memo_says_where_dvc_would_not_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "project")
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}/usr/bin")
    assert path_advice() is None
    assert "PATH" not in run(folder, "validate")[1]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (
        f"memo: not found`; activate the environment first, or run: PATH={BIN}:$PATH"
        in (run(folder, "validate")[1])
    )
    other = tmp_path / "memo"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert f"another memo, {other}, which comes first" in (path_advice() or "")


def test_prune_needs_a_spec(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        CliRunner().invoke(app, ["-C", str(tmp_path), "prune"], catch_exceptions=False)
