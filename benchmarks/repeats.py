"""Widths of intervals of true scores by repeats: the law that the forecast of the gate goes by.

    python -m benchmarks.repeats [--studies N]

True scores of 300 records are exponential, ten of them larger by 6 nats; each repeat adds normal
noise of 2 nats. Printed is how far intervals reach above and below the value, times the square root
of the repeats: numbers that stay the same where the forecast is right.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from memo.scores.shrinkage import Posterior, posterior
from memo.scores.statistics import STATISTICS

RECORDS, NOISE, THRESHOLD = 300, 2.0, 1.0


def main(given: Sequence[str] | None = None) -> None:
    """Print the table; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=6)
    studies = parser.parse_args(given).studies
    rng = np.random.default_rng(0)
    true = rng.exponential(1.0, RECORDS)
    true[:10] += 6
    names = [name for name, statistic in STATISTICS.items() if not statistic.linear]
    columns = [f"{name} {side}" for name in (*names, "share above") for side in ("up", "down")]
    print("| repeats | " + " | ".join(columns) + " |")
    print("| ---: | " + " | ".join("---:" for _ in columns) + " |")
    for repeats in (3, 6, 12, 24):
        reaches = []
        for _ in range(studies):
            noisy = true[:, None] + rng.normal(0, NOISE, (RECORDS, repeats))
            error = noisy.std(1, ddof=1) / np.sqrt(repeats)
            reaches.append(_reaches(posterior(noisy.mean(1), error, repeats), names))
        shown = np.mean(reaches, 0) * np.sqrt(repeats)
        print(f"| {repeats} | " + " | ".join(f"{reach:.2f}" for reach in shown) + " |", flush=True)


def _reaches(found: Posterior, names: Sequence[str]) -> list[float]:
    """Distances from the value to the interval's upper and lower end, statistic by statistic."""
    draws = [found.statistic(STATISTICS[name]) for name in names]
    draws.append((found.draws > THRESHOLD).mean(1))
    reaches = []
    for one in draws:
        low, value, high = np.quantile(one, [0.025, 0.5, 0.975])
        reaches += [float(high - value), float(value - low)]
    return reaches


if __name__ == "__main__":
    main()
