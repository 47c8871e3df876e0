"""Means, Jacobians and second derivatives of decoders under a Gaussian."""

import pytest
import torch
from torch import nn

from memo.likelihood.proposals.latent_gaussian import Gaussian
from memo.likelihood.proposals.linearization import cubature, linearize, moment_propagation
from tests.likelihood_models import Convolutional, LinearGaussian, Perceptron


def gaussians(count, latent, scale, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(count, latent, generator=generator, dtype=dtype)
    factor = scale * torch.randn(count, latent, latent, generator=generator, dtype=dtype)
    return mean, factor


def deep(width=20, second=30):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, width), nn.ReLU(), nn.Linear(width, second), nn.ReLU(), nn.Linear(second, 9)
    ).double()


def test_the_jacobian_of_a_narrow_gaussian_is_autograds():
    layers = deep()
    mean, factor = gaussians(5, 3, 1e-9)
    result = moment_propagation(layers, mean, factor)
    jacobian = torch.func.vmap(torch.func.jacrev(layers))(mean)
    torch.testing.assert_close(result.jacobian, (jacobian @ factor).mT, rtol=1e-6, atol=0)
    torch.testing.assert_close(result.mean, layers(mean))


def test_moments_of_one_hidden_layer_are_exact():
    layers = deep()[:3]
    mean, factor = gaussians(1, 3, 0.5)
    result = moment_propagation(layers, mean, factor)
    noise = torch.randn(200_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z = mean + noise @ factor[0].T
    values = layers(z)
    error = values.std(0) / len(z) ** 0.5
    assert ((values.mean(0) - result.mean[0]).abs() < 5 * error).all()
    active = (layers[0](z) > 0).double().mean(0)
    jacobian = layers[2].weight * active @ layers[0].weight @ factor[0]
    torch.testing.assert_close(result.jacobian[0].T, jacobian, rtol=0.02, atol=0.01)


def hessians(function, mean, factor, score):
    return torch.stack(
        [
            torch.autograd.functional.hessian(lambda m, i=i: function(m, factor[i], score[i]), row)
            for i, row in enumerate(mean)
        ]
    )


def test_the_hessian_is_that_of_the_mean_in_the_gaussians_mean():
    layers = deep()[:3]
    mean, factor = gaussians(4, 3, 0.5)
    score = torch.randn(4, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def expected(m, f, s):
        return (moment_propagation(layers, m[None], f[None]).mean[0] * s).sum()

    hessian = hessians(expected, mean, factor, score)
    result = moment_propagation(layers, mean, factor).hessian(score)
    torch.testing.assert_close(result, factor.mT @ hessian @ factor)


def test_the_hessian_goes_through_deeper_layers():
    layers = deep()
    mean, factor = gaussians(4, 3, 0.02)
    score = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def expected(m, f, s):
        return (moment_propagation(layers, m[None], f[None]).mean[0] * s).sum()

    hessian = factor.mT @ hessians(expected, mean, factor, score)
    hessian = hessian @ factor
    result = moment_propagation(layers, mean, factor).hessian(score)
    assert (result - hessian).norm() < 0.2 * hessian.norm()


@pytest.mark.parametrize("layers", [deep()[:3], deep(100, 100)], ids=["one hidden", "two hidden"])
def test_the_correction_is_most_of_jacobian_and_scores_covariance(layers):
    """For log p = -|x - f|^2 / 2, with Fisher information 1, against 100,000 draws."""
    mean, factor = gaussians(6, 3, 1.0)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(100_000, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    neglected, left, errors = [], [], []
    for m, own in zip(mean, factor, strict=True):
        x = layers(m).detach()
        f = layers(m + noise @ own.T)
        (draws,) = torch.autograd.grad(-0.5 * (x - f).square().sum(), noise)
        result = moment_propagation(layers, m[None], own[None])
        uncorrected = (result.jacobian @ (x - result.mean).unsqueeze(-1)).squeeze(-1)
        neglected.append(draws.mean(0) - uncorrected[0])
        left.append(neglected[-1] - result.gradient_correction(result.jacobian)[0])
        errors.append(draws.std(0) / len(draws) ** 0.5)
    neglected, left, errors = (torch.stack(part).norm() for part in (neglected, left, errors))
    assert neglected > 20 * errors
    assert left < 0.5 * neglected


def test_cubature_is_exact_for_linear_decoders():
    model = LinearGaussian(pixels=7, latent=4, std=1.0, dtype=torch.float64)
    mean, factor = gaussians(6, 4, 1.0)
    result = cubature(model, mean, factor)
    torch.testing.assert_close(result.mean, model.decode(mean))
    torch.testing.assert_close(result.jacobian, (model.weight @ factor).mT)


def test_both_ways_agree_on_perceptrons():
    model = Perceptron(12, 2.0, latent=3).double()
    mean, factor = gaussians(4, 3, 1e-6)
    by_cubature, by_layers = cubature(model, mean, factor), linearize(model, Gaussian(mean, factor))
    torch.testing.assert_close(by_cubature.mean, by_layers.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(by_cubature.jacobian, by_layers.jacobian, rtol=1e-5, atol=1e-10)


def test_decoders_that_are_no_perceptrons_are_linearized_by_cubature():
    model = Convolutional()
    mean, factor = gaussians(4, 2, 1e-3, torch.float32)
    result = linearize(model, Gaussian(mean, factor))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda z: model.decode(z[None])[0]))(mean)
    expected = torch.einsum("nchwi,nij->njchw", jacobian, factor).flatten(2)
    torch.testing.assert_close(result.jacobian, expected, rtol=1e-2, atol=1e-5)
