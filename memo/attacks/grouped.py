"""Membership of whole groups: an attacker has all records of a person, and asks for the person.

Records of a group that is held out whole are members of a model together or not at all. What the
model says of all of them is the sum of their log-likelihoods, the log density of records that are
independent given the model, so that the likelihood ratio of the group's membership is that of the
sum. Every attack on single records is one on groups, with sums in the place of log p.
"""

import numpy as np
import scipy
from numpy.typing import NDArray

from memo.attacks.trained_models import TrainedModels


def of_groups(models: TrainedModels, own: NDArray[np.int64]) -> TrainedModels:
    """Sum log-likelihoods over groups.

    A model says nothing of a group that it holds in part, as where a mitigation leaves out some of
    its records: it is neither a member nor held out.

    Args:
        models: Log-likelihoods of n records.
        own: Number of each record's group, 0 ... g - 1, (n,).

    Returns:
        Those of g groups, (models, g).

    Example:
        The second model was trained on the first group and on half of the other.

        >>> log_p = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
        >>> inside = np.array([[False, False, True, True], [True, True, True, False]])
        >>> models = TrainedModels(log_p, inside, np.array([[0], [1]]))
        >>> found = of_groups(models, np.array([0, 0, 1, 1]))
        >>> found.log_likelihood.tolist(), found.there.tolist()
        ([[3.0, 7.0], [11.0, 15.0]], [[True, True], [True, False]])
    """
    n = len(own)
    places = scipy.sparse.csr_array((np.ones(n), (np.arange(n), own)))
    size = places.sum(0)
    members, known = models.in_training @ places, models.there @ places
    whole = (members == 0) | (members == size)
    return TrainedModels(
        models.log_likelihood @ places, members == size, models.kin, whole & (known == size)
    )
