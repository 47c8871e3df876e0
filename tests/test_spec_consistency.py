"""Models and data sets that do not fit each other are refused before anything is read."""

import json

import pytest
from ruamel.yaml import YAML

from memo.project.reading import SpecError, read_project, spec_schema

VAE = {"kind": "vae", "network": {"kind": "mlp"}}
CONV = {"kind": "vae", "network": {"kind": "conv"}}
MIXTURE = {"kind": "logistic-mixture", "levels": 17}


def read(folder, dataset, model):
    experiment = {
        "dataset": "data",
        "model": model,
        "training": {"epochs": 1},
        "mitigations": [],
        "scoring": {"design": {"kind": "k-fold", "folds": 2}, "epochs": [1]},
        "seed": 0,
    }
    file = folder / "params.yaml"
    with file.open("w") as out:
        YAML().dump({"datasets": {"data": dataset}, "experiments": {"x": experiment}}, out)
    return read_project(file)


def digits(**options):
    return {"kind": "digits", **options}


@pytest.mark.parametrize(
    ("dataset", "model"),
    [
        (digits(), VAE),
        (digits(drawn="each-step"), VAE | {"observation": {"kind": "bernoulli"}}),
        (digits(values="continuous"), VAE | {"observation": "gaussian"}),
        (digits(values="levels"), VAE | {"observation": MIXTURE}),
        (digits(values="continuous"), {"kind": "kde", "bandwidth": 0.5}),
        (digits(values="continuous"), {"kind": "kde", "bandwidth": "cross-validated"}),
        (digits(values="continuous"), {"kind": "flow", "architecture": "nsf"}),
        ({"kind": "synthetic"}, {"kind": "gaussian-mixture"}),
        (digits(pad=4), CONV),
        ({"kind": "celeba", "crop": 140, "size": 64}, CONV),
        ({"kind": "image-folder", "path": "somewhere"}, CONV),
    ],
)
def test_what_fits_is_accepted(tmp_path, dataset, model):
    read(tmp_path, dataset, model)


@pytest.mark.parametrize(
    ("dataset", "model", "message"),
    [
        (
            digits(values="continuous"),
            VAE | {"observation": "bernoulli"},
            r"experiments.x.model.observation: 'bernoulli' is a density of binary pixels "
            r"\(`values: binary`\), but data set 'data' has real numbers",
        ),
        (
            digits(drawn="each-step"),
            VAE | {"observation": {"kind": "diagonal-gaussian", "floor": 0.1}},
            r"experiments.x.model.observation: 'diagonal-gaussian' is a density of real numbers "
            r"\(`values: continuous`\), but data set 'data' has binary pixels",
        ),
        (digits(), {"kind": "normal"}, r"experiments.x.model.kind: 'normal' is a density of real"),
        (
            digits(values="levels"),
            VAE | {"observation": MIXTURE | {"levels": 16}},
            r"experiments.x.model.observation.levels: is 16, but pixels of data set 'data' have 17",
        ),
        (
            digits(),
            CONV,
            r"experiments.x.model.network: 'conv' needs images whose height and width are "
            r"multiples of 16, but observations of data set 'data' are 1 x 8 x 8",
        ),
        (
            {"kind": "synthetic"},
            CONV | {"observation": "gaussian"},
            "observations of data set 'data' are 2$",
        ),
        (
            digits(),
            VAE | {"observation": "bernouli"},
            r"model.observation: .* did you mean 'bernoulli'",
        ),
        (
            digits(),
            VAE | {"observation": {"kind": "bernouli"}},
            r"experiments.x.model.observation.kind: 'bernouli' is not known here; did you mean",
        ),
        (digits(), VAE | {"observation": {}}, r"experiments.x.model.observation.kind: is required"),
        (
            digits(values="continuous"),
            VAE | {"observation": {"kind": "diagonal-gaussian", "flor": 1}},
            r"experiments.x.model.observation.flor: unknown key; did you mean 'floor'",
        ),
        (
            digits(values="continuous"),
            {"kind": "kde", "bandwidth": "scot"},
            r"experiments.x.model.bandwidth: 'scot' is not known here; did you mean 'scott'",
        ),
        (digits(values="continous"), VAE, r"datasets.data.values: 'continous' is not known here"),
        (
            {"kind": "mnits"},
            VAE,
            r"datasets.data.kind: 'mnits' is not known here; did you mean 'mnist'",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, dataset, model, message):
    with pytest.raises(SpecError, match=message) as error:
        read(tmp_path, dataset, model)
    assert "pydantic" not in str(error.value)


def test_the_schema_offers_an_observation_model_by_name_or_as_an_object():
    definitions = json.loads(spec_schema())["$defs"]
    by_name, by_object = definitions["VAESpec"]["properties"]["observation"]["anyOf"]
    assert "logistic-mixture" in by_name["enum"]
    assert "diagonal-gaussian" in by_object["discriminator"]["mapping"]
