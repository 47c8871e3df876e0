"""Data for pages, made up but of a real shape: digits, long right tails, errors from repeats."""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from memo.datasets.pictures import Pictures
from memo.report.charts.binning import highly_memorized
from memo.report.page_data import (
    ComparedExperiment,
    ComparisonData,
    Difference,
    Headline,
    Illustration,
    NeighborData,
    Overfitted,
    ReportData,
)
from memo.scores.relation import Interval, MemorizationBin, Relation

EPOCHS = (10, 25, 50, 100, 200)
STATISTICS = {
    "mean": np.mean,
    "q50": np.median,
    "q95": lambda m: np.quantile(m, 0.95),
    "q99.9": lambda m: np.quantile(m, 0.999),
    "max": np.max,
}


def digits_report(
    n: int = 1797, strength: float = 1.0, epochs: tuple[int, ...] = EPOCHS
) -> ReportData:
    """A report on (some of, or copies of) scikit-learn's digits."""
    digits = load_digits()
    rows = np.arange(n) % len(digits.data)
    images = (digits.images[rows] * 15.9).astype(np.uint8)
    distance = NearestNeighbors(n_neighbors=2).fit(digits.data).kneighbors()[0][:, 0]
    oddness = ((distance - distance.mean()) / distance.std())[rows]
    scores = pl.concat(
        [_scores(oddness, digits.target[rows].astype(str), e, strength) for e in epochs]
    )
    return ReportData(
        experiment="digits-vae",
        title="VAE on handwritten digits",
        facts={
            "data set": f"digits: {n:,} images of 8 × 8 pixels, binarized once",
            "model": "variational autoencoder, MLP encoder and decoder (256, 128), 8 latents",
            "training": "200 epochs of Adam, batches of 64, learning rate 0.001",
            "design": "10 folds, 3 repeats: each observation is in 27 training sets and out of 3",
            "likelihood": "importance sampling, 256 samples",
        },
        headlines=headlines(scores),
        intervals="In brackets: 95% intervals.",
        warnings=["With 3 repeats a single score's standard error is itself uncertain by half."],
        scores=scores,
        quantiles=quantiles(scores),
        losses=losses(200),
        images=Pictures(images),
        scores_file="artifacts/scores/digits-vae.parquet",
    )


def illustration(dimensions: int) -> Illustration:
    """A standard normal with one more observation at 4, with and without a kernel on it."""
    axes = [np.linspace(-5, 6, 40)] * dimensions
    points = np.random.default_rng(0).standard_normal((30, dimensions))
    points[0] = 4
    at = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, dimensions)
    at = np.concatenate([at, points])

    def log_normal(centre: float, scale: float) -> NDArray[np.float64]:
        squares = ((at - centre) / scale) ** 2
        density: NDArray[np.float64] = -squares.sum(1) / 2 - dimensions * np.log(
            scale * np.sqrt(2 * np.pi)
        )
        return density

    return Illustration(
        axes=axes,
        points=points,
        name="outlier",
        log_p_with=np.logaddexp(log_normal(0, 1) + np.log(0.97), log_normal(4, 0.3) + np.log(0.03)),
        log_p_without=log_normal(0, 1),
        models=3,
        overfitted=Overfitted(8, log_normal(0.2, 0.7)),
    )


def _scores(
    oddness: NDArray[np.float64], labels: NDArray[np.str_], epoch: int, strength: float
) -> pl.DataFrame:
    n = len(oddness)
    random = np.random.default_rng(epoch)
    size = strength * np.log1p(epoch / 10)
    m = size * (0.6 + 0.7 * np.exp(0.55 * oddness)) * random.gamma(1.5, 0.7, n)
    m += random.normal(0, 0.4, n) * size**0.5
    log_p_in = -18 + 0.6 * np.log(epoch) - 1.6 * oddness + 0.05 * m + random.normal(0, 2.2, n)
    index = np.arange(n)
    std_error = 0.15 + 0.12 * np.abs(m) * random.chisquare(2, n) / 2
    shrunk = 0.9 * m + 0.1 * m.mean()
    return pl.DataFrame(
        {
            "index": index,
            "id": [f"digit-{i:05d}" for i in index],
            "label": labels,
            "epoch": np.full(n, epoch),
            "log_p_in": log_p_in,
            "log_p_out": log_p_in - m,
            "memorization": m,
            "low": m - 2 * std_error,
            "high": m + 2 * std_error,
            "std_error": std_error,
            "memorization_shrunk": shrunk,
            "above_threshold": 1 / (1 + np.exp(1 - shrunk)),
            "unreliable_models": (m > np.quantile(m, 0.99)).astype(np.int64),
        }
    )


def quantiles(scores: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (epoch,), at in scores.sort("epoch").group_by("epoch", maintain_order=True):
        m = at["memorization"].to_numpy()
        for name, statistic in STATISTICS.items():
            value = float(statistic(m))
            error = 0.02 + 0.06 * abs(value)
            rows.append((epoch, name, value, error, value - 2 * error, value + 2 * error))
    columns = ["epoch", "statistic", "value", "std_error", "low", "high"]
    return pl.DataFrame(rows, columns, orient="row")


def losses(last: int) -> pl.DataFrame:
    epoch = np.arange(1, last + 1)
    train = 19 + 9 * np.exp(-epoch / 12) + 3 * np.exp(-epoch / 90)
    held_out = train + 0.012 * epoch + 0.2
    return pl.DataFrame({"epoch": epoch, "train": train, "held_out": held_out})


def headlines(scores: pl.DataFrame) -> list[Headline]:
    m = scores.filter(pl.col("epoch") == pl.col("epoch").max())["memorization"].to_numpy()
    meanings = {
        "median": (0.5, "Half of the observations are memorized less than this."),
        "95% quantile": (0.95, "One observation in twenty is memorized more than this."),
        "99.9% quantile": (0.999, "One observation in a thousand is memorized more than this."),
    }
    made = [
        with_interval(name, float(np.quantile(m, q)), 0.05 + 0.05 * float(np.quantile(m, q)), text)
        for name, (q, text) in meanings.items()
    ]
    share = Headline(
        "significantly memorized",
        100 * float((m > 2).mean()),
        None,
        "%",
        "Share of observations whose score is above zero by more than chance.",
    )
    held_out = with_interval(
        "held-out log-likelihood",
        -21.437,
        0.112,
        "How well the model fits what it has not seen.",
    )
    gap = with_interval(
        "train less held-out", 2.13, 0.041, "Overfitting, which is not memorization."
    )
    return [*made, share, held_out, gap]


def with_interval(name: str, value: float, std_error: float, meaning: str) -> Headline:
    ends = (value - 2 * std_error, value + 2 * std_error)
    return Headline(name, value, std_error, "nats", meaning, *ends)


def digits_comparison() -> ComparisonData:
    """A VAE, the same with a mitigation, and one of another data set."""
    plain = digits_report()
    slow = digits_report(strength=0.45)
    shifted = slow.scores.with_columns(
        pl.col("memorization") + 0.3 * pl.col("index").mul(37).mod(11)
    )
    slow = replace(slow, scores=shifted, quantiles=quantiles(shifted), headlines=headlines(shifted))
    other = digits_report(n=600, strength=0.7)
    experiments = [
        ComparedExperiment(name, title, r.headlines, r.scores, r.quantiles)
        for name, title, r in (
            ("digits-vae", "VAE", plain),
            ("digits-vae-slow", "VAE, learning rate 0.0001", slow),
            ("faces-vae", "VAE on faces", other),
        )
    ]
    rows = [
        with_interval("median", -0.61, 0.11, "Of the memorization score."),
        with_interval("99.9% quantile", -8.4, 1.2, "Of the memorization score."),
        with_interval(
            "held-out log-likelihood", -0.05, 0.08, "Positive where the second fits better."
        ),
        Headline("maximum", -6.2, None, "nats", "Of the memorization score."),
    ]
    return ComparisonData(
        experiments,
        [
            Difference("digits-vae", "digits-vae-slow", rows, 0.83),
            Difference("digits-vae", "faces-vae", problem="They are on different data sets."),
        ],
        ["faces-vae was scored at one repeat only."],
    )


def with_neighbors(data: ReportData, infinite: int = 3) -> ReportData:
    """The report with neighbours whose distance ratio rises a little with the score."""
    last = data.scores.filter(pl.col("epoch") == pl.col("epoch").max())
    n, m = len(last), last["memorization"].to_numpy()
    random = np.random.default_rng(1)
    ratio = np.exp(0.1 * random.standard_normal(n)) * (1 + 0.01 * m)
    ratio[: min(infinite, n)] = np.inf
    finite = np.isfinite(ratio)
    highly = highly_memorized(m)
    groups = {"regular": ratio[finite & ~highly], "highly": ratio[finite & highly]}
    means = {
        name: Interval(group.mean(), group.mean() - 0.01, group.mean() + 0.01)
        if len(group)
        else None
        for name, group in groups.items()
    }
    order = np.argsort(m)
    bins = [part[finite[part]] for part in np.array_split(order, min(10, n))]
    rows = [
        MemorizationBin(
            m[b].min(), m[b].max(), m[b].mean(), len(b), Interval(ratio[b].mean(), *ends)
        )
        for b, ends in zip(bins, [(None, None), *[(0.9, 1.3)] * 9], strict=False)
        if len(b)
    ]
    return replace(
        data,
        neighbors=NeighborData(
            space="pixels",
            source="the full model",
            count=100,
            table=pl.DataFrame(
                {
                    "index": last["index"],
                    "distance_sample": np.where(finite, 2.0, 0.0),
                    "distance_held_out": np.where(finite, 2 * ratio, 1.0),
                    "ratio": pl.Series(ratio).replace(np.inf, None),
                    "nearest_sample": random.integers(0, 5, n),
                    "nearest_held_out": random.permutation(n),
                }
            ),
            relation=Relation(
                rank_correlation=Interval(0.12, 0.07, 0.17) if n > 3 and np.ptp(m) else None,
                **means,
                difference=None if None in means.values() else Interval(0.03, 0.01, 0.05),
                infinite=min(infinite, n),
                bins=rows,
            ),
            samples=None if data.images is None else data.images.given[:5],
        ),
    )
