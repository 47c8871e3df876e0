"""State that a model changes itself: refused with the cure, or set once by `initialize`."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import memo
from memo.errors import WorkError
from memo.mitigations.steps.dp_sgd import DPSGDSpec
from memo.training.contract import ContractError, check_contract
from memo.training.contract_state import changes, whole_state
from tests.conftest import ROOT
from tests.field.own_models import custom, normal_values

torch.set_num_threads(1)

ACTNORM = """\
class Own(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))
        self.register_buffer("initialized", torch.tensor(0))
        self.flag = False

    def log_prob(self, x):
{first}
        z = (x - self.loc) * torch.exp(-self.log_scale)
        return (-0.5 * z.square() - self.log_scale - 0.5 * math.log(2 * math.pi)).sum(1)
"""

SETS_ITSELF = {
    "data and plain attribute": (
        """\
        if not self.flag:
            self.loc.data = x.detach().mean(0)
            self.log_scale.data = x.detach().std(0).log()
            self.flag = True""",
        "loss: changes the model when it is called in train mode ('flag', 'loc', 'log_scale')",
    ),
    "copy_ and buffer": (
        """\
        if not self.initialized:
            with torch.no_grad():
                self.loc.copy_(x.mean(0))
                self.initialized.fill_(1)""",
        "('initialized', 'loc')",
    ),
    "buffer put in place of another": (
        """\
        if not self.initialized:
            self.loc.data.sub_(x.detach().mean(0))
            self.initialized = torch.tensor(1)""",
        "('initialized', 'loc')",
    ),
    "only in eval mode": (
        """\
        if not self.training and not self.flag:
            self.loc.data = x.detach().mean(0)
            self.flag = True""",
        "loss: changes the model when it is called in eval mode ('flag', 'loc')",
    ),
    "class attribute": (
        """\
        if not hasattr(Own, "centre"):
            Own.centre = x.detach().mean(0)
        x = x - Own.centre""",
        "('Own.centre'",
    ),
    "global": (
        """\
        SEEN.setdefault("mean", x.detach().mean(0))
        x = x - SEEN["mean"]""",
        "(\"Own.log_prob (global SEEN)['mean']\")",
    ),
    "list": (
        """\
        self.seen = self.seen if hasattr(self, "seen") else []
        self.seen.append(0)""",
        "('seen', 'seen[0]')",
    ),
    "new module": (
        """\
        self.layer = nn.Linear(1, 1, device="cpu") if not hasattr(self, "layer") else self.layer""",
        "draws from torch's global generator",
    ),
    "eval mode": ("        self.eval()", "('training')"),
}


@pytest.mark.parametrize(("first", "message"), SETS_ITSELF.values(), ids=SETS_ITSELF)
def test_a_model_that_sets_itself_is_refused_with_the_cure(
    tmp_path: Path, first: str, message: str
) -> None:
    spec = custom(tmp_path, "SEEN = {}\n\n\n" + ACTNORM.format(first=first))
    with pytest.raises(ContractError) as error:
        check_contract(spec, normal_values(), [])
    assert message in str(error.value)
    if "changes the model" in message:
        assert "what comes from the data belongs into `initialize(x)`" in str(error.value)


NETWORK = """\
class Own(nn.Module):
    noise_features = 0

    def __init__(self, shape):
        super().__init__()
        self.net = nn.Sequential({layers})
        self.calls = itertools.count()

    def loss(self, x, noise):
        return self.net(x).square().sum(1)

    def log_prob(self, x):
        {first}
        return -self.net(x).square().sum(1) - {term}
"""

LAYERS = {
    "batch norm": (
        "nn.Linear(3, 4), nn.BatchNorm1d(4)",
        "'net.1' is a BatchNorm1d, which keeps statistics of batches: nn.GroupNorm",
    ),
    "batch statistics": (
        "nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False)",
        "loss: of an observation depends on what stands beside it",
    ),
    "spectral norm": (
        "nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4))",
        "divide the weight by torch.linalg.matrix_norm(weight, 2)",
    ),
    "spectral norm of old": (
        "nn.utils.spectral_norm(nn.Linear(3, 4))",
        "",
    ),
    "instance norm": (
        "nn.Linear(3, 4), nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2, track_running_stats=True),"
        "nn.Flatten()",
        "'net.2' is a InstanceNorm1d, which keeps statistics",
    ),
}


@pytest.mark.parametrize(("layers", "message"), LAYERS.values(), ids=LAYERS)
def test_layers_that_keep_statistics_are_named(tmp_path: Path, layers: str, message: str) -> None:
    spec = custom(tmp_path, NETWORK.format(layers=layers, first="", term=0))
    with pytest.raises(ContractError) as error:
        check_contract(spec, normal_values(), [])
    assert message in str(error.value)


COUNTED = {
    "iterator": ("", "next(self.calls)", "log_prob: changes the model when it is called in train"),
    "others beside": ("", "x.mean()", "log_prob: of an observation depends on what stands beside"),
    "others beside in the last row alone": (
        "",
        "nn.functional.pad(x[-2:-1].sum(1) * 0 + x[:1].sum(), (len(x) - 1, 0))[-len(x):]",
        "log_prob: of an observation depends on what stands beside it",
    ),
    "their number": ("", "len(x)", "log_prob: of an observation depends on what stands beside"),
}


@pytest.mark.parametrize(("first", "term", "message"), COUNTED.values(), ids=COUNTED)
def test_log_p_is_the_observations_own(tmp_path: Path, first: str, term: str, message: str) -> None:
    source = NETWORK.format(layers="nn.Linear(3, 4)", first=first, term=term)
    with pytest.raises(ContractError) as error:
        check_contract(custom(tmp_path, source), normal_values(), [])
    assert message in str(error.value)


HARMLESS = {
    "buffer outside of files": "self.register_buffer('third', torch.tensor(0.5), persistent=False)",
    "distribution that remembers": "self.prior = torch.distributions.Categorical(torch.ones(3))",
    "logger": "import logging; self.logger = logging.getLogger('own')",
}


@pytest.mark.parametrize("line", HARMLESS.values(), ids=HARMLESS)
def test_what_changes_nothing_is_accepted(tmp_path: Path, line: str) -> None:
    used = """\
        if hasattr(self, "logger"):
            self.logger.info("called")
        if hasattr(self, "prior"):
            self.prior.logits
        if hasattr(self, "third"):
            x = x * self.third"""
    source = ACTNORM.format(first=used).replace("self.flag = False", line)
    check_contract(custom(tmp_path, source), normal_values(), [])


def test_the_whole_state_is_seen() -> None:
    class Parts:
        def __init__(self):
            self.numbers = {"a": [1, np.zeros(2)]}
            self.stream = np.random.default_rng(0)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = Parts()
            self.generator = torch.Generator().manual_seed(0)
            self.register_buffer("kept", torch.zeros(2, dtype=torch.bfloat16), persistent=False)

    def changed(change) -> list[str]:
        model = Model()
        before = whole_state(model)
        change(model)
        return changes(before, whole_state(model))

    assert changed(lambda model: None) == []
    assert changed(lambda m: m.parts.numbers["a"].append(2)) == ["parts.numbers['a'][2]"]
    assert changed(lambda m: m.parts.numbers["a"][1].fill(1)) == ["parts.numbers['a'][1]"]
    assert changed(lambda m: m.parts.stream.random()) == ["parts.stream"]
    assert changed(lambda m: torch.rand(1, generator=m.generator)) == ["generator"]
    assert changed(lambda m: m.kept.add_(1)) == ["kept"]
    assert changed(lambda m: setattr(m, "kept", m.kept.clone())) == ["kept"]
    assert changed(lambda m: m.parts.__dict__.pop("stream")) == ["parts.stream"]


class ActNorm(nn.Module):
    """A normal whose mean and scale come from the training set, by `initialize`."""

    def __init__(self, shape):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def initialize(self, x):
        self.loc.data = x.mean(0)
        self.log_scale.copy_(x.std(0).log())

    def log_prob(self, x):
        z = (x - self.loc) * torch.exp(-self.log_scale)
        return (-0.5 * z.square() - self.log_scale - 0.5 * math.log(2 * math.pi)).sum(1)


def plain_log_p(training: np.ndarray, x: np.ndarray) -> float:
    mean, scale = training.mean(0), training.std(0, ddof=1)
    return float(
        (-0.5 * ((x - mean) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)).sum()
    )


@pytest.mark.parametrize("mitigations", [(), ({"kind": "early-stopping", "patience": 1},)])
def test_initialize_sees_the_training_set_of_each_model_alone(mitigations) -> None:
    x = normal_values().numpy()
    found = memo.measure(
        x,
        ActNorm,
        training={"epochs": 1, "learning_rate": 1e-12},
        design={"kind": "k-fold", "folds": 4, "repeats": 2},
        mitigations=mitigations,
        workers=1,
    )
    row = found.last.row(0, named=True)
    if mitigations:  # the part that it is validated on is not in what `initialize` sees
        assert row["memorization"] > 30
        return
    log_p: dict[bool, list[float]] = {True: [], False: []}
    models = zip(found._experiment.design.fold_models, found._log_likelihoods, strict=True)
    for fold, table in models:
        training = np.delete(x, fold.held_out, 0).astype(np.float64)
        expected = plain_log_p(training, x[0].astype(np.float64))
        assert math.isclose(table["log_likelihood"][0], expected, rel_tol=1e-4)
        log_p[0 in fold.held_out].append(expected)
    least = min(log_p[False]) - max(log_p[True])
    assert 100 < least < row["memorization"] < max(log_p[False]) - min(log_p[True])


def test_initialized_weights_are_trained_like_a_plain_loop_does() -> None:
    """Full batches: each step is Adam's on the mean loss, from where `initialize` left off."""
    x = normal_values()
    found = memo.measure(
        x.numpy(),
        ActNorm,
        training={"epochs": 20, "batch_size": 200, "learning_rate": 0.05},
        design={"kind": "k-fold", "folds": 4, "repeats": 1},
        workers=1,
    )
    log_p: dict[bool, list[float]] = {True: [], False: []}
    for fold in found._experiment.design.fold_models:
        kept = torch.from_numpy(np.delete(np.arange(len(x)), fold.held_out))
        model = ActNorm((3,))
        with torch.no_grad():
            model.initialize(x[kept])
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        for _ in range(20):
            optimizer.zero_grad()
            (-model.log_prob(x[kept]).mean()).backward()
            optimizer.step()
        log_p[0 in fold.held_out].append(float(model.log_prob(x[:1]).detach()))
    row = found.last.row(0, named=True)
    assert math.isclose(
        row["memorization"], np.mean(log_p[False]) - np.mean(log_p[True]), rel_tol=1e-3
    )


def test_the_documents_example_is_accepted_and_starts_from_the_data(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "custom-models.md").read_text()
    (block,) = re.findall(r"```python\n(class ActNorm.*?)```", text, re.S)
    spec = custom(tmp_path, block.replace("ActNorm", "Own"))
    check_contract(spec, normal_values(), [])
    model = spec.source.load()((3,))
    x = normal_values()
    with torch.no_grad():
        model.initialize(x)
        found = model.log_prob(x[:1])
    expected = plain_log_p(x.double().numpy(), x[0].double().numpy())
    assert math.isclose(float(found), expected, rel_tol=1e-5)


INITIALIZED = """\
class Own(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    {initialize}

    def log_prob(self, x):
        z = (x - self.loc) / self.scale
        return -(0.5 * z.square() + self.scale.log()).sum(1)
"""

WRONG_HOOKS = {
    "attribute": (
        "def initialize(self, x): self.mean = x.mean(0); self.scale = x.std(0)",
        "initialize: sets 'mean', which files of weights do not keep: make it a persistent buffer",
    ),
    "shape": (
        "def initialize(self, x): self.scale = x[:, :1].std(0)",
        "initialize: makes 'scale' torch.float32 of shape (1,), and it was torch.float32 of (3,)",
    ),
    "type": (
        "def initialize(self, x): self.scale = x.double().std(0)",
        "initialize: makes 'scale' torch.float64 of shape (3,)",
    ),
    "not finite": (
        "def initialize(self, x): self.scale = x[:1].std(0)",
        "initialize: leaves 'scale' with numbers that are not finite",
    ),
    "at random": (
        "def initialize(self, x): self.scale = torch.rand(3)",
        "initialize: draws from torch's global generator",
    ),
    "no argument": (
        "def initialize(self): self.loc.data.zero_()",
        "`initialize` takes (), but memo calls it as initialize(x)",
    ),
    "another meaning": (
        "def initialize(self, gain=1.0): self.loc.data.mul_(gain)",
        "rename it if it means something else",
    ),
    "both": (
        "def initialize(self, x): pass\n\n    def fit(self, x): pass",
        "has both `initialize` and `fit`",
    ),
}


@pytest.mark.filterwarnings("ignore:std")
@pytest.mark.parametrize(("initialize", "message"), WRONG_HOOKS.values(), ids=WRONG_HOOKS)
def test_what_is_wrong_with_initialize_is_said(
    tmp_path: Path, initialize: str, message: str
) -> None:
    spec = custom(tmp_path, INITIALIZED.format(initialize=initialize))
    with pytest.raises(ContractError) as error:
        check_contract(spec, normal_values(), [])
    assert message in str(error.value)


def test_privacy_does_not_go_with_what_reads_the_data(tmp_path: Path) -> None:
    hook = "def initialize(self, x): self.scale = x.std(0)"
    private = DPSGDSpec(kind="dp-sgd", noise_multiplier=1.0, delta=1e-3)
    with pytest.raises(ContractError, match="'dp-sgd' does not go with `initialize`"):
        check_contract(
            custom(tmp_path, INITIALIZED.format(initialize=hook)), normal_values(), [private]
        )


class LargeBatches(nn.Module):
    """A model that the trial, of few observations, cannot see through."""

    def __init__(self, shape):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))

    def fit(self, x):
        self.mean = x.mean(0)

    def log_prob(self, x):
        if len(x) > 100:
            x = x - x.mean(0)
        return -(x - self.mean).square().sum(1)


class ByProcess(LargeBatches):
    """A model with state in a place that belongs to no model."""

    def log_prob(self, x):
        seen = sys.modules["math"].__dict__.setdefault("_seen", x[0].clone())
        return -(x - self.mean).square().sum(1) - (0 if len(x) < 100 else float(seen.sum()))


@pytest.mark.parametrize("model", [LargeBatches, ByProcess])
def test_scoring_sees_what_the_trial_cannot(model) -> None:
    with pytest.raises(WorkError) as error:
        memo.measure(
            normal_values().numpy(),
            model,
            design={"kind": "k-fold", "folds": 2, "repeats": 1},
            workers=1,
        )
    assert "repeat 0, fold 0, epoch 100: log p of an observation is " in str(error.value)
    assert " among 120: it must not depend on what stands beside it" in str(error.value)
    math.__dict__.pop("_seen", None)


class SetByMany(nn.Module):
    """Sets itself from the first batch that is larger than the trial's, and remembers that."""

    noise_features = 0

    def __init__(self, shape):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(shape))
        self.register_buffer("done", torch.zeros(()), persistent=False)

    def log_prob(self, x):
        if len(x) > 70 and not self.done:
            with torch.no_grad():
                self.loc.copy_(x.mean(0))
                self.done.fill_(1)
        return -(x - self.loc).square().sum(1)


def test_scoring_sees_a_model_that_sets_itself_late() -> None:
    with pytest.raises(WorkError) as error:
        memo.measure(
            normal_values().numpy(),
            SetByMany,
            training={"epochs": 1, "batch_size": 32},
            design={"kind": "k-fold", "folds": 2, "repeats": 1},
            workers=1,
        )
    assert "log p of 120 observations changes 'loc', 'done' of the model" in str(error.value)


SWITCHED = """\
class Own(nn.Module):
    noise_features = 0

    def __init__(self, shape):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(shape))

    def loss(self, x, noise):
        return (x - self.loc).square().sum(1)

    def log_prob(self, x):
        return -(x - self.loc).square().sum(1) - (100 if self.training else 0)

    def sample(self, count, generator):
        assert not self.training
        return torch.randn(count, *self.loc.shape, generator=generator)
"""


def test_checks_and_scores_see_the_model_in_eval_mode(tmp_path: Path) -> None:
    spec = custom(tmp_path, SWITCHED)
    check_contract(spec, normal_values(), [])
    found = memo.measure(
        normal_values().numpy(),
        spec.source.load(),
        training={"epochs": 1},
        design={"kind": "k-fold", "folds": 2, "repeats": 1},
        workers=1,
    )
    assert found.last["log_p_in"].max() > -30
