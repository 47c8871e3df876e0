"""A bound on the singular values of the decoder's layers, by projection."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from memo.mitigations.mitigation import Mitigation, Problem, Stack, Surroundings
from memo.spec.model_specs import ConvSpec, VAESpec

if TYPE_CHECKING:
    from torch import Tensor


class SpectralNormSpec(Mitigation):
    """Keep the largest singular value of each decoder layer below a bound.

    By projection after each step (Gouk et al. 2021), so that the trained weights satisfy it.
    """

    kind: Literal["spectral-norm"]
    bound: float = Field(default=1.0, gt=0, description="The largest singular value allowed.")

    for_vae: ClassVar[bool] = True

    def problems(self, around: Surroundings) -> Iterator[Problem]:
        """Refuse networks whose normalizations undo it."""
        if isinstance(around.model, VAESpec) and isinstance(around.model.network, ConvSpec):
            yield Problem(
                "kind",
                f"{self.kind!r} has no effect on a network of kind 'conv': each of its layers is "
                "followed by a normalization, which undoes any scale",
            )

    def after_step(self, stack: Stack) -> None:
        """Project each matrix of the decoders."""
        for matrix in stack.matrices("decoder.", exactly=True):
            project(matrix, self.bound)


def project(matrix: "Tensor", bound: float) -> None:
    """Compute W <- W / max(1, sigma(W) / bound) in place (Gouk et al. 2021, eq. 9).

    sigma is the largest singular value, from the eigenvalues of the smaller Gram matrix.

    Args:
        matrix: One, or several of them stacked, (..., m, n).
        bound: The largest singular value allowed.
    """
    import torch  # noqa: PLC0415 -- a second, which reading a spec may not take

    with torch.no_grad():
        wide = matrix.shape[-2] < matrix.shape[-1]
        gram = matrix @ matrix.mT if wide else matrix.mT @ matrix
        largest = torch.linalg.eigvalsh(gram)[..., -1].clamp_min(0).sqrt()
        matrix.mul_((bound / largest).clamp_max(1)[..., None, None])
