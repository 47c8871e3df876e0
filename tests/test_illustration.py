"""Densities with and without an observation: from the same models as its score."""

import base64
import io

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.special import logsumexp

from memo.artifacts.tensors import read_tensors
from memo.experiments.density_illustration import (
    illustrate,
    illustration_arrays,
    illustration_of,
)
from memo.experiments.log_likelihoods import scored_densities
from memo.report.charts.density_charts import density_charts
from memo.report.illustration_figure import illustrated_figure
from memo.report.page_data import Illustration, Overfitted
from memo.scores.table import Scores
from tests.in_process import scored_experiments

SPEC = """\
datasets:
  one: {kind: synthetic, dimensions: 1, count: 50, outliers: 2}
  two: {kind: synthetic, dimensions: 2, count: 50, outliers: 2}
  digits: {kind: digits, values: continuous, limit: 60}
experiments:
"""
EXPERIMENT = """\
  {name}:
    dataset: {dataset}
    model: {{{model}}}
    training: {{epochs: 30, batch_size: 16, learning_rate: 1.0e-2}}
    mitigations: []
    scoring:
      design: {{{design}}}
      epochs: [30]
      aggregate: paper
    seed: 1
"""
FOLDS = "kind: k-fold, folds: 4, repeats: 3"
EXACT = "kind: leave-one-out"
VAE = "kind: vae, network: {kind: mlp, hidden: [16]}, latent: 1, observation: gaussian"
EXPERIMENTS = {
    "kde-exact": ("one", "kind: kde", EXACT),
    "kde": ("two", "kind: kde", FOLDS),
    "normal": ("one", "kind: normal", FOLDS),
    "normal-exact": ("two", "kind: normal", EXACT),
    "vae": ("one", VAE, FOLDS),
    "digits": ("digits", "kind: kde", EXACT),
}


@pytest.fixture(scope="module")
def illustrated(tmp_path_factory):
    """Each experiment after its stages ran, with its scores and its illustration."""
    folder = tmp_path_factory.mktemp("illustrated")
    spec = SPEC + "".join(
        EXPERIMENT.format(name=name, dataset=dataset, model=model, design=design)
        for name, (dataset, model, design) in EXPERIMENTS.items()
    )
    return {
        name: (experiment, scores, illustration(experiment, scores))
        for name, (experiment, scores) in scored_experiments(folder, spec).items()
    }


def illustration(experiment, scores):
    return illustrate(
        experiment, Scores(scores), lambda model: experiment.model_file(model).read().weights
    )


SHOWN = [name for name in EXPERIMENTS if name != "digits"]


@pytest.mark.parametrize("name", SHOWN)
def test_densities_integrate_to_one(illustrated, name):
    data = illustrated[name][2]
    sizes = [len(axis) for axis in data.axes]
    for log_p in (data.log_p_with, data.log_p_without):
        density = np.exp(log_p[: np.prod(sizes)]).reshape(sizes)
        for axis in reversed(data.axes):
            density = np.trapezoid(density, axis, axis=-1)
        assert density == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["kde-exact", "normal-exact"])
def test_a_closed_form_is_drawn_from_the_densities_of_its_scores(illustrated, name):
    _, scores, data = illustrated[name]
    top = scores.sort("memorization").row(-1, named=True)
    assert data.name == top["id"]
    place = -len(data.points)
    assert data.log_p_with[place] == pytest.approx(top["log_p_in"], abs=1e-6)
    assert data.log_p_without[place] == pytest.approx(top["log_p_out"], abs=1e-6)


@pytest.mark.parametrize("name", ["kde", "normal"])
def test_folds_are_drawn_from_as_many_models_on_either_side(illustrated, name):
    experiment, scores, data = illustrated[name]
    top = scores.sort("memorization").row(-1, named=True)
    place = -len(data.points)
    assert data.models == 3
    assert data.log_p_without[place] == pytest.approx(top["log_p_out"], abs=1e-9)
    tables = [experiment.read_log_likelihoods(d) for d in scored_densities(experiment)]
    inside = [
        t.filter((pl.col("index") == top["index"]) & ~pl.col("held_out"))[
            "log_likelihood"
        ].to_list()
        for t in tables
    ]
    possible = np.array([value[0] for value in inside if value])
    lowest, highest = (
        logsumexp(part) - np.log(3) for part in (np.sort(possible)[:3], np.sort(possible)[-3:])
    )
    assert lowest - 1e-9 <= data.log_p_with[place] <= highest + 1e-9


@pytest.mark.parametrize("name", SHOWN)
def test_overfitting_is_a_gap_between_what_was_and_was_not_seen(illustrated, name):
    data = illustrated[name][2]
    assert isinstance(data.overfitted, Overfitted)
    few, others = np.split(data.overfitted.log_p[-len(data.points) :][1:], [data.overfitted.count])
    assert len(few) == 8
    assert few.mean() > others.mean()


@pytest.mark.parametrize("name", SHOWN)
def test_the_figure_says_what_it_shows(illustrated, name):
    data = illustrated[name][2]
    figure = illustrated_figure(data)
    assert len(figure.panels) == (2 if len(data.axes) == 1 else 3)
    assert f"{data.name} (circled)" in figure.shows
    assert ("errors of the estimates" in figure.shows) == (name == "vae")
    assert figure.contradicts


def test_it_is_the_same_each_time(illustrated):
    experiment, scores, first = illustrated["vae"]
    again = illustration(experiment, scores)
    assert (first.log_p_with == again.log_p_with).all()
    assert (first.overfitted.log_p == again.overfitted.log_p).all()


def test_images_are_not_drawn_as_densities(illustrated):
    assert illustrated["digits"][2] is None


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_is_the_same_from_its_file(illustrated, name):
    experiment, _, data = illustrated[name]
    tensors = read_tensors(experiment.layout.illustration(name))
    found = illustration_of(tensors.arrays, tensors.facts)
    arrays, facts = illustration_arrays(data)
    for key, array in illustration_arrays(found)[0].items():
        np.testing.assert_array_equal(array, arrays.pop(key))
    assert not arrays
    assert illustration_arrays(found)[1] == facts
    for key in tensors.arrays:
        with pytest.raises(ValueError, match=r"not an illustration|do not fit"):
            illustration_of({k: a for k, a in tensors.arrays.items() if k != key}, tensors.facts)


def test_peaks_between_the_places_of_a_grid_are_drawn() -> None:
    """A kernel density so narrow that it is 0 at every place of the grid."""
    axis = np.linspace(0.0, 1.0, 11)
    points = np.array([[0.52, 0.33], [0.78, 0.91], [0.14, 0.06]])
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    places = np.concatenate([grid, points])

    def log_p(centres: np.ndarray) -> np.ndarray:
        squares = np.square(places[:, None] - centres).sum(-1)
        return logsumexp(-squares / (2 * 1e-4**2), axis=1) - np.log(len(centres))

    data = Illustration(
        [axis, axis],
        points,
        "0",
        log_p(points),
        log_p(points[1:]),
        1,
        Overfitted(1, log_p(points[1:2])),
    )
    assert np.exp(data.log_p_with[:121]).max() == 0
    seen = [{(5, 3), (8, 9), (1, 1)}, {(8, 9), (1, 1)}, {(8, 9)}]
    for chart, cells in zip(density_charts(data), seen, strict=True):
        (url,) = (
            row["url"]
            for rows in chart.to_dict()["datasets"].values()
            for row in rows
            if "url" in row
        )
        content = base64.b64decode(url.partition(",")[2])
        opaque = np.array(Image.open(io.BytesIO(content)))[::-1, :, 3].T
        assert {tuple(place) for place in np.argwhere(opaque).tolist()} == cells
