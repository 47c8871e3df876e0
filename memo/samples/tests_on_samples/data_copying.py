"""C_T: are samples nearer to training data than held-out data is?

Meehan, Chaudhuri & Dasgupta (2020): the space is cut into cells by k-means on the training data T.
In each cell, the distances of held-out data P to the nearest of T there are compared with those of
samples Q by the statistic of Mann & Whitney, as a z-score with a correction for continuity; C_T is
their mean over cells that hold more than a share tau of the samples, by their shares of P. It is
far below 0 where samples copy, and far above where they do not fit.

As the authors leave the constants open, they are those of Jiralerspong et al. (2023): three cells,
tau = 20 / m of m samples.
"""

import numpy as np
import scipy
import torch
from torch import Tensor

from memo.samples.compared import Compared
from memo.samples.interface import Number, SampleTest
from memo.samples.nearest import nearest

CELLS = 3
FEWEST_SAMPLES = 20
"""Samples of a cell that are too few, or just so."""


def of_samples(compared: Compared, stream: np.random.Generator) -> dict[str, float]:
    """C_T; NaN where no cell has enough samples and some held-out data.

    Args:
        compared: Records T, held-out records P, and samples Q.
        stream: Draws where k-means starts.
    """
    # slow to import, with joblib, which would take over how worker processes are started
    from sklearn.cluster import KMeans  # noqa: PLC0415

    sets = compared.records.all_rows, compared.others.all_rows, compared.samples
    training, held_out, samples = (rows.double().numpy() for rows in sets)
    cells = min(CELLS, len(np.unique(training, axis=0)))
    seed = int(stream.integers(2**31))
    found = KMeans(cells, n_init=1, random_state=seed).fit(training)
    of_held_out, of_samples = found.predict(held_out), found.predict(samples)
    scores, weights = [], []
    for cell in range(cells):
        here = (of_held_out == cell).nonzero()[0], (of_samples == cell).nonzero()[0]
        if len(here[0]) and len(here[1]) > FEWEST_SAMPLES:
            own = torch.from_numpy(training[found.labels_ == cell])
            scores.append(z_score(own, sets[1][here[0]], sets[2][here[1]], compared.device))
            weights.append(len(here[0]))
    if not scores:
        return {"c_t": float("nan")}
    return {"c_t": float(np.average(scores, weights=weights))}


def z_score(
    training: Tensor, held_out: Tensor, samples: Tensor, device: torch.device | str | None = None
) -> float:
    """Mann & Whitney's statistic of the distances of samples and held-out data to training data.

    Example:
        Both samples are nearer than all of the held-out data: U = 0, of mean 3, or 2.5 corrected,
        and variance 3.

        >>> rows = [torch.tensor(places)[:, None] for places in ([0.0], [2.0, 3, 4], [1, 1.5])]
        >>> round(z_score(*rows), 6)
        -1.443376
    """
    of_held_out, of_samples = (
        nearest(rows.double(), training.double(), device).distance for rows in (held_out, samples)
    )
    n, m = len(of_held_out), len(of_samples)
    ranks = scipy.stats.rankdata(np.concatenate([of_samples, of_held_out]))
    u = ranks[:m].sum() - m * (m + 1) / 2
    return float((u - (n * m / 2 - 0.5)) / np.sqrt(n * m * (n + m + 1) / 12))


TEST = SampleTest(
    name="data-copying",
    words="C_T",
    claim="Where samples are nearer to training data than held-out data are, cell by cell of the "
    "space, C_T is far below 0, and the model is said to copy data (Meehan et al. 2020).",
    numbers={"c_t": Number("C_T", -1)},
    judge=of_samples,
    needs_held_out=True,
)
