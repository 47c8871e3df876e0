"""memo without DVC: docs/library.md as it stands, and what measure() gives and refuses."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

import memo
from memo.design.k_fold import k_fold_models
from memo.spec.scoring_specs import KFoldSpec
from tests.conftest import ROOT
from tests.in_process import scored_experiments

VALUES: NDArray[np.float64] = np.random.default_rng(0).standard_normal((60, 2))
TRAINING = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-2}
DESIGN = {"kind": "k-fold", "folds": 3, "repeats": 2}
NORMAL = {"kind": "normal"}


class Gaussian(nn.Module):
    """A normal distribution of one's own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(shape))
        self.log_std = nn.Parameter(torch.zeros(shape))

    def log_prob(self, x: Tensor) -> Tensor:
        normal = torch.distributions.Normal(self.mean, self.log_std.exp(), validate_args=False)
        return normal.log_prob(x).sum(-1)


class Fitted(Gaussian):
    """A normal density in closed form."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        nn.Module.__init__(self)
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("log_std", torch.zeros(shape, dtype=torch.float64))

    def fit(self, x: Tensor) -> None:
        self.mean = x.double().mean(0)
        self.log_std = x.double().std(0, correction=0).log()


def test_the_documents_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMO_WORKERS", "1")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.S)
    assert len(blocks) >= 5
    notebook: dict[str, Any] = {}
    for block in blocks:
        exec(block, notebook)
    few, difference = notebook["few"], notebook["difference"]
    assert isinstance(few, memo.Measured)
    assert few.scores["std_error"].is_finite().all()
    assert isinstance(few.chart(), alt.LayerChart)
    assert Path("memorization.html").is_file()
    assert b"4 components" in notebook["page"].read_bytes()
    paired = (notebook["many"].last["memorization"] - few.last["memorization"]).to_numpy()
    assert difference.difference.mean_memorization.value == pytest.approx(paired.mean())
    assert "Mean memorization" in capsys.readouterr().out


def test_scores_are_the_stages_own(tmp_path: Path) -> None:
    spec = """
        datasets: {points: {kind: synthetic, count: 50, outliers: 2}}
        experiments:
          vae:
            dataset: points
            model: {kind: vae, network: {kind: mlp, hidden: [8]}, latent: 2, observation: gaussian}
            training: {epochs: 3, batch_size: 16, learning_rate: 1.0e-2}
            mitigations: [{kind: weight-decay, decay: 0.1}]
            scoring:
              design: {kind: k-fold, folds: 3, repeats: 2}
              epochs: [1, 3]
              likelihood: {kind: importance, samples: 8}
            seed: 5
    """
    experiment, scores = scored_experiments(tmp_path, textwrap.dedent(spec))["vae"]
    own = memo.measure(
        experiment.data.scored[:],
        experiment.spec.model,
        training=experiment.spec.training,
        mitigations=experiment.spec.mitigations,
        design=DESIGN,
        likelihood={"kind": "importance", "samples": 8},
        epochs=[1, 3],
        seed=5,
        workers=1,
    )
    columns = [name for name in own.scores.columns if name not in ("id", "label")]
    assert own.scores.select(columns).equals(scores.select(columns))
    assert own.summary(1).epoch == 1
    with pytest.raises(memo.InputError, match="epoch 2 was not scored"):
        own.summary(2)


def test_a_model_of_ones_own_is_measured_as_memos(tmp_path: Path) -> None:
    """A diagonal Gaussian in closed form is memo's normal on columns that do not correlate."""
    columns = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    values = np.concatenate([columns * scale for scale in (0.5, 1.0, 1.5, 2.0, 2.5)])
    values = values - 0.1 * values**3
    design = {"kind": "k-fold", "folds": 20, "repeats": 1}
    arguments: dict[str, Any] = {"design": design, "epochs": [1], "workers": 1}
    mine = memo.measure(values, Fitted, title="mine", **arguments)
    # Without one of four mirrored points the covariance is not diagonal; compare with closed form.
    rows = values.astype(np.float32).astype(np.float64)
    for i in (0, 7, 19):
        rest = np.delete(rows, i, 0)
        std = rest.std(0)
        log_p = (-0.5 * ((rows[i] - rest.mean(0)) / std) ** 2 - np.log(std)).sum()
        assert mine.last["log_p_out"][i] == pytest.approx(log_p - np.log(2 * np.pi), abs=1e-9)


def test_results_do_not_depend_on_workers_and_leave_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one, two = (
        memo.measure(VALUES, Gaussian, training=TRAINING, design=DESIGN, workers=workers)
        for workers in (1, 2)
    )
    assert one.scores.equals(two.scores)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (VALUES[:, 0], r"shape \(60,\), not \(observations, ...\); a single column is"),
        (np.array(3.0), r"shape \(\), not"),
        (np.zeros((3, 0)), "an observation has no numbers"),
        (np.ma.masked_greater(VALUES, 0), "some are masked"),
        (VALUES[:1], "has 1 observation"),
        (VALUES[:0], "has no observations"),
        (VALUES.astype(object), "of type object, not numbers"),
        ([["a", "b"]], "not numbers"),
        (VALUES.astype(complex), "complex128, not numbers"),
        ([[1.0], [1.0, 2.0]], "are not an array"),
        (np.where(np.arange(60)[:, None] == 7, np.nan, VALUES), "first is observation 7"),
        (VALUES * 1e40, "not finite in float32"),
        (np.ones((5, 2)), "all 5 observations are the same"),
    ],
)
def test_values_that_cannot_be_measured_are_named(values: Any, words: str) -> None:
    with pytest.raises(memo.InputError, match=words):
        memo.measure(values, NORMAL)


def _is_no_module(shape: tuple[int, ...]) -> Any:
    return 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": {"kind": "normall"}}, "model.kind: 'normall' is not known here; did"),
        ({"model": Gaussian((2,))}, "model: is one Gaussian, but every fold trains a model of its"),
        ({"model": 3}, "model: is a int, not a spec as {'kind': 'normal'}"),
        ({"model": _is_no_module}, "_is_no_module: gives a int, not a torch.nn.Module"),
        ({"model": lambda shape: nn.Linear(2, 2)}, "cannot be trained"),
        ({"training": {"epochs": 0}}, "training.epochs: input should be greater than or equal to"),
        ({"training": {"epochs": 5}, "epochs": [6]}, "scoring.epochs: epoch 6 is beyond"),
        ({"design": {"kind": "k-fold", "folds": 61}}, "scoring.design.folds: 61 folds are more"),
        ({"mitigations": [{"kind": "remove", "of": "x", "count": 1}]}, "'remove' needs a project"),
        ({"model": {"kind": "vae", "network": {"kind": "mlp"}}}, "'bernoulli' is a density of bin"),
        ({"labels": [1, 2]}, "labels: are 2, of 60 observations"),
        ({"ids": [0] * 60}, "ids: two observations have the same"),
    ],
)
def test_settings_that_are_wrong_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(memo.InputError, match=words):
        memo.measure(VALUES, **{"model": NORMAL, "workers": 1} | arguments)


def test_integers_are_binary_or_levels() -> None:
    bits = np.random.default_rng(1).integers(0, 2, (40, 6))
    vae = {"kind": "vae", "network": {"kind": "mlp", "hidden": [8]}, "latent": 2}
    arguments: dict[str, Any] = {"training": TRAINING, "design": DESIGN, "workers": 1}
    quick = {"likelihood": {"kind": "importance", "samples": 4}}
    found = memo.measure(bits, vae, **arguments, **quick)
    assert (found.scores["log_p_in"] < 0).all()
    assert memo.measure(bits.astype(bool), vae, **arguments, **quick).scores.equals(found.scores)
    with pytest.raises(memo.InputError, match="has integer levels"):
        memo.measure(bits * 3, vae, **arguments)


def test_log_likelihoods_from_elsewhere_give_the_same_scores() -> None:
    """A closed form, refitted by hand to the folds that memo has made."""
    found = memo.measure(VALUES, NORMAL, training={"epochs": 1}, design=DESIGN, workers=1, seed=3)
    rows = VALUES.astype(np.float32).astype(np.float64)
    values, inside = [], []
    for model in k_fold_models(KFoldSpec.model_validate(DESIGN), len(rows), 3):
        member = ~np.isin(np.arange(len(rows)), model.held_out)
        fit = stats.multivariate_normal(
            rows[member].mean(0), np.cov(rows[member], rowvar=False, bias=True)
        )
        values.append(fit.logpdf(rows))
        inside.append(member)
    block = np.repeat([0, 1], 3)
    scores = memo.scores_from_log_likelihoods(values, np.array(inside), block=block)
    for column in ("memorization", "std_error"):
        assert np.allclose(scores[column], found.scores[column], rtol=0, atol=1e-9)
    assert memo.summarize(scores).memorization["max"].value == pytest.approx(
        found.summary().memorization["max"].value
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"log_likelihood": np.zeros(3)}, r"log_likelihood: has shape \(3,\)"),
        ({"log_likelihood": np.full((2, 3), np.nan)}, "not finite"),
        ({"in_training": np.ones((2, 3))}, "in_training: is float64"),
        ({"in_training": np.ones((3, 2), bool)}, r"of shape \(3, 2\)"),
        ({"std_error": np.zeros((2, 2))}, r"std_error: has shape \(2, 2\), not \(2, 3\)"),
        ({"block": [1]}, "block: has shape"),
    ],
)
def test_log_likelihoods_that_are_wrong_are_named(arguments: dict[str, Any], words: str) -> None:
    right = {"log_likelihood": np.zeros((2, 3)), "in_training": np.eye(2, 3, dtype=bool)}
    with pytest.raises(memo.InputError, match=words):
        memo.scores_from_log_likelihoods(**right | arguments)


def test_only_the_same_values_are_compared(tmp_path: Path) -> None:
    measure: Callable[..., memo.Measured] = memo.measure
    first, second = (
        measure(v, NORMAL, design={"kind": "leave-one-out"}, workers=1)
        for v in (VALUES, VALUES + 1)
    )
    with pytest.raises(memo.InputError, match="measured on different values"):
        memo.compare(first, second)
    same = memo.compare(first, first)
    assert (same.table["difference"] == 0).all()
    assert "<table>" in same._repr_html_() + first._repr_html_()
    (tmp_path / "mine").touch()
    with pytest.raises(memo.InputError, match="has files already"):
        first.report(tmp_path)


def test_every_public_name_is_there() -> None:
    for name in memo.__all__:
        assert getattr(memo, name).__name__ == name
        assert name in dir(memo)
    with pytest.raises(AttributeError, match="no attribute 'measures'"):
        _ = memo.measures  # type: ignore[attr-defined]


def test_a_users_file_is_typed(tmp_path: Path) -> None:
    """Mypy, strict, knows what a user gets, and finds what a user gets wrong."""
    right = """
        import polars as pl
        import memo

        def most(values: list[list[float]]) -> pl.DataFrame:
            found: memo.Measured = memo.measure(values, memo.NormalSpec(kind="normal"))
            error: float | None = found.summary().memorization["mean"].std_error
            print(error, memo.compare(found, found).difference.rank_correlation)
            return found.most_memorized(3)
    """
    wrong = "import memo\nmemo.measure([[1.0]], {}, epoch=[1])\nx: int = memo.measure([[1.0]], {})"
    (tmp_path / "right.py").write_text(textwrap.dedent(right))
    (tmp_path / "wrong.py").write_text(wrong)
    files = [str(tmp_path / "right.py"), str(tmp_path / "wrong.py")]
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *files],
        cwd=ROOT,  # its settings are strict, and its cache knows memo already
        capture_output=True,
        text=True,
        check=False,
    )
    places = re.findall(r"(\w+)\.py:(\d+): error", result.stdout)
    assert places == [("wrong", "2"), ("wrong", "3")], result.stdout + result.stderr
