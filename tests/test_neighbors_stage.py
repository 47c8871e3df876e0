"""The stage: every family, space and kind of values, from the spec to the files."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.artifacts.model_files import full_model_file
from memo.artifacts.neighbor_files import read_neighbors
from memo.datasets.pictures import observed_pixels, pictures, sampled_pixels
from memo.datasets.rows import Logits
from memo.errors import InputError
from memo.execution.processes import InProcess
from memo.pipeline.experiment import load_experiment
from memo.pipeline.neighbors import neighbors
from memo.pipeline.prepare import prepare
from memo.pipeline.relation import neighbor_metrics, related_neighbors
from memo.pipeline.score import score
from memo.pipeline.train import train
from memo.pipeline.weights import loaded_model
from memo.project.reading import SpecError, read_project

torch.set_num_threads(1)

DATASETS = """\
datasets:
  points: {kind: synthetic, dimensions: 2, count: 50, outliers: 2, duplicates: 3}
  binary: {kind: digits, limit: 50}
  dynamic: {kind: digits, values: dynamic, limit: 50}
  levels: {kind: digits, values: levels, limit: 50}
  continuous: {kind: digits, values: continuous, limit: 50}
experiments:
"""
EXPERIMENT = """\
  {name}:
    dataset: {dataset}
    model: {{{model}}}
    training: {{epochs: 2, batch_size: 16, learning_rate: 1.0e-2}}
    mitigations: []
    scoring:
      design: {{{design}}}
      epochs: [1, 2]
      neighbors: {{{neighbors}}}
    seed: 1
"""
VAE = "kind: vae, network: {{kind: mlp, hidden: [16]}}, latent: 2, observation: {}".format
MIXTURE = VAE("{kind: logistic-mixture, components: 2, levels: 17}")
FOLDS = "kind: k-fold, folds: 2, repeats: 1"
EXPERIMENTS = {
    "normal": ("points", "kind: normal", "kind: leave-one-out", ""),
    "kde": ("points", "kind: kde, bandwidth: 0.3", FOLDS, "samples: 20"),
    "mixture": ("points", "kind: gaussian-mixture", FOLDS, ""),
    "flow": ("points", "kind: flow, architecture: nsf, hidden: [8]", FOLDS, ""),
    "binary": ("binary", VAE("bernoulli"), FOLDS, "samples: 20"),
    "dynamic": ("dynamic", VAE("bernoulli"), FOLDS, ""),
    "levels": ("levels", MIXTURE, FOLDS, "samples: 20"),
    "continuous": ("continuous", VAE("gaussian"), FOLDS, ""),
    "downsampled": ("binary", VAE("bernoulli"), FOLDS, "samples: 20, space: downsampled"),
    "encoder": ("levels", MIXTURE, FOLDS, "samples: 20, space: {kind: encoder}"),
    "custom": (
        "binary",
        VAE("bernoulli"),
        FOLDS,
        "samples: 20, space: {kind: custom, target: 'features:halves'}",
    ),
}
FEATURES = """\
def halves(x):
    return x.flatten(1) / 2

def one_too_many(x):
    return x

def broken(x):
    return x.no_such_method()
"""


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """Each experiment after train and neighbors ran."""
    folder = tmp_path_factory.mktemp("neighbors")
    (folder / "features.py").write_text(FEATURES)
    (folder / "params.yaml").write_text(
        DATASETS
        + "".join(
            EXPERIMENT.format(name=name, dataset=dataset, model=model, design=design, neighbors=n)
            for name, (dataset, model, design, n) in EXPERIMENTS.items()
        )
    )
    project, layout = read_project(folder / "params.yaml"), Layout(folder)
    for name in project.datasets:
        prepare(project, layout, name)
    loaded = {name: load_experiment(project, layout, name) for name in EXPERIMENTS}
    for experiment in loaded.values():
        train(experiment, InProcess())
        neighbors(experiment)
    return loaded


def full_model(experiment):
    file = full_model_file(experiment)
    shape = experiment.data.shape
    return loaded_model(file.read().weights[2], experiment.spec.model, shape, file.path)


def in_space(name, experiment, values, x):
    """The features of observations or samples, by other means than the stage's."""
    if name == "downsampled":
        return x.reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(-1, 16)
    if name == "encoder":
        with torch.no_grad():
            return full_model(experiment).encode(torch.from_numpy(values).float())[0].numpy()
    return x.reshape(len(x), -1) / (2 if name == "custom" else 1)


def distances(a, b):
    return np.sqrt(np.square(a[:, None].astype(np.float64) - b.astype(np.float64)).sum(2))


def kept_samples(experiment, samples):
    """Pixels and values of the samples in the file."""
    if samples.dtype != np.uint8:
        return samples, samples
    levels = np.rint(samples[:, None].astype(np.float64) * (16 / 255))
    pixels = (levels / 16).astype(np.float32)
    return pixels * experiment.data.white, pixels


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_distances_and_ratios_are_those_of_the_files(experiments, name):
    experiment = experiments[name]
    table, samples = read_neighbors(experiment)
    data = experiment.data
    rows = in_space(name, experiment, np.array(data.scored[:]), observed_pixels(data))
    kept = in_space(name, experiment, *kept_samples(experiment, samples))
    to_samples, between = distances(rows, kept), distances(rows, rows)
    own, held_out = table["index"].to_numpy(), table["nearest_held_out"].to_numpy()
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if name == "encoder" else {"rtol": 1e-6}

    assert own.tolist() == list(range(len(data)))
    assert sorted(set(table["nearest_sample"])) == list(range(len(kept)))
    np.testing.assert_allclose(table["distance_sample"], to_samples.min(1), **tolerance)
    chosen = to_samples[own, table["nearest_sample"]]
    np.testing.assert_allclose(table["distance_sample"], chosen, **tolerance)
    assert (held_out != own).all()
    np.testing.assert_allclose(table["distance_held_out"], between[own, held_out], **tolerance)
    finite = table.drop_nulls("ratio").filter(pl.col("distance_sample") > 0)
    np.testing.assert_allclose(
        finite["ratio"] * finite["distance_sample"], finite["distance_held_out"], rtol=1e-12
    )


def test_samples_are_drawn_from_the_full_model_in_pixels(experiments):
    for name, white in (("binary", 1), ("levels", 16), ("continuous", 16)):
        pixels = read_neighbors(experiments[name])[1] * (white / 255)
        np.testing.assert_allclose(pixels, np.rint(pixels), atol=0.04)
        assert 0 <= pixels.min() < pixels.max() <= white


def test_a_custom_space_is_the_one_its_function_makes(experiments):
    pixels, halved = (read_neighbors(experiments[name])[0] for name in ("binary", "custom"))
    np.testing.assert_allclose(halved["distance_sample"], pixels["distance_sample"] / 2)
    np.testing.assert_allclose(halved["ratio"], pixels["ratio"])


def test_the_stage_repeats_to_the_byte_and_keeps_what_holds(experiments):
    experiment = experiments["binary"]
    files = [
        experiment.layout.neighbors(experiment.name),
        experiment.layout.nearest_samples(experiment.name),
    ]
    stamps, contents = [f.stat().st_mtime_ns for f in files], [f.read_bytes() for f in files]
    neighbors(experiment)
    assert [f.stat().st_mtime_ns for f in files] == stamps
    for lost in files:
        lost.write_bytes(lost.read_bytes()[:100])
        neighbors(experiment)
        assert [f.read_bytes() for f in files] == contents


def changed(experiment, **neighbors_spec):
    spec = experiment.spec.scoring.neighbors.model_copy(update=neighbors_spec)
    scoring = experiment.spec.scoring.model_copy(update={"neighbors": spec})
    return replace(experiment, spec=experiment.spec.model_copy(update={"scoring": scoring}))


def test_another_spec_is_not_read_as_this_one(experiments):
    with pytest.raises(ArtifactError, match=r"binary.parquet: belongs to another spec; run: memo"):
        read_neighbors(changed(experiments["binary"], samples=7))


def test_too_many_samples_for_data_whose_size_no_spec_knows(experiments):
    with pytest.raises(InputError, match=r"neighbors.samples: 26 samples .* of the 50 obs"):
        neighbors(changed(experiments["binary"], samples=26))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("features:one_too_many", r"not torch.float32 of \(20, 1, 8, 8\)"),
        ("features:broken", "'features:broken': AttributeError: .*no_such_method"),
        ("features:missing", "'features:missing': cannot be imported"),
    ],
)
def test_a_wrong_feature_extractor_is_told(experiments, target, message):
    custom = experiments["custom"].spec.scoring.neighbors.space
    space = custom.model_copy(update={"target": target})
    with pytest.raises(InputError, match=f"custom.scoring.neighbors.space: .*{message}"):
        neighbors(changed(experiments["custom"], space=space))


def test_the_relation_is_of_the_last_epoch_and_in_metrics(experiments):
    experiment = experiments["normal"]
    scores = score(experiment, InProcess())
    data = related_neighbors(experiment, scores)
    metrics = neighbor_metrics(data)
    last = scores.filter(pl.col("epoch") == 2).sort("index")
    joined = last.join(data.table, on="index")
    expected = joined.select(pl.corr("memorization", "ratio", method="spearman")).item()
    assert metrics["rank_correlation"] == pytest.approx(expected)
    assert metrics["rank_correlation_low"] < expected < metrics["rank_correlation_high"]
    assert metrics["samples"] == data.count == 5
    assert data.space == "the columns"
    highly = joined["memorization"] > joined["memorization"].quantile(0.95, "linear")
    assert metrics["ratio_highly_memorized"] == pytest.approx(joined.filter(highly)["ratio"].mean())


def test_levels_are_had_back_from_logits():
    levels = np.random.default_rng(0).integers(0, 17, (200, 1, 8, 8), dtype=np.uint8)
    rows = Logits(levels, 17, 0.05, seed=3)
    np.testing.assert_array_equal(rows.nearest_levels(rows[:]), levels)
    beyond = rows.nearest_levels(np.array([-1e4, -4.0, 4.0, 1e4]))
    assert beyond.tolist() == [0, 0, 16, 16]


def test_pixels_of_samples_are_those_of_observations(experiments):
    for name in ("binary", "levels", "continuous", "normal"):
        data = experiments[name].data
        values = np.array(data.scored[:])
        np.testing.assert_array_equal(sampled_pixels(data, values), observed_pixels(data))
        if name != "normal":
            shown = pictures(data).astype(np.float32)[:, None] / 255
            np.testing.assert_allclose(shown, observed_pixels(data), atol=0.5 / 255 + 1e-6)


REFUSED = {
    "no encoder": (
        ("points", "kind: kde", "space: encoder"),
        "scoring.neighbors.space: 'encoder' needs a model that has one, 'vae', and 'kde' has none",
    ),
    "no images": (
        ("points", "kind: kde", "space: {kind: downsampled}"),
        "scoring.neighbors.space: 'downsampled' needs images of even height and width, but "
        "observations of data set 'points' are 2",
    ),
    "too many samples": (
        ("points", "kind: kde", "samples: 28"),
        "scoring.neighbors.samples: 28 samples are more than half of the 55 observations",
    ),
    "no such space": (
        ("points", "kind: kde", "space: pixel"),
        "scoring.neighbors.space.*'pixel' is not known here; did you mean 'pixels'",
    ),
    "no target": (
        ("points", "kind: kde", "space: custom"),
        "scoring.neighbors.space.*is required, but missing",
    ),
    "not a target": (
        ("points", "kind: kde", "space: {kind: custom, target: features.py}"),
        "scoring.neighbors.space.target: must be `package.module:name`",
    ),
    "unknown key": (
        ("points", "kind: kde", "sample: 3"),
        "scoring.neighbors.sample: unknown key; did you mean 'samples'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_spec_is_refused(name, tmp_path):
    (dataset, model, wrong), message = REFUSED[name]
    file = tmp_path / "params.yaml"
    file.write_text(
        DATASETS
        + EXPERIMENT.format(name="x", dataset=dataset, model=model, design=FOLDS, neighbors=wrong)
    )
    with pytest.raises(SpecError, match=message):
        read_project(file)
