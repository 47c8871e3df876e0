"""A bound on the decoder's singular values, by projection."""

import torch
from torch import Tensor

__all__ = ["project"]


@torch.no_grad()
def project(parameters: dict[str, Tensor], bound: float) -> None:
    """W <- W / max(1, sigma(W) / bound) for each matrix of the decoder (Gouk et al. 2021, eq. 9).

    sigma is the largest singular value, from the eigenvalues of the smaller Gram matrix.

    Args:
        parameters: Stacked, (S, outputs, inputs), by name; changed in place.
        bound: The largest singular value allowed.
    """
    for name, weight in parameters.items():
        if name.startswith("decoder.") and weight.ndim == 3:
            wide = weight.shape[1] < weight.shape[2]
            gram = weight @ weight.mT if wide else weight.mT @ weight
            largest = torch.linalg.eigvalsh(gram)[:, -1].clamp_min(0).sqrt()
            weight.mul_((bound / largest).clamp_max(1)[:, None, None])
