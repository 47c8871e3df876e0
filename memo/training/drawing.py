"""Random changes that a data set makes to batches in training, and never when it is scored."""

from torch import Tensor

__all__ = ["training_batch"]


def training_batch(
    values: Tensor, *, pixels: Tensor | None = None, coins: Tensor | None = None
) -> Tensor:
    """Draw binary pixels anew, and mirror images left and right.

    Leading axes are free: one model's batch (B, *shape), or those of a stack (S, B, *shape).

    Args:
        values: Rows of `Prepared.scored`; with `pixels`, of `Prepared.intensities`.
        pixels: Uniform draws of values' shape, where `Prepared.training_values` is "drawn".
        coins: Uniform draws (B,) or (S, B), where `Prepared.flips`: images (..., C, H, W) are
            mirrored where they lie below 1/2.

    Returns:
        Values to train on, a float tensor of the same shape.
    """
    batch = values.float() if pixels is None else (pixels < values).float()
    if coins is None:
        return batch
    return batch.flip(-1).where((coins < 0.5)[..., None, None, None], batch)
