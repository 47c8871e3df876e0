"""The neighbour search against brute force in float64; what rho and its statistics must be."""

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from memo.errors import InputError
from memo.samples import nearest as search
from memo.samples.nearest import nearest
from memo.samples.spaces import downsampled, embed, flattened, imported_embedding
from memo.samples.tests_on_samples.distance_ratio import Neighbors, find_neighbors
from memo.scores.relation import relate

torch.set_num_threads(1)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def near_duplicates(queries, offset, dtype):
    """Two references beside each query, one of them nearer by a little, far from the origin."""
    moved = [queries + size * normal(*queries.shape, seed=3).sign() for size in (2e-3, 1e-3)]
    return (queries.to(dtype) + offset), (torch.cat(moved).to(dtype) + offset)


BINARY = (normal(300, 20) > 0).float()
PAIRS = {
    "normal": (normal(70, 9), normal(150, 9, seed=1)),
    "wide": (normal(40, 1500), normal(90, 1500, seed=1)),
    "one column": (normal(50, 1), normal(2500, 1, seed=1)),
    "one reference": (normal(20, 5), normal(1, 5, seed=1)),
    "one value": (torch.full((9, 4), 7.0), torch.full((5, 4), 7.0)),
    "ties": (BINARY[:100], BINARY[100:]),
    "duplicates": (normal(60, 9), normal(60, 9)[torch.randperm(60)].repeat(2, 1)),
    "tiny": (1e-30 * normal(30, 9), 1e-30 * normal(60, 9, seed=1)),
    "huge": (1e18 * normal(30, 9), 1e18 * normal(60, 9, seed=1)),
    "one far off": (normal(30, 9), torch.cat([normal(60, 9, seed=1), torch.full((1, 9), 1e12)])),
    "offset in float32": near_duplicates(normal(50, 9), 1e4, torch.float32),
    "offset in float64": near_duplicates(normal(50, 9), 1e9, torch.float64),
    "near duplicates": near_duplicates(normal(1100, 9), 0, torch.float32),
}


def by_force(queries, references):
    """Squared distances from differences in float64, (n, m)."""
    return (queries.double()[:, None] - references.double()).square().sum(2).numpy()


@pytest.mark.parametrize("name", PAIRS)
def test_the_nearest_is_that_of_brute_force(name):
    queries, references = PAIRS[name]
    found = nearest(queries, references)
    squares = by_force(queries, references)
    row = np.arange(len(queries))
    np.testing.assert_allclose(found.distance**2, squares.min(1), rtol=1e-13, atol=0)
    np.testing.assert_allclose(squares[row, found.index], squares.min(1), rtol=1e-13, atol=0)
    first = squares.argmin(1)
    clear = np.partition(squares, 1, 1)[:, 1] if len(references) > 1 else np.full(len(row), np.inf)
    told_apart = (clear > squares.min(1) * (1 + 1e-12)) | (name in ("ties", "duplicates"))
    np.testing.assert_array_equal(found.index[told_apart], first[told_apart])


def test_copies_are_at_distance_zero_and_the_first_of_them_is_named():
    for offset in (0.0, 1e5, -1e12):
        rows = normal(200, 33, dtype=torch.float64) + offset
        found = nearest(rows, torch.cat([rows, rows]))
        np.testing.assert_array_equal(found.distance, 0)
        np.testing.assert_array_equal(found.index, np.arange(200))


@pytest.mark.parametrize("name", ["normal", "ties", "duplicates", "offset in float32"])
def test_results_do_not_depend_on_how_the_work_is_cut(name, monkeypatch):
    queries, references = PAIRS[name]
    whole = nearest(queries, references)
    for size, differences in ((1, 1), (7, 100), (64, 1 << 20)):
        monkeypatch.setattr(search, "QUERIES", size)
        monkeypatch.setattr(search, "REFERENCES", size + 3)
        monkeypatch.setattr(search, "DIFFERENCES", differences)
        cut = nearest(queries, references)
        np.testing.assert_array_equal(cut.index, whole.index)
        np.testing.assert_array_equal(cut.distance, whole.distance)


def test_invariances():
    queries, references = PAIRS["normal"]
    found = nearest(queries, references)
    order, other = np.random.default_rng(0).permutation(70), np.random.default_rng(1)
    permuted = nearest(queries[order], references)
    np.testing.assert_array_equal(permuted.distance, found.distance[order])
    np.testing.assert_array_equal(permuted.index, found.index[order])
    order = other.permutation(150)
    np.testing.assert_array_equal(order[nearest(queries, references[order]).index], found.index)
    np.testing.assert_array_equal(nearest(4 * queries, 4 * references).distance, 4 * found.distance)
    columns = other.permutation(9)
    turned = nearest(-queries[:, columns], -references[:, columns])
    np.testing.assert_array_equal(turned.index, found.index)
    both_ways = [
        nearest(one, another).distance
        for one, another in ((queries[:1], references[:1]), (references[:1], queries[:1]))
    ]
    np.testing.assert_array_equal(*both_ways)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_coarse_matrix_products_are_as_exact(precision):
    queries, references = PAIRS["wide"]
    expected = nearest(queries, references)
    torch.set_float32_matmul_precision(precision)
    try:
        found = nearest(queries, references)
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.distance, expected.distance)


MEMORY = """
import resource, sys, torch
from memo.samples.nearest import nearest
torch.set_num_threads(1)
rows = torch.randn(2, 12_000, 4, generator=torch.Generator().manual_seed(0))
nearest(rows[0, :2000], rows[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
nearest(*rows)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_no_matrix_of_all_distances_is_held():
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, check=True)
    assert int(result.stdout) < 100 * 1024  # of 549 MiB that it would be


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(ValueError, match="no references"):
        nearest(normal(3, 2), normal(0, 2))
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(3, 4\)"):
        nearest(normal(3, 2), normal(3, 4))


def compared(rows, samples, order):
    return find_neighbors(lambda part: rows[torch.from_numpy(part)], order, samples)


@pytest.mark.parametrize(("n", "m"), [(2, 1), (11, 5), (30, 7), (100, 10), (101, 50)])
def test_each_observation_has_as_many_others_as_there_are_samples(n, m):
    rows, samples = normal(n, 3), normal(m, 3, seed=1)
    order = np.random.default_rng(0).permutation(n)
    found = compared(rows, samples, order)
    to_samples = np.sqrt(by_force(rows, samples))
    np.testing.assert_allclose(found.distance_sample, to_samples.min(1), rtol=1e-13)
    np.testing.assert_array_equal(found.nearest_sample, to_samples.argmin(1))
    parts = np.array_split(order, n // m)
    between = np.sqrt(by_force(rows, rows))
    for part, others in zip(parts, [*parts[1:], parts[0]], strict=True):
        assert len(others) >= m
        assert not set(part) & set(others)
        held_out = between[np.ix_(part, others[:m])]
        np.testing.assert_allclose(found.distance_held_out[part], held_out.min(1), rtol=1e-13)
        np.testing.assert_array_equal(found.nearest_held_out[part], others[held_out.argmin(1)])


def test_renaming_the_observations_renames_the_results():
    rows, samples, order = normal(60, 3), normal(9, 3, seed=1), np.arange(60)
    found = compared(rows, samples, order)
    new_name = np.random.default_rng(0).permutation(60)
    renamed = torch.empty_like(rows)
    renamed[torch.from_numpy(new_name)] = rows
    again = compared(renamed, samples, new_name[order])
    np.testing.assert_array_equal(again.ratio[new_name], found.ratio)
    np.testing.assert_array_equal(
        again.nearest_held_out[new_name], new_name[found.nearest_held_out]
    )


def test_population_samples_come_as_near_as_held_out_data():
    share, with_copies = [], []
    for seed in range(20):
        rows, samples = normal(400, 3, seed=2 * seed), normal(40, 3, seed=2 * seed + 1)
        order = np.random.default_rng(seed).permutation(400)
        share.append((compared(rows, samples, order).ratio > 1).mean())
        samples[:10] = rows[:10]
        with_copies.append(compared(rows, samples, order).ratio[:10])
    error = np.std(share, ddof=1) / np.sqrt(20)
    assert abs(np.mean(share) - 0.5) < 4 * error
    assert error < 0.02
    assert np.isinf(with_copies).all()


def test_ratios_of_zeros_are_what_they_say():
    index = np.zeros(4, np.int64)
    found = Neighbors(index, np.array([2.0, 0, 0, 3]), index, np.array([3.0, 1, 0, 0]))
    np.testing.assert_array_equal(found.ratio, [1.5, np.inf, 1, 0])


@pytest.mark.parametrize("m", [0, 6])
def test_as_many_others_must_be_there(m):
    with pytest.raises(ValueError, match="1 to half of them"):
        compared(normal(11, 2), normal(m, 2), np.arange(11))


def test_the_rank_correlation_has_its_coverage():
    r = 0.4
    truth = 6 / math.pi * math.asin(r / 2)  # Spearman's, of a bivariate normal
    random = np.random.default_rng(0)
    inside = []
    for _ in range(800):
        x, e = random.standard_normal((2, 80))
        highly = np.zeros(80, bool)
        found = relate(x, r * x + math.sqrt(1 - r**2) * e, highly).rank_correlation
        inside.append(found.low < truth < found.high)
    assert 0.93 < np.mean(inside) < 0.97


def test_means_and_their_difference_are_students_and_welchs():
    random = np.random.default_rng(0)
    memorization, ratio = random.standard_normal((2, 300))
    highly = memorization > 1
    found = relate(memorization, ratio, highly)
    for group, interval in ((ratio[~highly], found.regular), (ratio[highly], found.highly)):
        expected = stats.ttest_1samp(group, 0).confidence_interval()
        assert (interval.low, interval.high) == pytest.approx(tuple(expected))
        assert interval.value == pytest.approx(group.mean())
    welch = stats.ttest_ind(ratio[highly], ratio[~highly], equal_var=False).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(welch))


@pytest.mark.parametrize("n", [1, 9, 25, 300, 20_000])
def test_bins_have_every_observation_once_in_order(n):
    random = np.random.default_rng(0)
    memorization = random.exponential(size=n).round(2 if n > 9 else 9)
    ratio = 1 + 0.1 * random.standard_normal(n)
    bins = relate(memorization, ratio, np.zeros(n, bool)).bins
    assert sum(b.count for b in bins) == n
    assert sum(b.count * b.ratio.value for b in bins) / n == pytest.approx(ratio.mean())
    assert all(one.end < other.start for one, other in pairwise(bins))
    assert all(b.start <= b.middle <= b.end for b in bins)
    if n == 20_000:
        assert len(bins) == 22
        assert bins[-1].count <= 21
    if n == 25:
        assert len(bins) == 2


def test_infinite_ratios_are_ranked_and_not_averaged():
    memorization = np.arange(8.0)
    ratio = np.array([1, 2, 3, 4, 5, 6, 7, np.inf])
    found = relate(memorization, ratio, memorization > 5)
    assert found.rank_correlation.value == pytest.approx(1)
    assert found.infinite == 1
    assert found.highly.value == 7
    assert found.highly.low is None
    assert sum(b.count for b in found.bins) == 7
    nothing = relate(memorization, np.full(8, np.inf), memorization > 5)
    assert (nothing.rank_correlation, nothing.regular, nothing.highly) == (None, None, None)
    assert nothing.bins == []


def test_downsampled_pixels_are_means_of_four():
    x = normal(5, 3, 4, 6)
    expected = x.reshape(5, 3, 2, 2, 3, 2).mean((3, 5)).flatten(1)
    torch.testing.assert_close(downsampled(x), expected)
    for shape in ((5, 3, 4, 5), (5, 3, 3, 4), (5, 6)):
        with pytest.raises(InputError, match="even height and width"):
            downsampled(normal(*shape))


def test_an_embedding_is_the_same_however_batches_are_cut():
    x = normal(10, 3, 2)
    torch.testing.assert_close(embed(flattened, torch.split(x, 3)), x.flatten(1), rtol=0, atol=0)
    assert imported_embedding("torch.nn.functional:relu")(x).equal(x.relu())


WRONG = {
    "not a tensor": (lambda x: x.numpy(), "not a ndarray"),
    "one axis too many": (lambda x: x, r"not torch.float32 of \(3, 2, 2\)"),
    "rows lost": (lambda x: x.flatten(1)[1:], r"\(3, features\) numbers for 3"),
    "no columns": (lambda x: x.flatten(1)[:, :0], r"of \(3, 0\)"),
    "integers": (lambda x: x.flatten(1).long(), "torch.int64"),
    "not finite": (lambda x: x.flatten(1) / 0, "not finite"),
    "columns that change": (lambda x: x.flatten(1)[:, : 1 + len(x)], "2 features here and 4"),
}


@pytest.mark.parametrize("name", WRONG)
def test_embeddings_keep_their_contract(name):
    embedding, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        embed(embedding, torch.split(normal(4, 2, 2), 3))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_package:f", "cannot be imported: No module named 'no_such_package'"),
        ("torch.nn:no_such_function", "cannot be imported: .*no_such_function"),
        ("math:pi", "is a float, not a function"),
    ],
)
def test_what_is_no_feature_extractor_is_named(target, message):
    with pytest.raises(InputError, match=f"'{target}': {message}"):
        imported_embedding(target)


def test_errors_of_a_feature_extractor_are_told_under_its_name():
    embedding = imported_embedding("math:sqrt")
    with pytest.raises(InputError, match=r"'math:sqrt': .*Error: "):
        embed(embedding, [normal(3, 2)])
