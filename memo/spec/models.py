"""Specs of densities: which family, of what shape."""

from typing import Literal, TypeAlias

from pydantic import Field

from memo.spec.base import Positive, Spec

__all__ = ["MLPSpec", "ModelSpec", "NetworkSpec", "ObservationSpec", "VAESpec"]


class MLPSpec(Spec):
    """A multilayer perceptron; the decoder mirrors the encoder."""

    kind: Literal["mlp"]
    hidden: list[Positive] = Field(
        default=[256, 128],
        min_length=1,
        description="Widths of the encoder's hidden layers, from the data to the latent variables.",
    )


NetworkSpec: TypeAlias = MLPSpec
ObservationSpec: TypeAlias = Literal["bernoulli"]


class VAESpec(Spec):
    """Variational autoencoder (Kingma & Welling 2014) with a standard normal prior."""

    kind: Literal["vae"]
    network: NetworkSpec = Field(description="Architecture of encoder and decoder.")
    latent: Positive = Field(default=8, description="Number of latent variables.")
    observation: ObservationSpec = Field(
        default="bernoulli", description="The likelihood p(x | z) of the pixels."
    )


ModelSpec: TypeAlias = VAESpec
