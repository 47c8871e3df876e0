"""A bound on singular values, by projection."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["project"]


@torch.no_grad()
def project(matrices: Sequence[Tensor], bound: float) -> None:
    """W <- W / max(1, sigma(W) / bound) for each matrix (Gouk et al. 2021, eq. 9).

    sigma is the largest singular value, from the eigenvalues of the smaller Gram matrix.

    Args:
        matrices: Of one model or, stacked, of several: (..., m, n); changed in place.
        bound: The largest singular value allowed.
    """
    for weight in matrices:
        wide = weight.shape[-2] < weight.shape[-1]
        gram = weight @ weight.mT if wide else weight.mT @ weight
        largest = torch.linalg.eigvalsh(gram)[..., -1].clamp_min(0).sqrt()
        weight.mul_((bound / largest).clamp_max(1)[..., None, None])
