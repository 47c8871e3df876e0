"""memo in notebooks: cells that run twice, settings that are misspelt, what stays behind."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import memo
from memo.project.reading import SpecError, read_project

torch.set_num_threads(1)

VALUES = np.random.default_rng(0).standard_normal((60, 2))
DESIGN = {"kind": "k-fold", "folds": 3, "repeats": 1}


def measured(**settings):
    return memo.measure(
        VALUES, **({"model": {"kind": "normal"}, "design": DESIGN, "workers": 1} | settings)
    )


@pytest.fixture(scope="module")
def few() -> memo.Measured:
    return measured()


def test_a_cell_that_reports_can_run_twice(few, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = few.report("report")
    first = page.read_bytes()
    with pytest.raises(memo.InputError, match="report: has a report already; pass overwrite=True"):
        few.report("report")
    stale = Path("report", "charts", "of-an-earlier-one.svg")
    stale.write_text("<svg/>")
    other = measured(model={"kind": "kde"})
    assert other.report("report", overwrite=True).read_bytes() != first
    assert not stale.exists()
    assert few.report("report", overwrite=True).read_bytes() == first


def test_what_is_no_report_is_not_overwritten(few, tmp_path: Path) -> None:
    few.report(tmp_path / "mixed")
    (tmp_path / "mixed" / "thesis.tex").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, message in (
        ("mixed", "has files already that are no report's, as 'thesis.tex'"),
        ("mine", "has files already that are no report's, as 'index.html'"),
        ("file", "is a file, not a folder"),
    ):
        with pytest.raises(memo.InputError, match=message):
            few.report(tmp_path / name, overwrite=True)
    assert (tmp_path / "mixed" / "thesis.tex").read_text() == "mine"
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert few.report(tmp_path / "empty", overwrite=True).is_file()


SCRIPT = """
import numpy as np
import memo
import torch


class Own(torch.nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(shape))

    def log_prob(self, x):
        return -(x - self.mean).square().sum(1)


few = memo.measure(
    np.random.default_rng(0).standard_normal((40, 2)),
    Own,
    training={"epochs": 2},
    design={"kind": "k-fold", "folds": 3, "repeats": 1},
    workers=2,
)
print(few.report("report").read_text())
"""


def test_nothing_stays_in_the_temporary_folder_or_on_the_page(tmp_path: Path) -> None:
    temporary, work = tmp_path / "temporary", tmp_path / "work"
    temporary.mkdir()
    work.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "MPLCONFIGDIR": str(work)}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=work,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert [file for file in temporary.rglob("*") if "memo" in file.name] == []
    assert [file for file in temporary.rglob("*") if file.is_file()] == []
    assert str(tmp_path) not in ran.stdout
    assert "/tmp" not in ran.stdout


MISSPELT = {
    "key": ({"training": {"epoch": 2}}, "training.epoch: unknown key; did you mean 'epochs'?"),
    "kind of model": ({"model": {"kind": "norml"}}, "model.kind: 'norml' is not known here; did"),
    "no kind": ({"model": {"knd": "normal"}}, "model.kind: is required, but missing"),
    "kind of design": (
        {"design": {"kind": "kfold"}},
        "scoring.design.kind: 'kfold' is not known here; did you mean 'k-fold'? (allowed: k-fold, ",
    ),
    "key of a design": (
        {"design": {"kind": "k-fold", "fold": 3}},
        "scoring.design.fold: unknown key; did you mean 'folds'?",
    ),
    "key of a likelihood": (
        {"likelihood": {"kind": "adaptive", "tolerence": 0.1}},
        "scoring.likelihood.tolerence: unknown key; did you mean 'tolerance'?",
    ),
    "kind of mitigation": (
        {"mitigations": [{"kind": "weight-decy"}]},
        "mitigations.0.kind: 'weight-decy' is not known here; did you mean 'weight-decay'?",
    ),
    "nested key": (
        {"model": {"kind": "vae", "network": {"kind": "mlp", "hiden": [3]}}},
        "model.network.hiden: unknown key; did you mean 'hidden'?",
    ),
    "value": (
        {"training": {"learning_rate": -1.0}},
        "training.learning_rate: input should be greater than 0 (found -1.0)",
    ),
    "text for keys": ({"design": "k-fold"}, "scoring.design: must be keys and values (found 'k-f"),
    "number for keys": ({"training": 3}, "training: must be keys and values (found 3)"),
    "no list": ({"epochs": 5}, "scoring.epochs: input should be a valid list (found 5)"),
    "keys for a list": (
        {"mitigations": {"kind": "weight-decay"}},
        "mitigations: input should be a valid list",
    ),
    "epoch": (
        {"epochs": [3], "training": {"epochs": 2}},
        "scoring.epochs: epoch 3 is beyond the last one, training.epochs = 2",
    ),
    "text for a model": ({"model": "normal"}, "model: is a str, not a spec as {'kind': 'normal'}"),
}


@pytest.mark.parametrize(("settings", "message"), MISSPELT.values(), ids=MISSPELT)
def test_what_is_misspelt_is_said(settings, message: str) -> None:
    with pytest.raises(memo.InputError) as error:
        measured(**settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("model", [torch.nn.Linear, {"kind": "normal"}])
def test_values_come_first(model) -> None:
    with pytest.raises(memo.InputError, match="values: come first, and then the model"):
        memo.measure(model, np.zeros((4, 2)))


@pytest.mark.parametrize("workers", [0, -3, 1.5, "2"])
def test_there_is_at_least_one_worker(workers) -> None:
    values = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(memo.InputError, match=f"workers must be .* number, not {workers!r}"):
        memo.measure(values, memo.NormalSpec(kind="normal"), workers=workers)


@pytest.mark.parametrize("what", ["ids", "labels"])
def test_names_and_labels_are_one_for_each(what: str) -> None:
    message = rf"{what}: one is an array of shape \(2,\); give one for each"
    with pytest.raises(memo.InputError, match=message):
        memo.measure(np.eye(4), {"kind": "normal"}, **{what: np.zeros((4, 2))})


def test_params_yaml_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    spec = """
datasets: {{d: {{kind: digits}}}}
experiments:
  e:
    dataset: d
    model: {{kind: normal}}
    training: {training}
    mitigations: []
    scoring: {{design: {design}, epochs: [1]}}
    seed: 1
"""
    for yaml, settings in (
        ("{epoch: 2}", {"training": {"epoch": 2}}),
        ("3", {"training": 3}),
        ("{batch_size: 0}", {"training": {"batch_size": 0}}),
    ):
        file.write_text(spec.format(training=yaml, design="{kind: k-fold}"))
        with pytest.raises(SpecError) as written:
            read_project(file)
        with pytest.raises(SpecError) as given:
            measured(**settings)
        assert str(written.value).endswith(f"experiments.e.{given.value}")


def test_numbers_may_be_numpys(few) -> None:
    again = measured(
        seed=np.int64(0),
        design={"kind": "k-fold", "folds": np.int32(3), "repeats": np.int64(1)},
        training={"epochs": np.int64(1)},
        epochs=np.array([1]),
    )
    assert again.last.equals(few.last)
    assert measured(epochs=range(1, 2), mitigations=()).last.equals(few.last)


def test_the_last_epoch_is_scored_unless_others_are_named() -> None:
    flow = {"kind": "flow", "architecture": "coupling", "hidden": [4]}
    found = measured(model=flow, training={"epochs": 2})
    assert found.scores["epoch"].unique().to_list() == [2]


def test_help_is_short() -> None:
    assert len(str(inspect.signature(memo.measure))) < 700
    for function in (memo.measure, memo.compare, memo.scores_from_log_likelihoods):
        assert "FieldInfo" not in str(inspect.signature(function))
