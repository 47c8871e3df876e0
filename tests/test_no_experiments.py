"""Projects whose models were all trained elsewhere: `params.yaml` has data sets alone."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from memo.commands.init import shipped
from tests.conftest import command, edit
from tests.test_likelihood_tables import run

N, MODELS = 40, 6

STAGE = """
  score-ours:
    cmd: memo score ours --from ours.csv --dataset points
    deps: [ours.csv, data/prepared/points]
    outs:
      - artifacts/scores/ours.parquet
      - artifacts/attacks/ours.parquet
      - artifacts/attacks/ours.json
      - reports/ours
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stream = np.random.default_rng(0)
    x = stream.normal(size=(N, 2))
    pl.DataFrame(x, ["a", "b"]).write_csv(tmp_path / "points.csv")
    rows = [
        (f"m{model}", index, index % MODELS != model, -x[index] @ x[index] / 2 - index % 3)
        for model in range(MODELS)
        for index in range(N)
    ]
    columns = ["model", "index", "in_training", "log_likelihood"]
    pl.DataFrame(rows, columns, orient="row").write_csv(tmp_path / "ours.csv")
    (tmp_path / "params.yaml").write_text("files: {points: {kind: table, path: points.csv}}\n")
    return tmp_path


def test_dvc_runs_a_project_without_experiments(folder: Path) -> None:
    (folder / "dvc.yaml").write_bytes(shipped("dvc.yaml"))
    for words in ("git init -q", "dvc init -q", "memo expand", "dvc repro"):
        command(folder, *words.split())
    assert "up to date" in command(folder, "dvc", "status").stdout
    assert json.loads(command(folder, "memo", "status", "--json").stdout)["up_to_date"]
    assert "Nothing is scored yet" in (folder / "reports/compare/index.html").read_text()

    edit(folder / "dvc.yaml", "\nmetrics:\n", f"{STAGE}\nmetrics:\n")
    edit(folder / "dvc.yaml", "- artifacts/compared\n", "- artifacts/scores/ours.parquet\n")
    command(folder, "dvc", "repro")
    assert "up to date" in command(folder, "dvc", "status").stdout
    assert [*json.loads((folder / "reports/compare/comparison.json").read_text())["experiments"]]
    assert "Nothing is scored yet" not in (folder / "reports/compare/index.html").read_text()


def test_commands_say_what_to_do_without_experiments(folder: Path) -> None:
    said = run(folder)[1]
    assert "experiments 0; scored from elsewhere 0" in said and "memo design points" in said
    for experiments in ("", "experiments: {}\n"):
        (folder / "params.yaml").write_text(
            f"files: {{points: {{kind: table, path: points.csv}}}}\n{experiments}"
        )
        code, said = run(folder, "validate")
        assert (code, said.splitlines()) == (
            0,
            ["params.yaml is valid: 1 datasets, 0 experiments"],
        )
    for words in ("train", "show", "gate"):
        assert run(folder, words) == (2, "there is no experiment yet")
    code, said = run(folder, "compare")
    assert code == 0 and said.startswith("Nothing is compared: params.yaml has no experiments")
    assert run(folder, "prepare")[0] == 0
    assert run(folder, "score", "ours", "--from", "ours.csv", "--dataset", "points")[0] == 0
    assert "scored from elsewhere 1. Next:" in run(folder)[1]
    assert run(folder, "show")[1].startswith("ours")
    code, said = run(folder, "compare")
    assert code == 0 and "Nothing is compared" not in said
    assert "ours" in json.loads(run(folder, "compare", "--json")[1])["experiments"]


@pytest.mark.parametrize("text", ["{}", "experiments: {}", "datasets: {}\nfiles: {}"])
def test_a_project_without_data_is_told_so(folder: Path, text: str) -> None:
    (folder / "params.yaml").write_text(text)
    code, said = run(folder, "validate")
    assert code == 2 and "datasets: there must be a data set, here or under `files`" in said
