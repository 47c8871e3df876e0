"""Bias, scatter, effective sample size and time of every estimator of log p(x).

    python -m benchmarks.likelihood [--mnist DIR] [--colour ZIP] [--only NAME ...] [--cache DIR]
                                    [--images N] [--repeats R] [--estimators NAME ...]
                                    [--epochs E]

Without --mnist and --colour only digits are measured. Weights and references are kept under
--cache.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.data import colour_images, digits, mnist_images
from memo.likelihood.estimate import estimate_log_likelihood
from memo.likelihood.estimators.annealed import annealed_log_likelihood
from memo.likelihood.importance_weights import LogLikelihood, concatenate, log_mean_exp
from memo.models.build import initial_model
from memo.models.observations.bernoulli import Bernoulli
from memo.models.vae import VAE
from memo.spec.model_specs import ConvSpec, DiagonalGaussianSpec, MLPSpec, VAESpec
from memo.spec.scoring_specs import AdaptiveSpec, ImportanceSpec, LikelihoodSpec

REFERENCE = AdaptiveSpec(kind="adaptive", tolerance=0.015, max_samples=32_768)

CONV_REFERENCE = AdaptiveSpec(kind="adaptive", tolerance=0.1, max_samples=12_288)

Estimator = Callable[[VAE, Tensor, int], LogLikelihood]


def plain_encoder(model: VAE, x: Tensor, seed: int, samples: int = 256) -> LogLikelihood:
    """Importance sampling as it is usually written, without memo's faster decoding."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    with torch.no_grad():
        for images in x.split(max(1, 4096 // samples)):
            mean, log_std = model.encode(images)
            noise = torch.randn(samples, *mean.shape, generator=generator)
            z = mean + log_std.exp() * noise
            proposal = (-0.5 * noise.square() - log_std).sum(-1)
            parameters = model.decode(z)
            if isinstance(model.observation, Bernoulli):
                likelihood = (
                    -torch.nn.functional.binary_cross_entropy_with_logits(
                        parameters, images.expand_as(parameters), reduction="none"
                    )
                    .flatten(2)
                    .sum(-1)
                )
            else:
                likelihood = model.observation.log_prob(images, parameters)
            value, std_error, effective = log_mean_exp(
                likelihood - 0.5 * z.square().sum(-1) - proposal
            )
            count, no_tail = np.full(len(value), samples), np.zeros_like(value)
            parts.append(LogLikelihood(value, std_error, effective, count, no_tail))
    return concatenate(parts)


def _estimator(spec: LikelihoodSpec) -> Estimator:
    return lambda model, x, seed: estimate_log_likelihood(model, x, spec, seed)


SPECS: dict[str, LikelihoodSpec] = {
    "encoder 256": ImportanceSpec(kind="importance", samples=256),
    "encoder 4096": ImportanceSpec(kind="importance", samples=4096),
    "adaptive": AdaptiveSpec(kind="adaptive"),
    "adaptive 0.15": AdaptiveSpec(kind="adaptive", tolerance=0.15),
    "adaptive 1": AdaptiveSpec(kind="adaptive", tolerance=1.0),
}

ESTIMATORS: dict[str, Estimator] = {
    "plain 256": plain_encoder,
    "plain 4096": partial(plain_encoder, samples=4096),
    **{name: _estimator(spec) for name, spec in SPECS.items()},
}


@dataclass(frozen=True)
class Setting:
    """One model, and observations in and out of its training set."""

    name: str
    spec: VAESpec
    values: Callable[[], Tensor]
    trained: int
    epochs: int

    reference: AdaptiveSpec = REFERENCE

    annealed: tuple[int, int] | None = None
    """Temperatures and chains of a second reference, which the first is compared with."""


def main(given: Sequence[str] | None = None) -> None:
    """Print the table; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's IDX .gz files")
    parser.add_argument("--colour", type=Path, help="zip archive of colour images of 32 x 32")
    parser.add_argument("--only", nargs="+", help="names of settings")
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/.cache"))
    parser.add_argument("--images", type=int, default=200, help="in training, and as many held out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of every training, instead of each setting's")
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=list(ESTIMATORS))
    arguments = parser.parse_args(given)
    torch.set_num_threads(1)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    for setting in settings(arguments.mnist, arguments.colour):
        if arguments.only and setting.name not in arguments.only:
            continue
        measure(
            setting if arguments.epochs is None else _trained_for(setting, arguments.epochs),
            arguments.cache,
            arguments.images,
            arguments.repeats,
            arguments.estimators,
        )


def _trained_for(setting: Setting, epochs: int) -> Setting:
    return replace(setting, name=f"{setting.name}-{epochs}-epochs", epochs=epochs)


def settings(mnist: Path | None, colour: Path | None) -> list[Setting]:
    """Two of digits, two of MNIST and two convolutional ones, where their files are given."""
    demo = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[128, 64]), latent=8)
    small = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[256, 128]), latent=8)
    result = [
        Setting("digits-demo", demo, digits, 1617, 100),
        Setting("digits", small, digits, 1437, 100),
    ]
    if mnist is not None:
        large = VAESpec(kind="vae", network=MLPSpec(kind="mlp", hidden=[512, 256]), latent=16)
        result += [
            Setting("mnist-54000", large, lambda: mnist_images(mnist, 60_000), 54_000, 12),
            Setting("mnist-5400", large, lambda: mnist_images(mnist, 6_000), 5_400, 100),
        ]
    if colour is not None:
        images = lambda: colour_images(colour, 2_200)  # noqa: E731
        for latent in (32, 64):
            conv = VAESpec(
                kind="vae",
                network=ConvSpec(kind="conv", features=32),
                latent=latent,
                observation=DiagonalGaussianSpec(kind="diagonal-gaussian"),
            )
            name = f"colour-conv-{latent}"
            result.append(Setting(name, conv, images, 2_000, 20, CONV_REFERENCE, (60, 16)))
    return result


def trained_model(setting: Setting, x: Tensor, cache: Path) -> VAE:
    """Adam at 1e-3, minibatches of 64, on the first `trained` observations."""
    model = initial_model(setting.spec, tuple(x.shape[1:]), seed=0)
    file = cache / f"{setting.name}.safetensors"
    if not file.exists():
        print(f"{setting.name}: training {setting.epochs} epochs", flush=True)
        fit(model, x[: setting.trained], setting.epochs)
        save_file(model.state_dict(), file)
    model.load_state_dict(load_file(file))
    return model.requires_grad_(False).eval()


def fit(model: VAE, x: Tensor, epochs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            noise = torch.randn(len(batch), model.noise_features, generator=generator)
            optimizer.zero_grad()
            model.loss(x[batch], noise).mean().backward()
            optimizer.step()


def reference(setting: Setting, model: VAE, group: str, x: Tensor, cache: Path) -> np.ndarray:
    """log p(x) by up to 32,768 draws from mixtures made for each x."""
    file = cache / f"{setting.name}-{group}-{len(x)}.npz"
    if not file.exists():
        estimate = estimate_log_likelihood(model, x, setting.reference, seed=2**31)
        size, error = estimate.effective_sample_size, estimate.std_error
        print(
            f"{setting.name}, {group}: reference effective sample size {np.median(size):.0f}, "
            f"at least {size.min():.0f}; std error {np.median(error):.3f}, at most "
            f"{error.max():.3f}; Pareto k at most {estimate.pareto_k.max():.2f}",
            flush=True,
        )
        if setting.annealed is not None:
            other = annealed_log_likelihood(model, x, *setting.annealed, seed=2**31)
            print_agreement(estimate, other)
        np.savez(file, value=estimate.value, std_error=error)
    return np.load(file)["value"]


def print_agreement(reference: LogLikelihood, other: LogLikelihood) -> None:
    """Their differences, each log p(x) with the delta method's bias, half its variance, undone."""
    values = [part.value + part.std_error**2 / 2 for part in (reference, other)]
    difference = values[1] - values[0]
    z = difference / np.hypot(reference.std_error, other.std_error)
    print(
        f"annealed importance sampling less the reference: {difference.mean():.3f} "
        f"± {difference.std(ddof=1) / len(z) ** 0.5:.3f}, at most {np.abs(difference).max():.2f}; "
        f"in standard errors {z.mean():.2f} ± {z.std(ddof=1):.2f}; its std error "
        f"{np.median(other.std_error):.3f} in the median",
        flush=True,
    )


def measure(
    setting: Setting, cache: Path, images: int, repeats: int, estimators: Sequence[str]
) -> None:
    """Print a row for each estimator and group; time is one core's."""
    values = setting.values()
    model = trained_model(setting, values, cache)
    groups = {
        "in": values[: setting.trained][:images],
        "out": values[setting.trained :][:images],
    }
    truths = {group: reference(setting, model, group, x, cache) for group, x in groups.items()}
    print(f"\n{setting.name}: {images} images in training and as many held out, {repeats} repeats")
    print(
        f"{'estimator':<14}{'group':<6}{'bias':>16}{'scatter':>9}{'RMS':>8}{'ESS':>7}"
        f"{'draws':>8}{'z spread':>10}{'ms/image':>10}"
    )
    for name in estimators:
        for group, x in groups.items():
            found = row(model, x, ESTIMATORS[name], truths[group], repeats)
            print(f"{name:<14}{group:<6}{found}", flush=True)


def row(model: VAE, x: Tensor, estimator: Estimator, truth: np.ndarray, repeats: int) -> str:
    """Errors and processor time of one estimator on one group of images."""
    start = time.process_time()
    estimates = [estimator(model, x, seed) for seed in range(repeats)]
    seconds = (time.process_time() - start) / repeats
    error = np.stack([estimate.value for estimate in estimates]) - truth
    std_error = np.stack([estimate.std_error for estimate in estimates])
    size = np.stack([estimate.effective_sample_size for estimate in estimates])
    draws = np.stack([estimate.samples for estimate in estimates])
    scatter = np.sqrt(error.var(0, ddof=1).mean())
    bias_error = error.mean(0).std(ddof=1) / len(x) ** 0.5
    z = (error + std_error**2 / 2) / std_error
    return (
        f"{error.mean():>9.3f} ±{bias_error:.3f}{scatter:>9.3f}"
        f"{np.sqrt((error**2).mean()):>8.3f}"
        f"{np.median(size):>7.0f}{draws.mean():>8.0f}{z.std():>10.2f}"
        f"{1e3 * seconds / len(x):>10.2f}"
    )


if __name__ == "__main__":
    main()
