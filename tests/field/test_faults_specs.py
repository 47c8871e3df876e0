"""Specs that ask for what no machine has, and names that DVC refuses: said at once."""

import json
from pathlib import Path

import pytest

from memo.models.build import build_model
from memo.project.cost import cost_of, parameters
from memo.project.reading import SpecError, read_project
from tests.conftest import SMALL, command

MODEL = SMALL[SMALL.index("model: ") : SMALL.index("    training:")].rstrip()
DATA = "values: continuous, limit: 60"


def spec(**changes: str) -> str:
    """The small spec with parts of it exchanged."""
    parts = {"model": MODEL, "data": "values: binary, limit: 60"} | changes
    text = SMALL.replace(MODEL, parts["model"]).replace("values: binary, limit: 60", parts["data"])
    for name in ("repeats", "epochs", "samples", "folds"):
        if name in parts:
            head, _, rest = text.partition(f"{name}: ")
            text = f"{head}{name}: {parts[name]}{rest.lstrip('0123456789')}"
    return text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repeats": "1000000000"}, r"scoring\.design: asks for 3,000,000,000 models"),
        ({"repeats": "1" + "0" * 30}, r"scoring\.design: asks for 3,0"),
        ({"folds": "1000000000"}, r"scoring\.design: asks for 2,000,000,000 models"),
        ({"epochs": "1000000000000"}, r"training\.epochs: asks for 1,000,000,000,000 epochs"),
        ({"samples": "1000000000000"}, r"scoring\.likelihood: asks for 1,000,000,000,000 samples"),
        ({"model": MODEL.replace("[32]", "[4000000000]")}, r"model: asks for .* parameters"),
        ({"model": MODEL.replace("[32]", "[400000, 400000]")}, r"model: asks for .* parameters"),
        ({"model": MODEL.replace("latent: 4", "latent: 4000000000")}, r"model: asks for"),
        (
            {
                "model": "model: {kind: flow, architecture: maf, transforms: 1000000000}",
                "data": DATA,
            },
            r"model: asks for",
        ),
        (
            {"model": "model: {kind: gaussian-mixture, components: 100000000}", "data": DATA},
            r"model: asks for",
        ),
        (
            {
                "model": "model: {kind: vae, network: {kind: conv, features: 1000000}, "
                "observation: bernoulli}",
                "data": "values: binary, pad: 4",
            },
            r"model: asks for",
        ),
        ({"data": "values: binary, size: 1000000"}, r"asks for 1,000,000 pixels on a side"),
        ({"data": "values: binary, pad: 1000000"}, r"asks for 2,000,001 pixels on a side"),
    ],
)
def test_what_no_machine_has_is_refused_at_once(
    changes: dict[str, str], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(spec(**changes))
    with pytest.raises(SpecError, match=message) as caught:
        read_project(file)
    assert "at most" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_more_observations_than_memory_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    data = "datasets:\n  digits: {kind: synthetic, count: 1000000000000}\n"
    file.write_text(data + SMALL[SMALL.index("experiments:") :])
    with pytest.raises(SpecError, match=r"count: asks for 1,000,000,000,000 observations"):
        read_project(file)


@pytest.mark.parametrize("section", ["experiments", "custom", "derived"])
def test_an_experiment_cannot_have_the_name_of_the_comparison(section: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    text = SMALL.replace("  fast:", "  compare:")
    if section == "custom":
        model = "model: {kind: custom, target: 'm:M', code: m.py}"
        text = SMALL.replace(MODEL, model).replace("experiments:", "custom:").replace(
            "  fast:", "  compare:"
        )  # fmt: skip
    if section == "derived":
        text = SMALL + "derived:\n  compare: {base: fast, change: {seed: 3}}\n"
    file.write_text(text)
    with pytest.raises(SpecError, match="the name 'compare' is taken by reports/compare") as caught:
        read_project(file)
    assert f"{section}.compare" in str(caught.value)


MODELS = {
    "vae": MODEL,
    "wide": MODEL.replace("[32]", "[300, 200, 100]").replace("latent: 4", "latent: 20"),
    "flow": "model: {kind: flow, architecture: maf, transforms: 4, hidden: [50, 60]}",
    "normal": "model: {kind: normal}",
    "mixture": "model: {kind: gaussian-mixture, components: 5}",
    "conv": "model: {kind: vae, network: {kind: conv, features: 16}, latent: 6, "
    "observation: bernoulli}",
}


@pytest.mark.parametrize("name", MODELS)
def test_the_estimate_is_that_of_the_model_that_is_built(name: str, tmp_path: Path) -> None:
    binary = "bernoulli" in MODELS[name]
    data = "values: binary, pad: 4" if name == "conv" else "values: binary" if binary else DATA
    (tmp_path / "params.yaml").write_text(spec(model=MODELS[name], data=data))
    project = read_project(tmp_path / "params.yaml")
    experiment, shape = project.experiments["fast"], project.datasets["digits"].shape
    assert shape is not None
    model = build_model(experiment.model, shape)
    built = sum(
        part.numel() for part in {**model.state_dict()}.values() if part.is_floating_point()
    )
    estimated = parameters(experiment.model, shape[0] * shape[1] * shape[2])
    assert estimated is not None
    assert 0.8 * built <= estimated <= 1.25 * built, (estimated, built)
    cost = cost_of(experiment, shape)
    assert cost.models == 7
    assert cost.stored == 4 * estimated * 7 * 2
    assert cost.memory == 16 * estimated


def test_validate_says_what_an_experiment_costs(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(SMALL)
    found = command(tmp_path, "memo", "validate")
    assert found.stdout.splitlines() == [
        "params.yaml is valid: 1 datasets, 1 experiments",
        "fast: 7 models of about 4,616 parameters each; about 258 kB on disk, and 73.9 kB of "
        "memory for each that is trained at a time",
        "digits is not prepared: its experiments are tried on it once it is",
    ]
    found = command(tmp_path, "memo", "validate", "--json")
    assert json.loads(found.stdout) == {"datasets": ["digits"], "experiments": ["fast"]}
