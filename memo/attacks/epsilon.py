"""Lower bounds of epsilon from rates of an attack, at a threshold that was chosen on other data.

Of a mechanism that is (epsilon, delta)-differentially private about one record more or less, any
attack has

    TPR <= exp(epsilon) FPR + delta

(Kairouz, Oh & Viswanath 2015), where rates are means over records and trainings. Members and
non-members here have training sets of equal sizes; the inequality is exact where those of members
have one more, and what one more random record changes of a rate is of the order of 1 / n of it.
"""

import math

import scipy

from memo.attacks.rates import exact_interval
from memo.attacks.results import EpsilonBound, Rate
from memo.scores.intervals import LEVEL

DELTA = 1e-5
"""delta where no mechanism names one."""


def epsilon_bound(
    rate: Rate, delta: float = DELTA, promised: float | None = None
) -> EpsilonBound | None:
    """Bound epsilon from below, at 95%; None where the rate is not resolved.

    Args:
        rate: At a threshold that was chosen on other targets.
        delta: delta of (epsilon, delta), and of the promise.
        promised: epsilon that a mechanism promises.

    Example:
        Nobody is found by mistake among 1,000, and half of 1,000 members are.

        >>> rate = Rate(
        ...     fpr=0.01, missing=None, tpr=0.5, true_positives=500, members=1000, non_members=1000
        ... )
        >>> bound = epsilon_bound(rate)
        >>> round(bound.tpr_low, 3), round(bound.fpr_high, 4), round(bound.lower_bound, 2)
        (0.469, 0.0037, 4.85)
    """
    if rate.missing is not None:
        return None
    # each limit fails in 2.5% of cases on its own side, so that both hold in 95%
    low = exact_interval(rate.true_positives, rate.members, LEVEL)[0]
    high = exact_interval(rate.false_positives, rate.non_members, LEVEL)[1]
    bound = math.log((low - delta) / high) if low - delta > high else 0.0
    return EpsilonBound(
        delta=delta,
        tpr_low=low,
        fpr_high=high,
        lower_bound=bound,
        gaussian_lower_bound=gaussian_epsilon(low, high, delta),
        promised=promised,
        broken=promised is not None and bound > promised,
    )


def gaussian_epsilon(tpr: float, fpr: float, delta: float) -> float:
    """epsilon at delta of the Gaussian mechanism whose best attack has these rates.

    mu-Gaussian differential privacy allows TPR <= Phi(Phi^-1(FPR) + mu), and is
    (epsilon, delta)-differential privacy with

        delta = Phi(-epsilon / mu + mu / 2) - exp(epsilon) Phi(-epsilon / mu - mu / 2)

    (Dong, Roth & Su 2022, equation 6 and corollary 1); Nasr et al. (2023, section 4.3) audit by
    such curves, which need far fewer trials, and hold for mechanisms of that kind alone.

    Example:
        >>> round(gaussian_epsilon(0.5, scipy.stats.norm.sf(1.0), 1e-5), 3)  # mu = 1
        4.377
    """
    mu = float(scipy.special.ndtri(tpr) - scipy.special.ndtri(fpr))
    if not tpr > 0 or not mu > 0:
        return 0.0

    def excess(epsilon: float) -> float:
        first = scipy.special.log_ndtr(-epsilon / mu + mu / 2)
        second = epsilon + scipy.special.log_ndtr(-epsilon / mu - mu / 2)
        return math.exp(first) - math.exp(second) - delta

    if excess(0.0) <= 0:
        return 0.0
    highest = mu * (mu / 2 + 40.0)  # beyond it no delta is left
    return float(scipy.optimize.brentq(excess, 0.0, highest))
