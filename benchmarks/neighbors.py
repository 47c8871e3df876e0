"""Time and memory of the exact neighbour search, and how it compares with brute force.

    python -m benchmarks.neighbors [--mnist DIR] [--threads N] [--checked N]

Without --mnist only digits are searched.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from benchmarks.data import digits, mnist_intensities
from memo.samples.nearest import nearest

Search = tuple[str, Tensor, Tensor]


def main(given: Sequence[str] | None = None) -> None:
    """Print the table; the arguments are the command line's when None."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's IDX .gz files")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--checked", type=int, default=500, help="queries also sought by force")
    arguments = parser.parse_args(given)
    torch.set_num_threads(arguments.threads)
    print(
        f"{arguments.threads} threads\n"
        f"{'data':<16}{'queries':>9}{'among':>8}{'columns':>9}{'seconds':>9}{'of CPU':>9}"
        f"{'peak MiB':>10}{'not as by force':>17}"
    )
    for name, queries, references in searches(arguments.mnist):
        start, busy = time.perf_counter(), time.process_time()
        found = nearest(queries, references)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        wrong = differing(queries[: arguments.checked], references, found.distance)
        print(
            f"{name:<16}{len(queries):>9,}{len(references):>8,}{queries.shape[1]:>9,}"
            f"{seconds:>9.1f}{busy:>9.1f}{peak():>10,.0f}{wrong:>17}",
            flush=True,
        )


def searches(mnist: Path | None) -> Iterator[Search]:
    """Queries and references of each row of the table, read when their turn comes."""
    grey = torch.from_numpy(load_digits().data / 16).float()
    yield "digits", grey[:1500], grey[1500:]
    binary = digits().flatten(1)
    yield "digits, binary", binary[:1500], binary[1500:]
    if mnist is not None:
        yield (
            "MNIST",
            torch.from_numpy(mnist_intensities(mnist, "train")).flatten(1),
            torch.from_numpy(mnist_intensities(mnist, "t10k")).flatten(1),
        )
        draws = torch.Generator().manual_seed(0)
        train, test = (
            binarized(torch.from_numpy(mnist_intensities(mnist, part)).flatten(1), draws)
            for part in ("train", "t10k")
        )
        yield "MNIST, binary", train, test


def binarized(intensities: Tensor, draws: torch.Generator) -> Tensor:
    """Pixels of 0 and 1, drawn once: many distances are equal."""
    return (torch.rand(intensities.shape, generator=draws) < intensities).float()


def differing(queries: Tensor, references: Tensor, distance: np.ndarray) -> int:
    """Count distances that differ from those of float64 differences, beyond the last digits."""
    b = references.double()
    true = [float((row - b).square().sum(1).min().sqrt()) for row in queries.double()]
    return int((~np.isclose(distance[: len(true)], true, rtol=1e-12, atol=0)).sum())


def peak() -> float:
    """Peak memory of the process in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
