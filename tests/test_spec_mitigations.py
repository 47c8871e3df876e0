"""Combinations that make no sense are refused with a reason; experiments are made from others."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from memo.commands.expand import expand_as_stage, is_current, write_expanded
from memo.datasets.prepared import content_hash
from memo.datasets.registry import prepare_dataset
from memo.errors import InputError, WorkError
from memo.experiments.experiment import plan_experiment
from memo.models.build import build_model
from memo.models.protocols import Fitted
from memo.project.reading import SpecError, read_project
from tests.test_models_contract import CASES

VAE = {"kind": "vae", "network": {"kind": "mlp"}}
CONV = {"kind": "vae", "network": {"kind": "conv"}}
GAUSSIAN = VAE | {"observation": "gaussian"}
CONTINUOUS = {"kind": "digits", "values": "continuous"}
DP = {"kind": "dp-sgd", "noise_multiplier": 1.0}


def experiment(model: Any = VAE, mitigations: Any = (), **changes: Any) -> dict[str, Any]:
    return {
        "dataset": "data",
        "model": model,
        "training": {"epochs": 4},
        "mitigations": list(mitigations),
        "scoring": {"design": {"kind": "k-fold", "folds": 2}, "epochs": [4]},
        "seed": 0,
    } | changes


def write(folder: Path, experiments: dict[str, Any], derived: Any = None, dataset: Any = None):
    file = folder / "params.yaml"
    datasets = {"data": dataset or {"kind": "digits"}, "other": {"kind": "digits"}}
    content = {"datasets": datasets, "experiments": experiments}
    if derived is not None:
        content["derived"] = derived
    with file.open("w") as out:
        YAML().dump(content, out)
    return file


@pytest.mark.parametrize(
    ("model", "dataset", "mitigations"),
    [
        (VAE, {"kind": "digits"}, [{"kind": "kl-weight", "weight": 2}, DP]),
        (VAE, {"kind": "digits"}, [{"kind": "dropout", "rate": 0.1}, {"kind": "ensemble"}]),
        (CONV, {"kind": "digits", "pad": 4}, [{"kind": "dropout", "rate": 0.1}]),
        (GAUSSIAN, CONTINUOUS, [{"kind": "observation-variance", "floor": 0.1}]),
        (GAUSSIAN, CONTINUOUS, [{"kind": "background", "density": "normal"}]),
        ({"kind": "kde"}, {"kind": "synthetic"}, [{"kind": "deduplicate", "distance": 0.1}]),
        (
            {"kind": "flow", "architecture": "maf"},
            {"kind": "synthetic"},
            [{"kind": "augmentation", "noise": 1.0}, {"kind": "weight-decay", "decay": 0.1}],
        ),
    ],
)
def test_what_makes_sense_is_accepted(tmp_path, model, dataset, mitigations):
    read_project(write(tmp_path, {"x": experiment(model, mitigations)}, dataset=dataset))


@pytest.mark.parametrize(
    ("model", "dataset", "mitigations", "message"),
    [
        (VAE, None, [DP, {"kind": "early-stopping"}], r"1.kind: .*validation loss.*without noise"),
        (VAE, None, [{"kind": "ensemble"}, DP], r"1.kind: 'dp-sgd' does not go with 'ensemble'"),
        (VAE, None, [DP | {"epsilon": 1.0}], r"mitigations.0: needs one of `noise_mult"),
        (VAE, None, [DP | {"delta": 0.001}], r"0.delta: is not below 1 / 1797"),
        (VAE, None, [DP, {"kind": "deduplicate", "distance": 1.0}], r"1.distance: does not go"),
        (VAE, None, [{"kind": "weight-decay", "decay": 1.0}] * 2, r"1.kind: .* is named twice"),
        ({"kind": "kde"}, CONTINUOUS, [DP], r"0.kind: 'dp-sgd' changes the steps of training, but"),
        (
            {"kind": "flow", "architecture": "maf"},
            CONTINUOUS,
            [{"kind": "kl-weight", "weight": 2}],
            r"0.kind: 'kl-weight' is for models of kind 'vae', not 'flow'",
        ),
        (VAE, None, [{"kind": "observation-variance", "floor": 1}], r"0.kind: .*Gaussian pixels"),
        (
            CONV,
            {"kind": "digits", "pad": 4},
            [{"kind": "spectral-norm"}],
            r"0.kind: 'spectral-norm' has no effect on a network of kind 'conv'",
        ),
        (VAE, None, [{"kind": "background", "density": "kde"}], r"0.density: 'kde' is not a dens"),
        (
            VAE,
            None,
            [{"kind": "augmentation", "shifts": 8}],
            r"0.shifts: moves images of 8 x 8",
        ),
        (VAE, None, [{"kind": "augmentation", "noise": 0.6}], r"0.noise: inverts binary pixels"),
        (
            {"kind": "flow", "architecture": "maf"},
            {"kind": "synthetic"},
            [{"kind": "augmentation", "flips": True}],
            r"0.flips: is for images, not for data sets of kind 'synthetic'",
        ),
        (VAE, None, [{"kind": "kl-weight"}], r"mitigations.0: needs a `weight` other than 1"),
        (VAE, None, [{"kind": "dropuot", "rate": 0.1}], r"0.kind: .* did you mean 'dropout'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    tmp_path, model, dataset, mitigations, message
):
    file = write(tmp_path, {"x": experiment(model, mitigations)}, dataset=dataset)
    with pytest.raises(SpecError, match=r"params.yaml:\d+: experiments.x.mitigations.*") as error:
        read_project(file)
    assert re.search(message, str(error.value))


@pytest.mark.parametrize("name", CASES)
def test_a_family_says_whether_gradients_train_it(name):
    spec, shape = CASES[name]
    assert spec.by_gradient != isinstance(build_model(spec, shape), Fitted)


def test_a_floor_is_a_part_of_the_model_that_is_scored(tmp_path):
    mitigations = [
        {"kind": "posterior-variance", "floor": 0.25},
        {"kind": "observation-variance", "floor": 0.04},
    ]
    model = VAE | {"observation": {"kind": "diagonal-gaussian", "floor": 0.1}}
    file = write(tmp_path, {"x": experiment(model, mitigations)}, dataset=CONTINUOUS)
    read = read_project(file).experiments["x"].model
    assert read.posterior_variance_floor == 0.25
    assert read.observation.floor == pytest.approx(0.2)


def removal(of: str, **amount: Any) -> dict[str, Any]:
    return {"change": {"mitigations": [{"kind": "remove", "of": of, **amount}]}, "base": "x"}


@pytest.mark.parametrize(
    ("derived", "message"),
    [
        ({"y": removal("y", count=3)}, r":\d+: derived.y.mitigations.0.of .* names its own"),
        ({"y": removal("z", count=3)}, r"no experiment is named 'z' \(allowed: "),
        ({"y": removal("x")}, "needs one of `count` and `quantile`"),
        ({"y": removal("x", count=1797)}, "leaves nothing to train on"),
        (
            {"y": removal("z", count=3), "z": removal("y", count=3)},
            r"itself comes after",
        ),
        ({"y": removal("w", count=3)}, "'w' is about data set 'other', not 'data'"),
        ({"y": {"base": "z"}}, r":\d+: derived.y.base: no experiment is named 'z'"),
        (
            {"y": {"base": "x", "change": {"training.lr.scale": 1}}},
            r"derived.y.change.training.lr.scale: .* leads nowhere",
        ),
        (
            {
                "y": {
                    "base": "x",
                    "grid": {"training.epochs": list(range(1, 101)), "seed": list(range(100))},
                }
            },
            r":\d+: derived.y.grid: has 10,000 points; at most 500",
        ),
        ({"y": {"base": "x", "grid": {"seed": [1, 1]}}}, "two points that are named 'y-1'"),
        ({"x": {"base": "x"}}, "derived.x: there are two experiments 'x'"),
        (
            {"y": {"base": "x", "grid": {"training.epochs": [4, 3]}}},
            r"derived.y.scoring.epochs \(of y-3\): epoch 4 is beyond the last one",
        ),
        ({"y": {"base": "x", "grib": {}}}, "derived.y.grib: unknown key; did you mean 'grid'"),
    ],
)
def test_what_cannot_be_made_from_another_is_refused(tmp_path, derived, message):
    other = experiment(dataset="other")
    file = write(tmp_path, {"x": experiment(), "w": other}, derived)
    with pytest.raises(SpecError) as error:
        read_project(file)
    assert re.search(message, str(error.value))


def test_a_removal_outside_derived_is_refused(tmp_path):
    remove = {"kind": "remove", "of": "x", "count": 3}
    file = write(tmp_path, {"x": experiment(), "y": experiment(mitigations=[remove])})
    with pytest.raises(SpecError, match="write this one under `derived`"):
        read_project(file)


def test_a_grid_is_every_combination_each_named_by_its_values(tmp_path):
    grid = {
        "training.learning_rate": [1e-3, 3e-4],
        "mitigations.0": [{"kind": "ensemble"}, {"kind": "dropout", "rate": 0.1}],
    }
    file = write(tmp_path, {"x": experiment()}, {"lr": {"base": "x", "title": "T", "grid": grid}})
    project = read_project(file)
    assert list(project.experiments) == [
        "x",
        "lr-0_001-0",
        "lr-0_001-1",
        "lr-0_0003-0",
        "lr-0_0003-1",
    ]
    last = project.experiments["lr-0_0003-1"]
    assert last.training.learning_rate == 3e-4
    assert last.mitigations[0].kind == "dropout"
    assert last.title.startswith("T, learning_rate 0.0003")
    assert project.experiments["x"].mitigations == []


def test_expanded_yaml_says_what_params_yaml_does(tmp_path):
    expanded = tmp_path / "expanded.yaml"
    seeds = {"lr": {"base": "x", "grid": {"seed": [1, 2]}}}

    def project(experiments, derived=None):
        return read_project(write(tmp_path, experiments, derived))

    assert is_current(expanded, project({"x": experiment()}).expanded)  # it need not be there
    assert not is_current(expanded, project({"x": experiment()}, seeds).expanded)
    write_expanded(expanded, project({"x": experiment()}, seeds).expanded)
    found = YAML(typ="safe").load(expanded)["expanded"]
    assert found == project({"x": experiment()}, seeds).expanded
    assert list(found) == ["lr-1", "lr-2"]
    assert found["lr-1"] == experiment(seed=1) | dict.fromkeys(
        ("after", "code"), "data/prepared/data"
    )
    assert is_current(expanded, project({"x": experiment(seed=5)}, seeds).expanded)  # replaced
    other = project({"x": experiment(training={"epochs": 5})}, seeds).expanded
    assert not is_current(expanded, other)
    time = expanded.stat().st_mtime_ns
    write_expanded(expanded, found)
    assert expanded.stat().st_mtime_ns == time


def test_as_a_stage_it_stops_where_dvc_has_read_other_experiments(tmp_path):
    expanded = tmp_path / "expanded.yaml"

    def made(count, **changes):
        spec = {"lr": {"base": "x", "grid": {"seed": [*range(count)]}}}
        return read_project(write(tmp_path, {"x": experiment(**changes)}, spec)).expanded

    write_expanded(expanded, made(2))
    expand_as_stage(expanded, made(2, training={"epochs": 5}))  # dvc.yaml reads no such value
    assert is_current(expanded, made(2, training={"epochs": 5}))
    with pytest.raises(WorkError, match=r"names other experiments now \(new: lr-2\): run `dvc"):
        expand_as_stage(expanded, made(3))
    assert is_current(expanded, made(3))
    with pytest.raises(WorkError, match="gone: lr-1, lr-2"):
        expand_as_stage(expanded, made(1))
    elsewhere = {name: one | {"after": "data"} for name, one in made(1).items()}
    with pytest.raises(WorkError, match="with another data set, code or removal: lr-0"):
        expand_as_stage(expanded, elsewhere)
    expand_as_stage(expanded, elsewhere)


def test_a_change_of_expanded_yaml_itself_is_not_lost_without_a_word(tmp_path):
    expanded, spec = tmp_path / "expanded.yaml", {"lr": {"base": "x", "change": {"seed": 3}}}
    experiments = read_project(write(tmp_path, {"x": experiment()}, spec)).expanded
    write_expanded(expanded, experiments)
    written = expanded.read_text()
    changed = written.replace("seed: 3", "seed: 4")
    assert changed != written
    expanded.write_text(changed)
    with pytest.raises(InputError, match=r"is written from params.yaml: change values there"):
        expand_as_stage(expanded, experiments)
    assert expanded.read_text() == changed
    expanded.write_text(written.replace("  lr:", "  'lr':"))  # the same in other words
    expand_as_stage(expanded, experiments)
    # an earlier memo wrote no digest
    expanded.write_text("".join(changed.splitlines(keepends=True)[2:]))
    expand_as_stage(expanded, experiments)
    assert expanded.read_text() == written


def test_a_path_does_not_replace_what_stands_before_it(tmp_path):
    change = {"training.epochs": 5, "training": {"epochs": 6}}
    file = write(tmp_path, {"x": experiment()}, {"y": {"base": "x", "change": change}})
    with pytest.raises(SpecError, match=r"'training', and with it 'training.epochs', which stands"):
        read_project(file)
    change = {"training": {"epochs": 4}, "training.batch_size": 5}
    file = write(tmp_path, {"x": experiment()}, {"y": {"base": "x", "change": change}})
    assert read_project(file).experiments["y"].training.batch_size == 5


def test_a_part_of_a_mapping_does_not_drop_the_rest(tmp_path):
    base = experiment(VAE | {"latent": 3}, training={"epochs": 4, "batch_size": 7})
    derived = {"y": {"base": "x", "change": {"training": {"epochs": 4}}}}
    file = write(tmp_path, {"x": base}, derived)
    with pytest.raises(SpecError, match=r"drops batch_size; .* as a path: training.epochs,"):
        read_project(file)
    derived["y"]["change"] = {"training": {"epochs": 4, "batch_size": 9}, "model": VAE}
    changed = read_project(write(tmp_path, {"x": base}, derived)).experiments["y"]
    assert changed.training.batch_size == 9
    assert changed.model.latent != 3  # a kind stands for itself


def test_what_acts_on_the_released_density_leaves_fingerprints_alone(tmp_path):
    lists = {
        "plain": [],
        "ensemble": [{"kind": "ensemble"}],
        "background": [{"kind": "background", "density": "frequencies"}],
        "decay": [{"kind": "weight-decay", "decay": 0.1}],
    }
    prints = fingerprints(tmp_path, {n: experiment(mitigations=m) for n, m in lists.items()})
    assert prints["plain"] == prints["ensemble"] == prints["background"] != prints["decay"]


def test_precision_is_in_fingerprints_where_it_is_not_the_default(tmp_path):
    own = {"plain": {}, "named": {"precision": "float32"}, "other": {"precision": "bfloat16"}}
    trainings = {name: {"epochs": 4} | more for name, more in own.items()}
    prints = fingerprints(tmp_path, {n: experiment(training=t) for n, t in trainings.items()})
    assert prints["plain"] == prints["named"] != prints["other"]


def test_private_gradients_are_not_in_bfloat16(tmp_path):
    training = {"epochs": 4, "precision": "bfloat16"}
    file = write(tmp_path, {"x": experiment(mitigations=[DP], training=training)})
    with pytest.raises(SpecError, match=r"mitigations.0.kind: .*training.precision"):
        read_project(file)


def fingerprints(folder: Path, experiments: dict[str, Any]) -> dict[str, str]:
    """Fingerprints of the first fold model of each."""
    project = read_project(write(folder, experiments))
    data = prepare_dataset(project.datasets["data"])
    prints = {}
    for name, spec in project.experiments.items():
        loaded = plan_experiment(name, spec, data, content_hash(data))
        prints[name] = loaded.models[0].fingerprint
    return prints
