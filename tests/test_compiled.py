"""Compiled training steps: autograd's gradients up to rounding, the same bits each time."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from memo.artifacts.layout import Layout
from memo.errors import InputError
from memo.execution.processes import InProcess
from memo.models.build import initial_model
from memo.pipeline.prepare import prepare
from memo.pipeline.train import train
from memo.project.reading import read_project
from memo.spec.model_specs import MLPSpec, VAESpec
from memo.training.gradient import Gradient
from memo.training.stack import Stack
from tests.conftest import SMALL
from tests.in_process import load
from tests.test_recorded import CPU, batch, state

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError):
        pytest.skip("there is no C++ compiler")


def small_stack(width: int) -> tuple[Stack, torch.Tensor]:
    spec = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[width]), latent=2)
    draws = torch.Generator().manual_seed(0)
    x = (torch.rand(9, 2, 3, generator=draws) < 0.5).float()
    return Stack([initial_model(spec, (2, 3), seed) for seed in range(2)], CPU), x


@pytest.mark.usefixtures("compiler")
def test_compiled_gradients_are_autograds_up_to_rounding() -> None:
    """Some ten operations in a row, each of which may round anew."""
    stack, x = small_stack(6)
    gradient = Gradient(stack, 1, compiles=True)
    for seed in range(2):
        own = batch(stack, x, seed)
        found, expected = gradient(*own), stack.gradient(*own, *state(stack))
        for a, b, parameter in zip(found, expected, stack.parameters, strict=True):
            assert (a - b).norm() <= 100 * torch.finfo().eps * b.norm()
            assert a.stride() == parameter.stride()


@pytest.mark.usefixtures("compiler")
def test_a_compiled_training_comes_again_to_the_bit_and_is_the_eager_one_up_to_rounding(
    tmp_path,
) -> None:
    compiled = SMALL.replace("1.0e-2}", "1.0e-2, compile: true}").replace(
        "repeats: 2", "repeats: 1"
    )
    eager = SMALL[SMALL.index("  fast:") :].replace("fast:", "eager:").replace("s: 2", "s: 1")
    (tmp_path / "params.yaml").write_text(compiled + eager)
    prepare(read_project(tmp_path / "params.yaml"), Layout(tmp_path), "digits")
    experiment = load(tmp_path, "fast")
    assert train(experiment, InProcess()) == 4
    folds = experiment.layout.folds("fast")
    first = folds / "r000-f000.safetensors"
    before = first.read_bytes()
    first.unlink()
    assert train(experiment, InProcess()) == 1
    assert first.read_bytes() == before
    assert train(load(tmp_path, "eager"), InProcess()) == 4
    one, other = (
        load_file(experiment.layout.folds(name) / first.name) for name in ("fast", "eager")
    )
    weights = [name for name in one if name.endswith("weight")]
    (a, b) = (np.concatenate([file[name].ravel() for name in weights]) for file in (one, other))
    assert 0 < np.linalg.norm(a - b) < 0.01 * np.linalg.norm(b)


def test_without_a_compiler_the_option_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    stack, x = small_stack(7)
    with pytest.raises(InputError, match=r"training.compile: .* do not compile here: .*compiler"):
        Gradient(stack, 1, compiles=True)(*batch(stack, x, 0))
