"""Models of the user's own: what they must offer, what their scores are, what runs when."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from memo.artifacts.layout import Layout
from memo.execution.processes import InProcess, Processes
from memo.likelihood.estimate import estimate_log_likelihood
from memo.mitigations.data.augmentation import AugmentationSpec
from memo.mitigations.steps.dp_sgd import DPSGDSpec
from memo.models.build import build_model
from memo.pipeline.attack import attack
from memo.pipeline.neighbors import neighbors
from memo.pipeline.prepare import prepare
from memo.pipeline.report import report
from memo.pipeline.sample import sample
from memo.pipeline.score import score
from memo.pipeline.stored_experiment import load_experiment
from memo.pipeline.train import train
from memo.project.reading import SpecError, read_project
from memo.spec.model_specs import CustomSpec
from memo.spec.scoring_specs import AdaptiveSpec, ImportanceSpec
from memo.spec.user_code import CodeError, read_code
from memo.training.contract import ContractError, check_contract, why_not_stacked
from tests.conftest import ROOT, command, contents, edit, make_repository
from tests.in_process import scored_experiments

torch.set_num_threads(1)

DIFFUSION = ROOT / "examples" / "diffusion"


def custom(folder: Path, source: str, **arguments: object) -> CustomSpec:
    """A model whose class is `Own`, in a file of the folder."""
    imports = "import math, random\nimport numpy as np\nimport torch\nfrom torch import nn\n\n\n"
    (folder / "own.py").write_text(imports + source)
    spec = CustomSpec(kind="custom", target="own:Own", code="own.py", arguments=arguments)
    return spec.loaded(read_code(folder, "own.py", "own:Own"), "continuous")


def observations(count: int = 80, shape: tuple[int, ...] = (4,)) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


GOOD = """\
class Own(nn.Module):
    noise_features = 1

    def __init__(self, shape, width=3):
        super().__init__()
        self.shape = shape
        self.net = nn.Sequential(nn.Linear(shape[0], width), nn.Tanh(), nn.Linear(width, 1))

    def loss(self, x, noise):
        return (self.net(x) + noise).square().sum(1)

    def log_prob_draw(self, x, noise):
        return -self.loss(x, noise)

    def sample(self, count, generator):
        return torch.randn(count, *self.shape, generator=generator)
"""

LATENT = """\
class Observation:
    def __init__(self, shape):
        self.shape = self.parameter_shape = shape

    def encoder_input(self, x):
        return x

    def log_prob(self, x, parameters):
        return -(x - parameters).square().sum(-1)

    def fisher_information(self, parameters):
        return torch.ones_like(parameters)

    def sample(self, parameters, uniform):
        return parameters


class Own(nn.Module):
    noise_features = latent = 2

    def __init__(self, shape):
        super().__init__()
        self.observation = Observation(shape)
        self.encoder, self.decoder = nn.Linear(shape[0], 4), nn.Linear(2, shape[0])

    def encode(self, x):
        return self.encoder(x).chunk(2, 1)

    def decode(self, z):
        return self.decoder(z)

    def loss(self, x, noise):
        mean, log_std = self.encode(x)
        return -self.observation.log_prob(x, self.decode(mean + log_std.exp() * noise))
"""

FITTED = """\
class Own(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))

    def fit(self, x):
        self.mean = x.double().mean(0)

    def log_prob(self, x):
        return -(x.double() - self.mean).square().sum(1) / 2
"""


@pytest.mark.parametrize("source", [GOOD, LATENT, FITTED], ids=["drawn", "latent", "fitted"])
def test_what_offers_all_that_it_must_is_accepted(tmp_path: Path, source: str) -> None:
    check_contract(custom(tmp_path, source), observations(), [])


VIOLATIONS = {
    "shape": (
        GOOD,
        "noise).square().sum(1)",
        "noise).square()",
        "loss returned shape (64, 1), must be (64,)",
    ),
    "type": (GOOD, "return (self.net", "return 1, (self.net", "loss returned a tuple, must be a"),
    "not finite": (GOOD, "(self.net(x)", "(torch.log(self.net(x))", "numbers are not finite"),
    "no gradient": (GOOD, "(self.net(x)", "(self.net(x).detach()", "loss: has no gradient: it"),
    "unused": (
        GOOD,
        "self.shape = shape",
        "self.shape, self.spare = shape, nn.Linear(2, 2)",
        "loss: has no gradient for parameter 'spare.weight': it is not used",
    ),
    "frozen": (
        GOOD,
        "self.shape = shape",
        "self.shape, self.scale = shape, nn.Parameter(torch.ones(1), requires_grad=False)",
        "parameter 'scale' has no gradient: what is not trained must be a buffer",
    ),
    "random": (
        GOOD,
        "+ noise)",
        "+ torch.randn(len(x), 1))",
        "loss: draws from torch's global generator",
    ),
    "numpy's": (
        GOOD,
        "+ noise)",
        "+ float(np.random.rand()))",
        "loss: draws from numpy's global generator",
    ),
    "python's": (
        GOOD,
        "+ noise)",
        "+ random.random())",
        "loss: draws from random's global generator",
    ),
    "counting": (
        GOOD,
        "        return (self.net(x)",
        "        self.n = getattr(self, 'n', 0) + 1\n        return self.n * (self.net(x)",
        "loss: changes the model when it is called in train mode ('n'): memo",
    ),
    "beside": (
        GOOD,
        "self.net(x) + noise",
        "self.net(x - x.mean(0)) + noise",
        "loss: of an observation depends on what stands beside it",
    ),
    "seed": (
        GOOD,
        "self.shape = shape",
        "self.shape, self.start = shape, nn.Parameter(torch.tensor(np.random.rand()))",
        "weights 'start' differ from one instance to the next with the same seed",
    ),
    "infinite": (
        GOOD,
        "self.shape = shape",
        "self.shape, self.start = shape, nn.Parameter(torch.tensor(math.inf))",
        "weights 'start' are not finite at the start",
    ),
    "state": (
        GOOD.replace("self.net = ", "self.shift = float(torch.randn(1))\n        self.net = "),
        "+ noise)",
        "+ noise + self.shift)",
        "something that it depends on is in no parameter or buffer",
    ),
    "untracked": (
        GOOD.replace("+ noise)", "+ noise + self.b)"),
        "self.shape = shape",
        "self.shape = shape\n        self.register_buffer('b', torch.randn(1), persistent=False)",
        "loss: is another one once its weights went through a file",
    ),
    "no training": (GOOD, "def loss", "def los", "cannot be trained: it needs `loss(x, noise)`"),
    "no density": (
        GOOD,
        "log_prob_draw",
        "log_probability",
        "has samples and says nothing of log p(x)",
    ),
    "no noise": (GOOD, "    noise_features = 1\n", "", "`noise_features` must be a number, 0"),
    "no method": (
        GOOD,
        "    noise_features = 1\n",
        "    noise_features, fit = 1, 2\n",
        "`fit` must be a method, not a int",
    ),
    "draws": (
        GOOD,
        "return -self.loss(x, noise)",
        "return -self.loss(x, noise)[0]",
        "log_prob_draw returned shape (), must be (64,)",
    ),
    "samples": (
        GOOD,
        "(count, *self.shape",
        "(count, 1, *self.shape",
        "sample returned shape (3, 1, 4), must be (3, 4)",
    ),
    "samples of another stream": (
        GOOD,
        "*self.shape, generator=generator",
        "*self.shape",
        "sample: draws from torch's global generator",
    ),
    "encoder": (
        LATENT,
        "return self.encoder(x).chunk(2, 1)",
        "return self.encoder(x), self.encoder(x)",
        "encode returned shape (64, 4), must be (64, 2)",
    ),
    "decoder": (
        LATENT,
        "return self.decoder(z)",
        "return self.decoder(z)[..., :3]",
        "decode returned shape (2, 64, 3), must be (2, 64, 4)",
    ),
    "observation": (
        LATENT,
        "    def fisher_information",
        "    def information",
        "`observation` must fill memo.models.ObservationModel",
    ),
    "fit and loss": (
        FITTED,
        "    def fit",
        "    def loss(self, x, noise):\n        return 0\n\n    def fit",
        "has both `loss` and `fit`",
    ),
    "random fit": (
        FITTED,
        "x.double().mean(0)",
        "x.double().mean(0) + torch.randn(4)",
        "fit: draws from torch's global generator",
    ),
    "unkept fit": (
        FITTED,
        'self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))',
        "self.mean = torch.zeros(shape)",
        "fit: leaves nothing in `state_dict`",
    ),
    "sized fit": (
        FITTED,
        "self.mean = x.double().mean(0)",
        "self.mean = x.double()[:2].mean(0, keepdim=True)[0].repeat(2, 1)[:, :4][:2]",
        "a buffer whose size `fit` decides must take that of the one that is loaded",
    ),
}


@pytest.mark.parametrize(
    ("source", "before", "after", "message"), VIOLATIONS.values(), ids=VIOLATIONS.keys()
)
def test_what_is_missing_is_said(
    tmp_path: Path, source: str, before: str, after: str, message: str
) -> None:
    assert before in source
    before_torch = torch.random.get_rng_state()
    spec = custom(tmp_path, source.replace(before, after, 1))
    with pytest.raises(ContractError) as error:
        check_contract(spec, observations(), [])
    assert message in str(error.value)
    assert all(line.startswith("own.py:Own: ") for line in str(error.value).splitlines())
    torch.random.set_rng_state(before_torch)


def test_what_an_experiment_asks_of_a_fit_that_has_no_steps(tmp_path: Path) -> None:
    spec = custom(tmp_path, FITTED)
    noise = AugmentationSpec(kind="augmentation", noise=0.1)
    with pytest.raises(ContractError, match="'augmentation' changes the steps of training"):
        check_contract(spec, observations(), [noise])
    with pytest.raises(ContractError, match="needs `fit\\(x\\)` and `leave_one_out_log_prob"):
        check_contract(spec, observations(), [], leave_one_out=True)


BRANCHING = GOOD.replace(
    "        return (self.net",
    "        if x.sum() > 0:\n            x = 1 * x\n        return (self.net",
)


def test_a_loss_that_cannot_be_stacked_is_trained_alone_and_not_privately(tmp_path: Path) -> None:
    x = observations()
    assert why_not_stacked(custom(tmp_path, GOOD), x) is None
    branching = custom(tmp_path, BRANCHING)
    check_contract(branching, x, [])
    assert "data-dependent control flow" in str(why_not_stacked(branching, x))
    private = [DPSGDSpec(kind="dp-sgd", noise_multiplier=1.0)]
    check_contract(custom(tmp_path, GOOD), x, private)
    with pytest.raises(ContractError, match="'dp-sgd' needs each observation's own gradient"):
        check_contract(custom(tmp_path, BRANCHING), x, private)


ERRORS = {
    "no class": ("class Other:\n    pass\n", {}, "own.py: has no 'Own'"),
    "no class either": ("Own = 3\n", {}, "own.py:Own: is a int, not a class"),
    "no module": (
        "class Own:\n    def __init__(self, shape):\n        pass\n",
        {},
        "own.py:Own: gives a Own, not a torch.nn.Module",
    ),
    "argument": (GOOD, {"with": 1}, "own.py:Own: got an unexpected keyword argument 'with': it is"),
    "import": (
        "import nowhere_at_all\n",
        {},
        "own.py:Own: ModuleNotFoundError: No module named 'nowhere_at_all'\n"
        "  own.py:7, in <module>: import nowhere_at_all",
    ),
    "syntax": ("class Own(:\n", {}, "own.py:7: invalid syntax"),
    "its own error": (
        GOOD,
        {"width": "wide"},
        "in __init__: self.net = nn.Sequential(nn.Linear(shape[0], width)",
    ),
    "its loss": (
        GOOD.replace("self.net(x) +", "self.net(x.flatten(0)) +"),
        {},
        "own.py:16, in loss: return (self.net(x.flatten(0)) + noise).square().sum(1)",
    ),
}


@pytest.mark.parametrize(("source", "arguments", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_of_its_code_are_shown_with_its_own_lines(
    tmp_path: Path, source: str, arguments: dict[str, object], message: str
) -> None:
    spec = custom(tmp_path, source, **arguments)
    with pytest.raises(CodeError) as error:
        check_contract(spec, observations(), [])
    assert message in str(error.value)
    assert "memo/" not in str(error.value)


def test_code_that_is_not_there_or_takes_anothers_name(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match=r"own\.py: no such file"):
        read_code(tmp_path, "own.py", "own:Own")
    for name in ("random", "torch", "memo", "zipimport"):
        (tmp_path / f"{name}.py").write_text("Own = 1\n")
        with pytest.raises(CodeError, match=f"'{name}' is also the name of an installed module"):
            read_code(tmp_path, f"{name}.py", f"{name}:Own")
    (tmp_path / "own.py").write_bytes(b"\xff")
    with pytest.raises(CodeError, match=r"own\.py: is not UTF-8 text"):
        read_code(tmp_path, "own.py", "own:Own")


def test_a_folder_is_imported_as_it_was_read_and_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "__init__.py").write_text("from models.parts.width import WIDTH\n")
    (folder / "parts" / "width.py").write_text("WIDTH = 7\n")
    (folder / "own.py").write_text(
        "import torch\nfrom models.parts import WIDTH\nfrom .other import Base\n\n\n"
        "class Own(Base):\n    def __init__(self, shape):\n"
        "        super().__init__(shape[0], WIDTH)\n"
    )
    (folder / "other.py").write_text("from torch import nn\n\nBase = nn.Linear\n")
    spec = CustomSpec(kind="custom", target="models.own:Own", code="models")

    def built(root: Path) -> nn.Module:
        code = read_code(root, "models", "models.own:Own")
        return build_model(spec.loaded(code, None), (2,))

    again = Path(shutil.copytree(tmp_path, tmp_path / "elsewhere"))
    digests = [read_code(root, "models", "models.own:Own").digest for root in (tmp_path, again)]
    assert digests[0] == digests[1]  # of what it says, not of where it lies
    code = read_code(tmp_path, "models", "models.own:Own")
    (folder / "parts" / "width.py").write_text("WIDTH = 8\n")
    assert build_model(spec.loaded(code, None), (2,)).out_features == 7
    assert built(tmp_path).out_features == 8
    assert read_code(tmp_path, "models", "models.own:Own").digest != digests[0]
    (tmp_path / "beside.py").write_text("")
    (folder / "other.py").write_text("import beside\n")
    with pytest.raises(CodeError, match="No module named 'beside'"):
        built(tmp_path)


class Noisy(nn.Module):
    """Draws of log p(x) = -x^2 with an error that all models share and one of their own."""

    def __init__(self, shared: float, own: float = 0.0) -> None:
        super().__init__()
        self.shared, self.own, self.noise_features = shared, own, 2

    def log_prob_draw(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        noise = noise * (1 + x)  # some observations are harder than others
        return -x[:, 0].square() + self.shared * noise[:, 0] + self.own * noise[:, 1]


ADAPTIVE = AdaptiveSpec(kind="adaptive", tolerance=0.1, max_samples=4096)


def test_a_mean_of_draws_is_as_precise_as_it_says() -> None:
    x = torch.linspace(0, 3, 1500)[:, None]
    found = estimate_log_likelihood(Noisy(1.0), x, ADAPTIVE, 3)
    z = (found.value + x[:, 0].double().square().numpy()) / found.std_error
    assert abs(z.mean()) < 5 / math.sqrt(len(z))
    assert 0.9 < z.std() < 1.15
    assert found.std_error.max() <= 0.1
    needed = (1 + x[:, 0].numpy()) ** 2 / 0.1**2
    spent = found.effective_sample_size
    assert (spent > needed / 2).all()
    assert (spent / needed).mean() < 3
    assert (found.samples == spent + 8).all()
    few = estimate_log_likelihood(Noisy(50.0), x, ADAPTIVE, 3)
    assert (few.samples <= 4096).all()
    assert few.unreliable(0.1).all()


@pytest.mark.parametrize("spec", [ADAPTIVE, ImportanceSpec(kind="importance", samples=13)])
def test_draws_are_common_to_all_models_and_belong_to_positions(spec) -> None:
    x = torch.linspace(0, 3, 300)[:, None]
    one, other = (estimate_log_likelihood(Noisy(1.0, own), x, spec, 3) for own in (0.0, 1e-6))
    assert np.abs(one.value - other.value).max() < 1e-5
    assert np.abs(one.value + x[:, 0].square().numpy()).max() > 0.05
    part = estimate_log_likelihood(Noisy(1.0), x[:100], spec, 3)
    assert np.allclose(part.value, one.value[:100], rtol=1e-12)
    another = estimate_log_likelihood(Noisy(1.0), x, spec, 4)
    assert np.abs(one.value - another.value).max() > 0.05
    if isinstance(spec, ImportanceSpec):
        assert set(one.samples) == {13}


NORMAL = """\
class Own(nn.Module):
    def __init__(self, shape, ridge):
        super().__init__()
        self.ridge = ridge
        columns = math.prod(shape)
        self.register_buffer("mean", torch.zeros(columns, dtype=torch.float64))
        self.register_buffer("covariance", torch.eye(columns, dtype=torch.float64))

    def fit(self, x):
        rows = x.flatten(1).double()
        self.mean = rows.mean(0)
        self.covariance = torch.cov(rows.T, correction=0) + self.ridge * torch.eye(rows.shape[1])

    def log_prob(self, x):
        rows = x.flatten(1).double()
        return torch.distributions.MultivariateNormal(self.mean, self.covariance).log_prob(rows)
"""

TWO_NORMALS = """\
datasets:
  digits: {kind: digits, values: continuous, limit: 150}
experiments:
  normal:
    dataset: digits
    model: {kind: normal, ridge: 0.1}
    training: &training {epochs: 1, batch_size: 16, learning_rate: 1.0e-3}
    mitigations: []
    scoring: &scoring
      design: {kind: k-fold, folds: 3, repeats: 2}
      epochs: [1]
    seed: 1
custom:
  own:
    dataset: digits
    model: {kind: custom, target: "own:Own", code: own.py, arguments: {ridge: 0.1}}
    training: *training
    mitigations: []
    scoring: *scoring
    seed: 1
"""


def test_a_normal_of_ones_own_has_the_scores_of_the_built_in_one(tmp_path: Path) -> None:
    custom(tmp_path, NORMAL)
    scored = scored_experiments(tmp_path, TWO_NORMALS)
    (_, own), (_, normal) = scored["own"], scored["normal"]
    for column in ("log_p_in", "log_p_out", "memorization", "std_error"):
        assert np.allclose(own[column].to_numpy(), normal[column].to_numpy(), atol=1e-8)
    experiment = scored["own"][0]
    assert sample(experiment) == 0
    assert len(neighbors(experiment)) == 0
    attack(experiment)
    report(experiment)
    page = (tmp_path / "reports" / "own" / "index.html").read_text()
    assert "The model has no `sample`, so nothing is known of how near its samples come." in page
    assert "custom, target own:Own, code own.py, arguments ridge 0.1" in page


def from_the_docs(folder: Path) -> Path:
    """The project of docs/custom-models.md, as it stands there."""
    text = (ROOT / "docs" / "custom-models.md").read_text()
    spec, source = (
        re.search(rf"```{language}\n(.*?)```", text, re.DOTALL).group(1)
        for language in ("yaml", "python")
    )
    assert len([line for line in source.splitlines() if line.strip()]) <= 30
    (folder / "params.yaml").write_text(spec)
    (folder / "own.py").write_text(source)
    return folder


def test_the_docs_example_runs_alike_in_workers_and_here(tmp_path: Path) -> None:
    results = []
    for name, executor in (("here", InProcess()), ("workers", Processes(2))):
        folder = tmp_path / name
        folder.mkdir()
        from_the_docs(folder)
        project, layout = read_project(folder / "params.yaml"), Layout(folder)
        prepare(project, layout, "digits")
        experiment = load_experiment(project, layout, "own")
        assert train(experiment, executor) == 11
        scores = score(experiment, executor).table
        results.append((contents(layout.folds("own")), scores))
    (here, scores), (workers, same) = results
    assert here == workers
    assert scores.equals(same)
    table = pl.read_parquet(tmp_path / "here" / "artifacts/log_likelihoods/own/r000-f000.parquet")
    assert table["std_error"].max() <= 0.5
    assert table["samples"].min() >= 16
    assert not table["unreliable"].any()
    assert scores["memorization"].mean() > 2 * scores["memorization"].std() / math.sqrt(len(scores))


def test_what_is_wrong_with_an_own_experiment_is_said_in_place(
    tmp_path: Path,
) -> None:
    file = tmp_path / "params.yaml"

    def refused(before: str, after: str) -> str:
        file.write_text(TWO_NORMALS.replace(before, after))
        with pytest.raises(SpecError) as error:
            read_project(file)
        return str(error.value)

    assert "experiments.own.model: is of your own; write this experiment under `custom`" in refused(
        "custom:\n", ""
    )
    message = refused("custom:\n  own:\n", "custom:\n  normal:\n")
    assert "custom.normal: `experiments` has an experiment named 'normal' too" in message
    message = refused('target: "own:Own", code: own.py', 'target: "own:Own", code: other.py')
    assert "custom.own.model: `code` must be own.py, or a folder that it lies in" in message
    weighted = "    mitigations:\n      - {kind: kl-weight, weight: 2.0}\n    scoring: *scoring\n"
    message = refused("    mitigations: []\n    scoring: *scoring\n", weighted)
    assert "custom.own.mitigations.0.kind: 'kl-weight' is for models of kind 'vae'" in message
    message = refused("code: own.py", "code: ../own.py")
    assert "must be a file or folder in the project's folder" in message


TINY = """\
class Own(nn.Module):
    def __init__(self, shape, scale=1.0):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(shape))
        self.scale = scale

    def log_prob(self, x):
        return -0.5 * ((x - self.mean) / self.scale).square().flatten(1).sum(1)
"""

PIPELINE = TWO_NORMALS.replace("{ridge: 0.1}}\n    training", "{scale: 2.0}}\n    training") + (
    "derived:\n  swept: {base: own, grid: {model.arguments.scale: [1.0, 3.0]}}\n"
)


MITIGATIONS = {
    "slower": "{kind: learning-rate, scale: 0.1}",
    "decaying": "{kind: weight-decay, decay: 1.0}",
    "stopping": "{kind: early-stopping, patience: 1, fraction: 0.5}",
    "noisy": "{kind: augmentation, noise: 0.5}",
    "private": "{kind: dp-sgd, noise_multiplier: 1.0, delta: 0.001}",
    "fewer": "{kind: deduplicate, distance: 10.0}",
}


def test_mitigations_of_training_act_on_a_model_of_ones_own(tmp_path: Path) -> None:
    custom(
        tmp_path, GOOD.replace("shape[0]", "64").replace("self.net(x)", "self.net(x.flatten(1))")
    )
    own = """
  {name}:
    dataset: digits
    model: {{kind: custom, target: "own:Own", code: own.py}}
    training: {{epochs: 3, batch_size: 16, learning_rate: 1.0e-2}}
    mitigations: [{mitigation}]
    scoring: {{design: {{kind: k-fold, folds: 2, repeats: 1}}, epochs: [3]}}
    seed: 1
"""
    cases = {"plain": "", **MITIGATIONS}
    spec = "datasets:\n  digits: {kind: digits, values: continuous, limit: 60}\ncustom:"
    spec += "".join(own.format(name=name, mitigation=text) for name, text in cases.items())
    (tmp_path / "params.yaml").write_text(spec)
    project, layout = read_project(tmp_path / "params.yaml"), Layout(tmp_path)
    prepare(project, layout, "digits")
    weights = {}
    for name in cases:
        experiment = load_experiment(project, layout, name)
        assert train(experiment, InProcess()) == 3
        trained = experiment.model_file(experiment.full_model).read().weights[3]
        assert np.isfinite(trained["net.0.weight"]).all()
        weights[name] = trained["net.0.weight"].tobytes()
    assert len(set(weights.values())) == len(cases)


def test_editing_the_code_trains_again_what_depends_on_it(tmp_path: Path) -> None:
    folder = make_repository(tmp_path / "project")
    (folder / "params.yaml").write_text(PIPELINE)
    custom(folder, TINY)
    command(folder, "memo", "expand")
    assert (folder / "expanded.yaml").read_text().count("code: own.py") == 2 + 2
    stages = ("custom-train@own", "train@normal")

    def repro() -> tuple[set[str], str]:
        result = command(folder, "dvc", "repro", *stages)
        return set(re.findall(r"Running stage '(.+)'", result.stdout)), result.stdout

    assert repro()[0] == {"prepare@digits", *stages}
    before = contents(folder / "artifacts" / "folds" / "own")
    edit(folder / "own.py", "0.5 *", "0.5000 *")
    status = command(folder, "dvc", "status", *stages).stdout
    assert "own.py" in status
    assert "train@normal" not in status
    ran, output = repro()
    assert ran == {"custom-train@own"}
    assert "own: 7 models trained" in output
    after = contents(folder / "artifacts" / "folds" / "own")
    assert {name for name in before if before[name] == after[name]} == set()

    edit(folder / "own.py", ".sum(1)", ".sum()")
    refused = command(folder, "memo", "train", "own", check=False)
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith(
        "memo: own.py:Own: loss returned shape (), must be (64,)"
    )
    refused = command(folder, "memo", "validate", check=False)
    assert "own.py:Own: loss returned shape ()" in refused.stderr


def diffusion(shape: tuple[int, ...], **arguments: object) -> nn.Module:
    code = read_code(DIFFUSION, "diffusion.py", "diffusion:Diffusion")
    spec = CustomSpec(kind="custom", target=code.target, code="diffusion.py", arguments=arguments)
    return build_model(spec.loaded(code, "continuous"), shape).double()


def test_the_diffusion_models_divergence_is_that_of_its_velocity() -> None:
    model = diffusion((1, 2, 3), hidden=16)
    z, angle = observations(5, (6,)).double(), torch.linspace(0.1, 1.5, 5).double()[:, None]
    _, divergence = model.velocity(z, angle)
    for row, at, found in zip(z, angle, divergence, strict=True):
        jacobian = torch.autograd.functional.jacobian(
            lambda y, at=at: model.velocity(y[None], at[None])[0][0], row
        )
        torch.testing.assert_close(found, jacobian.trace())


@pytest.fixture(scope="module")
def exact_diffusion() -> tuple[nn.Module, torch.distributions.Distribution]:
    """A diffusion model of normal data whose velocity is the exact one, and that normal.

    z = cos x + sin e and v = cos e - sin x are jointly normal, so that E[v | z] is linear in z:
    E[v] + cov(v, z) cov(z)^-1 (z - E[z]), with divergence trace(cov(v, z) cov(z)^-1).
    """
    model = diffusion((3,), steps=48)
    mean = torch.tensor([0.5, -1.0, 2.0]).double()
    root = torch.tensor([[1.0, 0, 0], [0.5, 0.7, 0], [-0.3, 0.2, 0.4]]).double()
    covariance = root @ root.T

    def velocity(z: torch.Tensor, angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin = torch.cos(angle)[..., None], torch.sin(angle)[..., None]
        of_z = cos**2 * covariance + sin**2 * torch.eye(3).double()
        of_both = cos * sin * (torch.eye(3).double() - covariance)
        gain = of_both @ torch.linalg.inv(of_z)
        offset = z - cos[..., 0] * mean
        value = (gain @ offset[..., None])[..., 0] - sin[..., 0] * mean
        return value, gain.diagonal(dim1=-2, dim2=-1).sum(-1)

    model.velocity = velocity
    return model, torch.distributions.MultivariateNormal(mean, covariance)


def test_the_diffusion_models_density_is_exact_where_its_velocity_is(exact_diffusion) -> None:
    model, normal = exact_diffusion
    torch.manual_seed(0)
    x = normal.sample((50,))
    torch.testing.assert_close(model.log_prob(x), normal.log_prob(x), atol=1e-5, rtol=0)
    drawn = model.sample(20_000, torch.Generator().manual_seed(1)).double()
    error = (drawn.mean(0) - normal.mean).abs() / (normal.stddev / math.sqrt(len(drawn)))
    assert (error < 5).all()
    assert torch.allclose(torch.cov(drawn.T), normal.covariance_matrix, atol=0.05)


def test_the_diffusion_models_bound_is_tight_where_its_velocity_is_exact(exact_diffusion) -> None:
    model, normal = exact_diffusion
    torch.manual_seed(1)
    x = normal.sample((40,))
    draws = 20_000
    noise = torch.randn(draws, model.noise_features).double()
    bound = torch.stack([-model.loss(row.expand(draws, 3), noise) for row in x])
    error = (bound.mean(1) - normal.log_prob(x)) / (bound.std(1) / math.sqrt(draws))
    assert error.abs().max() < 5
