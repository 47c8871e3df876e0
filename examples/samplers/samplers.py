"""Synthesizers of tables, and a density of scikit-learn's, as models of one's own.

A synthesizer is fitted, and makes a pool of records, which is kept in place of the synthesizer:
weights are plain arrays, and nothing is pickled. `sample` draws from the pool, with replacement; a
pool several times as large as `max_samples` is as good as the synthesizer itself.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import ctgan
import numpy as np
import pandas as pd
import torch
from copulas.multivariate import GaussianMultivariate
from copulas.univariate import BetaUnivariate, UniformUnivariate
from sklearn.neighbors import KernelDensity
from torch import Tensor, nn


class Synthesizer(nn.Module, ABC):
    """A synthesizer of tables.

    Args:
        shape: Shape of a record's vector: numbers, then one entry for each category.
        categories: Number of categories of each categorical column.
        pool: Records that are made once it is fitted.
    """

    def __init__(self, shape: tuple[int, ...], categories: list[int], pool: int = 50_000) -> None:
        super().__init__()
        self.categories = categories
        self.register_buffer("pool", torch.zeros(pool, *shape))

    def fit(self, x: Tensor, generator: torch.Generator) -> None:
        seed = int(torch.randint(2**31, (), generator=generator))
        with seeded(seed), torch.enable_grad():
            made = self.synthesized(self.table(x), len(self.pool))
        self.pool = self.vectors(made)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        return self.pool[torch.randint(len(self.pool), (count,), generator=generator)]

    @abstractmethod
    def synthesized(self, table: pd.DataFrame, count: int) -> pd.DataFrame:
        """Fit to a table, and draw so many records."""

    def names(self, columns: int) -> tuple[list[str], list[str]]:
        numbers = columns - sum(self.categories)
        return (
            [f"number {place}" for place in range(numbers)],
            [f"category {place}" for place in range(len(self.categories))],
        )

    def table(self, x: Tensor) -> pd.DataFrame:
        numbers, categories = self.names(x.shape[1])
        table = pd.DataFrame(x[:, : len(numbers)].double().numpy(), columns=numbers)
        for name, block in zip(
            categories, torch.split(x[:, len(numbers) :], self.categories, 1), strict=True
        ):
            table[name] = block.argmax(1).numpy()
        return table

    def vectors(self, table: pd.DataFrame) -> Tensor:
        numbers, categories = self.names(self.pool.shape[1])
        blocks = [torch.from_numpy(table[numbers].to_numpy(np.float64)).float()]
        for name, count in zip(categories, self.categories, strict=True):
            codes = torch.from_numpy(table[name].to_numpy().astype(np.int64)).clamp(0, count - 1)
            blocks.append(nn.functional.one_hot(codes, count).float())
        return torch.cat(blocks, 1)


class CTGAN(Synthesizer):
    """Conditional tabular GAN (Xu et al. 2019)."""

    family = ctgan.CTGAN

    def __init__(self, shape, categories, pool=50_000, **options) -> None:
        super().__init__(shape, categories, pool)
        self.options = options

    def synthesized(self, table: pd.DataFrame, count: int) -> pd.DataFrame:
        model = self.family(**self.options, enable_gpu=False)
        model.fit(table, discrete_columns=self.names(self.pool.shape[1])[1])
        return model.sample(count)


class TVAE(CTGAN):
    """Tabular variational autoencoder (Xu et al. 2019)."""

    family = ctgan.TVAE


class Copula(Synthesizer):
    """Gaussian copula; a category is an interval of a normal number (Patki et al. 2016)."""

    def synthesized(self, table: pd.DataFrame, count: int) -> pd.DataFrame:
        categories = self.names(self.pool.shape[1])[1]
        ends = {name: _interval_ends(table[name]) for name in categories}
        for name in categories:
            low = np.concatenate([[0.0], ends[name][:-1]])[table[name]]
            share = low + (ends[name][table[name]] - low) * np.random.random(len(table))
            table[name] = share
        margins = dict.fromkeys(table.columns, BetaUnivariate)
        margins |= dict.fromkeys(categories, UniformUnivariate)
        model = GaussianMultivariate(distribution=margins)
        model.fit(table)
        made = model.sample(count)
        for name in categories:
            codes = np.searchsorted(ends[name], made[name].to_numpy())
            made[name] = codes.clip(0, len(ends[name]) - 1)
        return made


def _interval_ends(codes: pd.Series) -> np.ndarray:
    """Upper ends of intervals as long as categories are frequent, in [0, 1]."""
    return np.cumsum(np.bincount(codes) / len(codes))


class SklearnKDE(nn.Module):
    """scikit-learn's kernel density estimate: a density, and a sampler."""

    def __init__(self, shape: tuple[int, ...], bandwidth: float = 0.3) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        self.register_buffer("points", torch.zeros(0, *shape))
        self.register_load_state_dict_pre_hook(_take_size)

    def fit(self, x: Tensor) -> None:
        self.points = x.clone()

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.fitted().score_samples(x.numpy()))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**31, (), generator=generator))
        return torch.from_numpy(self.fitted().sample(count, random_state=seed)).float()

    def fitted(self) -> KernelDensity:
        return KernelDensity(bandwidth=self.bandwidth, rtol=1e-6).fit(self.points.numpy())


def _take_size(module: nn.Module, state: dict, prefix: str, *rest: object) -> None:
    module.points = torch.zeros_like(state[f"{prefix}points"])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators that libraries draw from, and leave them as they were."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
