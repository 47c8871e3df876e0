"""Calls into a model of one's own: tried before training, and named where they fail."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import memo
from memo.errors import InputError
from memo.models.build import build_model
from memo.models.protocols import Generative
from memo.models.state import StateError, load_state
from memo.samples.drawing import draw_samples
from memo.spec.user_code import CodeError
from memo.training.contract import ContractError, check_contract
from tests.field.own_models import custom, normal_values
from tests.field.test_readiness import project, run

torch.set_num_threads(1)

GOOD = """\
class Own(nn.Module):
    noise_features = 0

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.net = nn.Linear(shape[0], 2)
        self.register_buffer("scale", torch.ones(shape))

    def loss(self, x, noise):
        return self.net(x * self.scale).square().sum(1)

    def log_prob(self, x):
        return -self.net(x * self.scale).square().sum(1)

    def sample(self, count, generator):
        return torch.randn(count, *self.shape, generator=generator)
"""
LINEAR = "self.net = nn.Linear(shape[0], 2)"
SAMPLE = "return torch.randn(count, *self.shape, generator=generator)"

SIGNATURES = {
    "sample": (
        "sample(self, count, generator)",
        "sample(self, n)",
        "`sample` takes (n), but memo calls it as sample(count, generator)",
    ),
    "context": (
        "log_prob(self, x)",
        "log_prob(self, x, context)",
        "`log_prob` takes (x, context), but memo calls it as log_prob(x)",
    ),
    "loss": (
        "loss(self, x, noise)",
        "loss(self, x)",
        "`loss` takes (x), but memo calls it as loss(x, noise)",
    ),
    "names alone": (
        "sample(self, count, generator)",
        "sample(self, *, count, generator)",
        "`sample` takes (*, count, generator), but memo calls it as sample(count, generator)",
    ),
    "no method": (
        "def sample(self, count, generator):\n        " + SAMPLE,
        "sample = 3",
        "`sample` must be a method, not a int",
    ),
    "lazy": (
        LINEAR,
        "self.net = nn.LazyLinear(2)",
        "weights 'net.weight' have no shape before data come, as those of nn.LazyLinear: take",
    ),
    "lazy buffers": (
        LINEAR,
        "self.net = nn.Sequential(nn.Linear(shape[0], 2), nn.LazyBatchNorm1d())",
        "weights 'net.1.weight' have no shape before data come",
    ),
    "a frozen network": (
        LINEAR,
        LINEAR + "\n        self.kept = nn.Linear(3, 3).requires_grad_(False)",
        "parameter 'kept.weight' and 1 more have no gradient: what is not trained must be a buffer",
    ),
    "gradient": (
        LINEAR,
        LINEAR + "\n        self.w = torch.ones(2, requires_grad=True)",
        "'w' is a tensor that requires a gradient and no parameter",
    ),
    "gradient of a computed one": (
        LINEAR,
        LINEAR + "\n        self.w = {'a': self.net.weight * 2}",
        "\"w['a']\" is a tensor that requires a gradient and no parameter",
    ),
    "not to be copied": (
        LINEAR,
        LINEAR + "\n        self.w = (row for row in range(3))",
        "cannot be copied, as copy.deepcopy(model) does it: cannot pickle 'generator' object",
    ),
    "half": (
        LINEAR,
        LINEAR + "\n        self.half_net = nn.Linear(2, 2).bfloat16()",
        "weights 'half_net.weight' are torch.bfloat16, must be torch.float32 or torch.float64",
    ),
    "extra state": (
        "def log_prob",
        "def get_extra_state(self):\n        return 'a'\n\n    def set_extra_state(self, s):\n"
        "        pass\n\n    def log_prob",
        "`state_dict` has a str '_extra_state': all must be tensors",
    ),
    "closure": (
        LINEAR,
        "net = self.net = nn.Linear(shape[0], 2)\n        self.call = lambda x: net(x)",
        "",
    ),
    "object with a parameter": (
        LINEAR,
        LINEAR + "\n        self.bias = nn.Parameter(torch.zeros(2))\n"
        "        self.base = torch.distributions.Normal(self.bias, 1.0)\n"
        "        self.call = lambda x: self.base.log_prob(self.net(x))",
        "",
    ),
    "layers in a list": (
        LINEAR,
        LINEAR + "\n        self.more = [nn.Linear(2, 2)]",
        "'more[0].weight' is a tensor that requires a gradient and no parameter, so that it would "
        "never be trained: make it an nn.Parameter (of layers in a list: an nn.ModuleList)",
    ),
    "tied": (
        LINEAR,
        LINEAR + "\n        self.again = nn.Linear(3, 2)\n"
        "        self.again.weight = self.net.weight",
        "parameters 'net.weight' and 'again.weight' are one tensor under several names",
    ),
    "autocast": (
        "return -self.net(x * self.scale).square().sum(1)",
        "\n        with torch.autocast('cpu', dtype=torch.bfloat16):\n"
        "            z = self.net(x * self.scale)\n        return -z.square().sum(1).float()",
        "log_prob: has no more digits than bfloat16 or float16",
    ),
    "dropout": (
        LINEAR,
        "self.net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1))",
        "results would not come again; make all that is random from `noise`, masks of dropout too",
    ),
    "samples of torch.distributions": (
        SAMPLE,
        "return torch.distributions.Normal(0.0, 1.0).sample((count, *self.shape))",
        "draw with the generator that is given, as torch.randn(..., generator=generator); `sample`",
    ),
    "weight normalization of old": (
        LINEAR,
        "self.net = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)))",
        "'net.0' is normalized by torch.nn.utils.weight_norm, of which there are no copies: use "
        "torch.nn.utils.parametrizations.weight_norm",
    ),
    "array of numpy": (
        "return -self.net(x * self.scale).square().sum(1)",
        "return -self.net(x * self.scale).square().sum(1).numpy()",
        "log_prob returned a ndarray, must be a tensor of shape (64,)",
    ),
    "permutation outside of files": (
        "return -self.net(x * self.scale).square().sum(1)",
        "self.order = getattr(self, 'order', None) or [1]\n"
        "        return -self.net(x * self.scale).square().sum(1)",
        "what is the same in every call into `__init__`",
    ),
    "weights that are not finite": (
        LINEAR,
        LINEAR + "\n        self.register_buffer('mask', torch.tensor([math.nan]))",
        "weights 'mask' ",
    ),
    "samples of another count": (
        SAMPLE,
        "return torch.randn(3, *self.shape, generator=generator)",
        "sample returned shape (3, 3), must be (100, 3)",
    ),
    "samples of another type": (
        SAMPLE,
        "return torch.randn(count, *self.shape, generator=generator).bfloat16()",
        "sample returned torch.bfloat16, must be torch.float32 or torch.float64",
    ),
    "samples that are not finite": (
        SAMPLE,
        "return torch.randn(count, *self.shape, generator=generator).log()",
        "numbers are not finite",
    ),
    "samples that change the model": (
        SAMPLE,
        "self.scale += 1\n        " + SAMPLE,
        "sample: changes the model when it is called in eval mode ('scale')",
    ),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize(("before", "after", "message"), SIGNATURES.values(), ids=SIGNATURES)
def test_what_memo_cannot_call_is_said(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in GOOD
    source = GOOD.replace(before, after)
    if not message:
        source = source.replace("self.net(x * self.scale)", "self.call(x * self.scale)")
        message = "as it should once the model is copied: it reads this parameter past the model's"
    with pytest.raises(ContractError) as error:
        check_contract(custom(tmp_path, source), normal_values(), [], samples=100)
    assert message in str(error.value)


ACCEPTED = {
    "normalizing flow of zuko": "import zuko\n        self.net = zuko.flows.MAF(3, transforms=1)",
    "parametrized": "self.net = nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))",
    "in float64": "self.net = nn.Sequential(Double(), nn.Linear(3, 2).double())",
    "layer normalization": "self.net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))",
    "mask of minus infinity": "self.net = nn.Sequential(nn.Linear(3, 3), Masked())",
    "mask outside of files": "self.net = nn.Linear(3, 2)\n"
    "        self.register_buffer('mask', torch.ones(3), persistent=False)",
}


@pytest.mark.parametrize("built", ACCEPTED.values(), ids=ACCEPTED)
def test_what_models_are_usually_made_of_is_accepted(tmp_path: Path, built: str) -> None:
    source = GOOD.replace(LINEAR, built)
    if "zuko" in built:
        source = source.replace(
            "-self.net(x * self.scale).square().sum(1)", "self.net().log_prob(x * self.scale)"
        ).replace("self.net(x * self.scale).square().sum(1)", "-self.log_prob(x)")
    double = "class Double(nn.Module):\n    def forward(self, x):\n        return x.double()\n\n\n"
    double += (
        "class Masked(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        mask = nn.Transformer.generate_square_subsequent_mask(3)\n"
        "        self.register_buffer('mask', mask)\n\n"
        "    def forward(self, x):\n"
        "        return (x[:, None] + self.mask).softmax(-1)[:, 1]\n\n\n"
    )
    check_contract(custom(tmp_path, double + source), normal_values(), [], samples=100)


def test_a_permutation_that_files_do_not_keep_is_named(tmp_path: Path) -> None:
    drawn = LINEAR + "\n        self.order = torch.randperm(100)"
    source = GOOD.replace(LINEAR, drawn).replace("x * self.scale", "x * self.scale * self.order[0]")
    with pytest.raises(ContractError, match=r"is in no parameter or buffer \('order'\)"):
        check_contract(custom(tmp_path, source), normal_values(), [], samples=100)


def test_a_mask_of_minus_infinity_is_read_and_infinite_weights_are_not(tmp_path: Path) -> None:
    built = LINEAR + "\n        self.register_buffer('mask', torch.tensor([0.0, -math.inf]))"
    spec = custom(tmp_path, GOOD.replace(LINEAR, built))
    model = build_model(spec, (3,))
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    load_state(model, weights)
    for name, value in (("mask", math.nan), ("mask", math.inf), ("net.bias", -math.inf)):
        with pytest.raises(StateError, match=f"weights '{name}' are not finite"):
            load_state(model, {**weights, name: np.full_like(weights[name], value)})


def test_a_good_model_is_accepted(tmp_path: Path) -> None:
    check_contract(custom(tmp_path, GOOD), normal_values(), [], samples=100)


CALLS = {
    "layer of torch": (
        "def loss(self, x, noise):\n        return self.net(x * self.scale).square().sum(1)",
        "@property\n    def loss(self):\n        return nn.MSELoss()",
        "  memo called loss((64, 3) float32, (64, 0) float32); no line of yours is in the",
    ),
    "own line": (
        "return -self.net(x * self.scale)",
        "return -self.net(x.T)",
        "in log_prob: return -self.net(x.T)",
    ),
    "gradients of its own": (
        SAMPLE,
        "z = torch.randn(count, *self.shape, generator=generator).requires_grad_()\n"
        "        return z + torch.autograd.grad(self.log_prob(z).sum(), z)[0]",
        "what needs gradients of its own stands in `with torch.enable_grad():`",
    ),
}


@pytest.mark.parametrize(("before", "after", "message"), CALLS.values(), ids=CALLS)
def test_errors_name_a_line_or_the_call(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in GOOD
    with pytest.raises(CodeError) as error:
        check_contract(custom(tmp_path, GOOD.replace(before, after)), normal_values(), [])
    assert str(error.value).startswith("own.py:Own: ")
    assert message in str(error.value)


BUILT = {
    "no __init__": (
        "class Own(nn.Module):\n    pass\n",
        "own.py:Own: has no `__init__(self, shape)`",
    ),
    "no argument": (
        "class Own(nn.Module):\n    def __init__(self):\n        super().__init__()\n",
        "it is called with the shape of an observation and `arguments`, and takes ()",
    ),
    "no shape": (
        "class Own(nn.Linear):\n    def __init__(self, *, shape):\n        pass\n",
        "it is called with the shape of an observation",
    ),
    "layer of torch": (
        "class Own(nn.Linear):\n    pass\n",
        "own.py:Own: missing a required argument: 'out_features'",
    ),
}


@pytest.mark.parametrize(("source", "message"), BUILT.values(), ids=BUILT)
def test_a_class_that_cannot_be_built_is_said(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(CodeError) as error:
        build_model(custom(tmp_path, source), (3,))
    assert message in str(error.value)


def test_an_error_in_a_layer_of_torch_names_how_it_was_built(tmp_path: Path) -> None:
    spec = custom(tmp_path, "class Own(nn.Linear):\n    pass\n", out_features=2)
    with pytest.raises(CodeError) as error:
        build_model(spec, (3,))
    call = "memo called Own((3,), out_features=2); no line of yours is in the traceback"
    assert str(error.value).splitlines()[1].strip() == call


def test_samples_are_drawn_with_autograd_off(tmp_path: Path) -> None:
    """A sampler without `no_grad` gave tensors that cannot become arrays."""
    source = GOOD.replace(
        SAMPLE, "return self.net.bias.sum() + torch.randn(count, *self.shape, generator=generator)"
    )
    spec = custom(tmp_path, source)
    check_contract(spec, normal_values(), [])
    model = build_model(spec, (3,))
    assert isinstance(model, Generative)
    drawn = draw_samples(model, 700, seed=1)
    generator = torch.Generator().manual_seed(1)
    plain = [torch.randn(count, 3, generator=generator) for count in (512, 188)]
    expected = torch.cat(plain) + model.net.bias.detach().sum()
    assert np.array_equal(drawn, expected.numpy())


CUSTOM = "{kind: custom, target: 'own:Own', code: own.py}"
CODED = GOOD.replace("class Own", "import torch\nfrom torch import nn\n\n\nclass Own", 1)


def test_nothing_is_trained_where_a_later_stage_would_fail(tmp_path: Path) -> None:
    late = {
        "sampler": (CODED.replace("(self, count, generator)", "(self, n)"), "", "`sample` takes"),
        "encoder": (CODED, ", neighbors: {space: {kind: encoder}}", "space 'encoder' needs"),
        "space": (
            CODED,
            ", neighbors: {space: {kind: custom, target: 'own:embed'}}",
            "scoring.neighbors.space: 'own:embed': cannot be imported",
        ),
        "space of the wrong shape": (
            CODED + "\n\ndef embed(x):\n    return x.sum()\n",
            ", neighbors: {space: {kind: custom, target: 'own:embed'}}",
            "scoring.neighbors.space: the space must give a tensor of (8, features) numbers",
        ),
    }
    for name, (source, scoring, message) in late.items():
        folder = tmp_path / name
        folder.mkdir()
        project(folder, CUSTOM, scoring=scoring)
        (folder / "own.py").write_text(source)
        assert run(folder, "prepare", "t")[0] == 0
        for command in ("validate", "train"):
            code, said = run(folder, command, *(["e"] if command == "train" else []))
            assert code == 2
            assert message in said
        assert not list((folder / "artifacts" / "folds").glob("*/*.safetensors"))


BESIDE = """\
import json
from pathlib import Path

import torch
from torch import nn

WIDTH = json.loads((Path(__file__).parent / "width.json").read_text())


class Own(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.net = nn.Linear(shape[0], WIDTH)
        self.scale = float((Path("own") / "scale.txt").read_text())

    def log_prob(self, x):
        return -self.net(x * self.scale).square().sum(1)
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_files_beside_a_model_are_found_from_anywhere(
    tmp_path: Path, monkeypatch, workers: str
) -> None:
    folder = tmp_path / "there"
    (folder / "own").mkdir(parents=True)
    (folder / "own" / "model.py").write_text(BESIDE)
    (folder / "own" / "width.json").write_text("5")
    (folder / "own" / "scale.txt").write_text("2.0")
    project(folder, "{kind: custom, target: 'own.model:Own', code: own}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for arguments in (("validate",), ("prepare", "t"), ("train", "e", "--workers", workers)):
        assert run(Path("../there"), *arguments)[0] == 0
    assert len(list((folder / "artifacts" / "folds" / "e").iterdir())) == 3
    assert not list(elsewhere.iterdir())
    assert run(Path("nowhere"), "validate") == (
        2,
        "nowhere: is no folder; -C names that of params.yaml",
    )


class WithGradients(torch.nn.Module):
    """A normal mean fitted by an optimizer of its own; all that it gives requires a gradient."""

    def __init__(self, shape):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(shape))

    @torch.enable_grad()
    def fit(self, x):
        optimizer = torch.optim.LBFGS([self.mean], lr=0.5, max_iter=100)

        def loss():
            optimizer.zero_grad()
            value = -self.log_prob(x).mean()
            value.backward()
            return value

        optimizer.step(loss)

    @torch.enable_grad()
    def log_prob(self, x):
        return -0.5 * (x - self.mean).square().sum(1) - 1.5 * math.log(2 * math.pi)

    @torch.enable_grad()
    def sample(self, count, generator):
        return self.mean + torch.randn(count, *self.mean.shape, generator=generator)


class DrawsWithGradients(torch.nn.Module):
    noise_features = 1

    def __init__(self, shape):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(shape))

    def loss(self, x, noise):
        return 0.5 * (x - self.mean).square().sum(1) + noise[:, 0]

    @torch.enable_grad()
    def log_prob_draw(self, x, noise):
        return -self.loss(x, noise)


def test_what_requires_a_gradient_is_scored_and_drawn(tmp_path: Path) -> None:
    x = normal_values()
    design = {"kind": "k-fold", "folds": 4, "repeats": 1}
    found = memo.measure(x.numpy(), WithGradients, design=design, workers=1)
    models = zip(found._experiment.design.fold_models, found._log_likelihoods, strict=True)
    for fold, table in models:
        mean = np.delete(x.double().numpy(), fold.held_out, 0).mean(0)
        expected = -0.5 * ((x.double().numpy() - mean) ** 2).sum(1) - 1.5 * math.log(2 * math.pi)
        assert np.abs(table["log_likelihood"].to_numpy() - expected).max() < 0.02
    assert found.report(tmp_path / "report").is_file()
    drawn = memo.measure(
        x.numpy(), DrawsWithGradients, design=design, training={"epochs": 1}, workers=1
    )
    assert drawn.last["memorization"].is_finite().all()


def test_fits_that_leave_gradients_are_refused(tmp_path: Path) -> None:
    source = """\
class Own(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))

    def {name}(self, x):
        with torch.enable_grad():
            self.mean = x.requires_grad_().mean(0)

    def log_prob(self, x):
        return -(x - self.mean).square().sum(1)
"""
    trained = "        self.log_std = nn.Parameter(torch.zeros(()))\n"
    for name, more in (("fit", ""), ("initialize", trained)):
        own = source.format(name=name)
        if more:
            own = own.replace("torch.zeros(shape))\n", "torch.zeros(shape))\n" + more)
            own = own.replace("(x - self.mean)", "((x - self.mean) * self.log_std)")
        with pytest.raises(ContractError, match=f"{name}: leaves 'mean' with a gradient: assign"):
            check_contract(custom(tmp_path, own), normal_values(), [])


def test_models_that_share_their_weights_are_refused() -> None:
    """All folds would start from what `initialize` or `fit` made of the last one's data."""
    one, layer = WithGradients((3,)), torch.nn.Linear(3, 2)

    class Shares(torch.nn.Module):
        def __init__(self, shape, net=layer):
            super().__init__()
            self.net = net

        def log_prob(self, x):
            return -self.net(x).square().sum(1)

    for make, name in ((lambda shape: one, "mean"), (Shares, "net.weight")):
        with pytest.raises(ContractError, match=f"weights '{name}' are the same object in every"):
            memo.measure(normal_values().numpy(), make, training={"epochs": 1}, workers=1)


def test_a_library_call_with_a_wrong_model_is_refused_at_once() -> None:
    class Own(torch.nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.net = torch.nn.LazyLinear(2)

        def log_prob(self, x):
            return -self.net(x).square().sum(1)

    with pytest.raises(InputError, match="have no shape before data come"):
        memo.measure(normal_values().numpy(), Own, training={"epochs": 1}, workers=1)
