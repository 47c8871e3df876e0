"""Refusals of training and later stages come before anything is trained, from validate too."""

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from memo.cli import app
from tests.conftest import contents

SPEC = """\
files:
  t: {{kind: table, path: t.csv{table}}}
{section}:
  e:
    dataset: t
    model: {model}
    training: {training}
    mitigations: {mitigations}
    scoring: {{design: {design}, epochs: []{scoring}}}
    seed: 1
"""


def project(
    folder: Path,
    model: str,
    *,
    rows: int = 60,
    table: str = "",
    training: str = "{epochs: 2}",
    mitigations: str = "[]",
    design: str = "{kind: k-fold, folds: 3, repeats: 1}",
    scoring: str = "",
    csv: str | None = None,
) -> Path:
    if csv is None:
        values = np.random.default_rng(0).normal(size=(rows, 2))
        csv = "a,b\n" + "".join(f"{a:.4f},{b:.4f}\n" for a, b in values)
    (folder / "t.csv").write_text(csv)
    section = "custom" if "custom" in model else "experiments"
    (folder / "params.yaml").write_text(
        SPEC.format(
            table=table,
            section=section,
            model=model,
            training=training,
            mitigations=mitigations,
            design=design,
            scoring=scoring,
        )
    )
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["-C", str(folder), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return getattr(result.exception, "exit_code", -1), str(result.exception)
    return result.exit_code, result.output


VAE = "{kind: vae, network: {kind: mlp, hidden: [4]}, latent: 1, observation: columns}"
CATEGORIES = "a,b\n" + "".join(f"{row * 0.37 % 5:.3f},{'xyz'[row % 3]}\n" for row in range(60))
CONSTANT = "a,b\n" + "".join(f"{row * 0.37 % 5:.3f},{int(row == 0)}\n" for row in range(60))
ON_CATEGORIES = "is a density of numbers, but data set 't' has categorical columns ('b')"

REFUSED = {
    "mixture on categories": (
        {"model": "{kind: gaussian-mixture}", "csv": CATEGORIES},
        ON_CATEGORIES,
    ),
    "kde on categories": ({"model": "{kind: kde}", "csv": CATEGORIES}, ON_CATEGORIES),
    "flow on categories": (
        {"model": "{kind: flow, architecture: maf}", "csv": CATEGORIES},
        ON_CATEGORIES,
    ),
    "normal vae on categories": (
        {"model": VAE.replace("columns", "{kind: gaussian, floor: 0.1}"), "csv": CATEGORIES},
        ON_CATEGORIES,
    ),
    "more components than observations": (
        {"model": "{kind: gaussian-mixture, components: 50}"},
        "experiments.e.model: 50 components are more than the 40 observations",
    ),
    "singular normal": (
        {
            "model": "{kind: normal}",
            "csv": "a,b\n" + "".join(f"{r % 7},{r % 7 * 2}\n" for r in range(60)),
        },
        "experiments.e.model: the covariance is singular; `ridge` above 0 makes it regular",
    ),
    "constant without one observation": (
        {
            "model": "{kind: kde}",
            "csv": CONSTANT,
            "design": "{kind: leave-one-out}",
            "table": ", dequantize: {}, standardize: false",
        },
        "is constant without observation 0: no rule gives it a bandwidth",
    ),
    "too many folds": (
        {"model": "{kind: normal}", "design": "{kind: k-fold, folds: 70, repeats: 1}"},
        "70 folds are more than the 60 observations",
    ),
    "too many samples": (
        {"model": VAE, "scoring": ", neighbors: {samples: 31}"},
        "31 samples are more than half of the 60 observations",
    ),
    "no such space": (
        {"model": VAE, "scoring": ", neighbors: {space: {kind: custom, target: 'own:embed'}}"},
        "experiments.e.scoring.neighbors.space: 'own:embed': cannot be imported",
    ),
    "too little privacy": (
        {
            "model": VAE,
            "mitigations": "[{kind: dp-sgd, epsilon: 1.0e-9, delta: 0.001}]",
            "table": ", standardize: false, missing: refuse",
        },
        "experiments.e.mitigations.0: ",
    ),
}


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_validate_says_what_training_refuses(tmp_path: Path, settings, message: str) -> None:
    folder = project(tmp_path, **settings)
    for prepared in (False, True):
        if prepared:
            assert run(folder, "prepare", "t")[0] == 0
        code, said = run(folder, "validate")
        assert message in said
        assert code == 2


def test_a_model_larger_than_memory_is_not_built(tmp_path: Path) -> None:
    """8.8e10 parameters are a valid spec, of which training takes 1.4 TB."""
    large = VAE.replace("hidden: [", "hidden: [210000, 210000, ", 1)
    assert large != VAE
    folder = project(tmp_path, model=large)
    assert run(folder, "prepare", "t")[0] == 0
    for words in (["validate"], ["train", "e"]):
        code, said = run(folder, *words)
        assert code == 2
        assert "experiments.e.model: has about 88," in said
        assert "training one such model takes 1.41 TB of memory, more than the" in said


ACCEPTED = {
    "vae on categories": {"model": VAE, "csv": CATEGORIES},
    "normal": {"model": "{kind: normal}"},
    "left out": {"model": "{kind: kde}", "design": "{kind: leave-one-out}"},
    "private": {
        "model": VAE,
        "mitigations": "[{kind: dp-sgd, epsilon: 5.0, delta: 0.001}]",
        "table": ", standardize: false, missing: refuse",
    },
    "in bfloat16": {"model": VAE, "training": "{epochs: 2, precision: bfloat16}"},
    "stopping": {"model": VAE, "mitigations": "[{kind: early-stopping, patience: 1}]"},
}


@pytest.mark.parametrize("settings", ACCEPTED.values(), ids=ACCEPTED)
def test_validate_accepts_what_trains(tmp_path: Path, settings) -> None:
    folder = project(tmp_path, **settings)
    code, said = run(folder, "validate")
    assert code == 0
    valid, cost = said.splitlines()  # and nothing that waits for prepared data
    assert valid == "params.yaml is valid: 1 datasets, 1 experiments"
    assert re.match(r"e: \d models?\b", cost)
    assert run(folder, "prepare", "t")[0] == 0
    assert run(folder, "train", "e", "--workers", "1")[0] == 0
    written = contents(folder / "artifacts" / "folds" / "e")
    assert run(folder, "validate")[0] == 0
    assert contents(folder / "artifacts" / "folds" / "e") == written


def test_validate_goes_by_the_table_of_the_spec_not_by_what_was_prepared(tmp_path: Path) -> None:
    folder = project(tmp_path, "{kind: normal}", csv=CATEGORIES)
    assert run(folder, "prepare", "t")[0] == 0
    assert run(folder, "validate")[0] == 2
    project(tmp_path, "{kind: normal}", csv=CATEGORIES, table=", drop: [b]")
    assert run(folder, "validate")[0] == 0


def test_what_cannot_be_tried_is_said(tmp_path: Path) -> None:
    folder = project(tmp_path, "{kind: normal}")
    (folder / "t.csv").unlink()
    code, said = run(folder, "validate")
    assert code == 0
    assert "t is not prepared: its experiments are tried on it once it is" in said


def test_a_fitted_density_needs_no_training_and_no_epochs(tmp_path: Path) -> None:
    folder = project(tmp_path, "{kind: gaussian-mixture}", training="{}")
    for arguments in (("validate",), ("prepare", "t"), ("train", "e"), ("score", "e")):
        assert run(folder, *arguments)[0] == 0
    spec = (folder / "params.yaml").read_text()
    for key, part in (("training", "    training: {}\n"), ("scoring.epochs", ", epochs: []")):
        assert part in spec
        (folder / "params.yaml").write_text(spec.replace(part, ""))
        code, said = run(folder, "validate")
        empty = part.strip(" ,\n")
        assert code == 2
        assert f"experiments.e.{key}: is required, but missing: DVC watches it" in said
        assert said.endswith(f"has `{empty}`")
