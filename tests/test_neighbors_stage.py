"""The stage: every family, space and kind of values, from the spec to the files."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.commands.terminal import print_validated
from memo.commands.validate_tests import validate_tests
from memo.datasets.pictures import observed_pixels, pictures, sampled_pixels
from memo.datasets.rows import Logits
from memo.design.seeds import Stream, seed_sequence, substreams, torch_seed
from memo.errors import InputError
from memo.execution.processes import InProcess
from memo.experiments.judged.seen_by_tests import sample_test_data, sample_test_metrics
from memo.experiments.sample_relation import neighbor_data, relations
from memo.experiments.sampling import planned_samples, sampled_models
from memo.models.state import loaded_model
from memo.pipeline.neighbors import neighbors
from memo.pipeline.prepare import prepare
from memo.pipeline.sample import sample
from memo.pipeline.score import score
from memo.pipeline.stored_experiment import load_experiment
from memo.pipeline.train import train
from memo.project.reading import SpecError, read_project
from memo.samples.interface import RecordValues, SampleTest
from memo.samples.registered import TESTS
from memo.scores.seen.fold_numbers import FoldNumbers
from memo.scores.table import Scores
from memo.spec.sample_specs import SamplesSpec

torch.set_num_threads(1)

DATASETS = """\
datasets:
  points: {kind: synthetic, dimensions: 2, count: 50, outliers: 2, duplicates: 3}
  binary: {kind: digits, limit: 50}
  dynamic: {kind: digits, drawn: each-step, limit: 50}
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
TWICE = "kind: k-fold, folds: 2, repeats: 2"
TESTED = "tests: [nearest-ratio, two-samples]}\n      samples: {fold_models: 25"
EXPERIMENTS = {
    "normal": ("points", "kind: normal", "kind: leave-one-out", ""),
    "kde": ("points", "kind: kde, bandwidth: 0.3", FOLDS, "samples: 20"),
    "sampled": ("points", "kind: kde, bandwidth: 0.3", TWICE, f"samples: 20, {TESTED}"),
    "narrow": ("points", "kind: kde, bandwidth: 0.01", TWICE, f"samples: 20, {TESTED}"),
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
        sample(experiment)
        neighbors(experiment)
    return loaded


def read_neighbors(experiment):
    """The table of the tests, and the full model's samples in the space of its values."""
    samples = experiment.read_samples()
    return experiment.neighbor_file(samples).read(), samples


def full_model(experiment):
    weights = experiment.model_file(experiment.full_model).read().weights[2]
    return loaded_model(weights, experiment.spec.model, experiment.data.shape)


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


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_distances_and_ratios_are_those_of_the_files(experiments, name):
    experiment = experiments[name]
    table, samples = read_neighbors(experiment)
    data = experiment.data
    rows = in_space(name, experiment, np.array(data.scored[:]), observed_pixels(data))
    kept = in_space(name, experiment, samples, sampled_pixels(data, samples))
    to_samples, between = distances(rows, kept), distances(rows, rows)
    own, held_out = table["index"].to_numpy(), table["nearest_held_out"].to_numpy()
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if name == "encoder" else {"rtol": 1e-6}

    assert own.tolist() == list(range(len(data)))
    assert len(kept) == experiment.spec.scoring.neighbors.sample_count(len(data))
    np.testing.assert_allclose(table["distance_sample"], to_samples.min(1), **tolerance)
    chosen = to_samples[own, table["nearest_sample"]]
    np.testing.assert_allclose(table["distance_sample"], chosen, **tolerance)
    assert (held_out != own).all()
    np.testing.assert_allclose(table["distance_held_out"], between[own, held_out], **tolerance)
    finite = table.drop_nulls("ratio").filter(pl.col("distance_sample") > 0)
    np.testing.assert_allclose(
        finite["ratio"] * finite["distance_sample"], finite["distance_held_out"], rtol=1e-12
    )


def test_samples_are_those_that_the_full_model_draws(experiments):
    for name in ("binary", "levels", "continuous", "kde"):
        experiment = experiments[name]
        samples = experiment.read_samples()
        (draws, _) = substreams(seed_sequence(experiment.spec.seed, Stream.SAMPLES), 2)
        generator = torch.Generator().manual_seed(torch_seed(draws))
        drawn = full_model(experiment).sample(len(samples), generator)
        np.testing.assert_array_equal(samples, drawn.numpy())


def test_fold_models_are_sampled_where_the_spec_asks(experiments):
    """Each from its own stream; those that are no longer asked for go."""
    spec = SamplesSpec(full_model=25, fold_models=7)
    scoring = experiments["binary"].spec.scoring.model_copy(update={"samples": spec})
    asked = with_scoring(experiments["binary"], scoring)
    folder = asked.layout.samples("binary")
    assert sample(asked) == 25 + 2 * 7
    names = {"full", "r000-f000", "r000-f001"}
    assert {file.stem for file in folder.iterdir()} == names
    drawn = {
        one.model.name: asked.sample_file(one).read().tobytes() for one in planned_samples(asked)
    }
    assert len(set(drawn.values())) == 3
    stamps = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert sample(asked) == 39
    assert stamps == {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    few = asked.spec.scoring.model_copy(update={"samples": SamplesSpec(full_model=19)})
    with pytest.raises(InputError, match=r"samples.full_model: 19 samples are fewer than the 20"):
        sample(with_scoring(asked, few))
    assert sample(experiments["binary"]) == 20
    assert {file.stem for file in folder.iterdir()} == {"full"}


def test_a_custom_space_is_the_one_its_function_makes(experiments):
    pixels, halved = (read_neighbors(experiments[name])[0] for name in ("binary", "custom"))
    np.testing.assert_allclose(halved["distance_sample"], pixels["distance_sample"] / 2)
    np.testing.assert_allclose(halved["ratio"], pixels["ratio"])


def test_the_stage_repeats_to_the_byte_and_keeps_what_holds(experiments):
    experiment = experiments["binary"]
    files = [
        experiment.layout.samples(experiment.name) / "full.safetensors",
        experiment.layout.neighbors(experiment.name),
    ]
    stamps, contents = [f.stat().st_mtime_ns for f in files], [f.read_bytes() for f in files]
    sample(experiment)
    neighbors(experiment)
    assert [f.stat().st_mtime_ns for f in files] == stamps
    for lost in files:
        lost.write_bytes(lost.read_bytes()[:100])
        sample(experiment)
        neighbors(experiment)
        assert [f.read_bytes() for f in files] == contents


def changed(experiment, **neighbors_spec):
    spec = experiment.spec.scoring.neighbors.model_copy(update=neighbors_spec)
    return with_scoring(experiment, experiment.spec.scoring.model_copy(update={"neighbors": spec}))


def with_scoring(experiment, scoring):
    return replace(experiment, spec=experiment.spec.model_copy(update={"scoring": scoring}))


def test_another_spec_is_not_read_as_this_one(experiments):
    with pytest.raises(
        ArtifactError, match=r"full.safetensors: belongs to another spec; run: memo sample binary"
    ):
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
    table, samples = read_neighbors(experiment)
    none = FoldNumbers(missing="no fold models")
    found = sample_test_data(sampled_models(experiment), table, none, scores)
    data = neighbor_data(sampled_models(experiment), table, samples, found)
    metrics = sample_test_metrics(found)["neighbors"]
    last = scores.table.filter(pl.col("epoch") == 2).sort("index")
    joined = last.join(data.table, on="index")
    expected = joined.select(pl.corr("memorization", "ratio", method="spearman")).item()
    assert metrics["rank_correlation"] == pytest.approx(expected)
    assert metrics["rank_correlation_low"] < expected < metrics["rank_correlation_high"]
    assert metrics["samples"] == data.count == 5
    assert data.space == "the columns"
    highly = joined["memorization"] > joined["memorization"].quantile(0.95, "linear")
    assert metrics["ratio_highly_memorized"] == pytest.approx(joined.filter(highly)["ratio"].mean())


def test_tests_are_validated_by_the_scores(experiments, capsys):
    names = ["narrow", "sampled", "normal"]
    for name in names:
        score(experiments[name], InProcess())
    layout = experiments["sampled"].layout
    found = validate_tests(read_project(layout.root / "params.yaml"), layout, names)
    of_sampled = found.json["experiments"]["sampled"]
    table, numbers = experiments["sampled"].read_neighbors(experiments["sampled"].read_samples())
    assert {*numbers.numbers} == {"distance-ratio", "nearest-ratio", "two-samples"}
    sides = numbers.numbers["nearest-ratio"]["nndr_q05"]
    assert (len(sides.inside), numbers.samples, numbers.records) == (4, 25, 27)
    number = of_sampled["nearest-ratio"]["numbers"]["nndr_q05"]
    assert number["inside"] == pytest.approx(np.mean(sides.inside))
    assert of_sampled["nearest-ratio"]["rank_correlation"] is not None
    memorization = experiments["sampled"].read_scores().last.memorization
    expected = stats.spearmanr(memorization, -table["nearest_ratio"].fill_null(np.inf)).statistic
    assert of_sampled["nearest-ratio"]["rank_correlation"] == pytest.approx(expected)
    told, other = found.pairs
    assert (told.first, told.second, told.missing) == ("narrow", "sampled", None)
    (copied,) = (one for one in told.numbers if one.number == "nndr_q05")
    assert copied.as_published.higher.value < 0.5  # the narrow one's samples are copies
    assert other.missing.startswith("normal has no numbers: the design trains no fold models")
    json.dumps(found.json, allow_nan=False)
    print_validated(found)
    assert "not compared: normal has no numbers" in " ".join(capsys.readouterr().out.split())


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
            shown = pictures(data).given if name != "binary" else pictures(data).scored
            shown = shown.astype(np.float32)[:, None] / 255
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
    "fewer drawn than compared": (
        ("points", "kind: kde", "samples: 10}\n      samples: {full_model: 9"),
        "scoring.samples.full_model: 9 samples are fewer than the 10 that `neighbors` compares",
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


def test_tests_on_samples_have_names_and_columns_of_their_own() -> None:
    names = [test.name for test in TESTS]
    values = [test.records for test in TESTS if test.records is not None]
    columns = ["index", *(column for part in values for column in [*part.columns, part.by_repeat])]
    numbers = [name for test in TESTS for name in test.numbers]
    for given in (names, columns, numbers):
        assert len({*given}) == len(given)
    for part in values:
        assert {part.statistic, *part.nullable} <= part.columns.keys()


def test_relations_are_turned_so_that_sight_of_memorization_is_above_zero() -> None:
    columns = {"count": pl.Int64(), "gap": pl.Int64()}
    tests = [
        SampleTest(name, name, "", RecordValues(name, sign, columns, find=None))
        for name, sign in (("count", 1), ("gap", -1))
    ]
    memorization = np.arange(40.0)
    highly = memorization >= 38
    scores = Scores(pl.DataFrame({"index": range(40), "epoch": 1, "memorization": memorization}))
    count = np.where(highly, 3, 1)
    table = pl.DataFrame({"index": range(40), "count": count, "gap": -count})
    found = relations(tests, table, scores)
    for name, times in (("count", 1), ("gap", -1)):
        assert found[name].rank_correlation.value > 0
        assert found[name].highly.value == 3 * times
        assert found[name].regular.value == times
        assert found[name].difference.value == 2 * times
    assert relations(tests, table[:0], scores) == {}
