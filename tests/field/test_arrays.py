"""Arrays in memory: nothing in them is hidden, missing or rounded away without a word."""

from decimal import Decimal

import numpy as np
import polars as pl
import pytest
import scipy
import torch

import memo
from memo.datasets.arrays import observation_table, prepare_array
from memo.datasets.prepared import DataError

N = 120
STREAM = np.random.default_rng(5)
VALUES = STREAM.normal(size=(N, 3))


def hidden() -> np.ma.MaskedArray:
    """Ordinary values but for one of 100, which the mask hides."""
    values = VALUES.copy()
    values[7, 1] = 100
    return np.ma.masked_greater(values, 50)


def far(values: np.ndarray) -> np.ndarray:
    return np.ma.masked_array(values, mask=np.zeros(values.shape, bool))


class NAType:
    """As pandas' NA: comparing it gives it again."""

    def __eq__(self, other: object) -> "NAType":
        return self

    def __hash__(self) -> int:
        return 0


def with_missing(one: object) -> np.ndarray:
    values = VALUES.astype(object)
    values[3, 0] = one
    return values


GRAD = torch.tensor(VALUES, requires_grad=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (hidden(), "some are masked; leave those observations out, or fill them in"),
        (list(hidden()), "some are masked"),
        (tuple(hidden().reshape(N, 3, 1)), "some are masked"),
        ([[row, row] for row in hidden()], "some are masked"),
        (np.ma.masked_all((N, 3)), "some are masked"),
        (with_missing(None), r"1 are missing \(None, NA or NaN\); leave those observations out"),
        (with_missing(NAType()), "1 are missing"),
        (with_missing(float("nan")), "1 are missing"),
        (VALUES.astype(object), r"of type object, not numbers: .* values.astype\(float\)"),
        (np.full((N, 3), Decimal("0.1")), "of type object, not numbers"),
        (np.where(VALUES > 2, np.nan, VALUES), "values that are not finite"),
        (pl.DataFrame(VALUES).with_columns(pl.lit(None).alias("x")), "not finite|missing"),
        (pl.DataFrame({"a": ["x", "y"], "b": [1, 2]}), "not numbers"),
        (GRAD, r"requires grad; give values.detach\(\).cpu\(\).numpy\(\)"),
        (torch.tensor(VALUES).bfloat16(), r"bfloat16 on cpu; give .*\.float\(\)\.numpy\(\)"),
        (torch.empty(N, 3, device="meta"), "a tensor of torch.float32 on meta; give"),
        (torch.tensor(VALUES).to_sparse(), r"give values.detach\(\).to_dense\(\)"),
        (scipy.sparse.csr_matrix(VALUES), r"sparse matrix; give values.toarray\(\)"),
        (VALUES + 1j, r"complex; give real and imaginary parts"),
        (np.full((N, 3), "1"), "of text"),
        (VALUES.astype("datetime64[D]"), "of dates; give numbers"),
        (np.zeros((N, 2), [("a", float)]), "structured"),
        ([[1.0, 2.0], [3.0]], "not an array"),
    ],
)
def test_what_is_hidden_missing_or_no_number_is_refused_with_the_cure(values, message) -> None:
    with pytest.raises(DataError, match=message):
        prepare_array(values, None, None)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (2**60 + np.arange(N)[:, None] * np.array([1, 2]), "120 different numbers become 1"),
        (2**60 + np.arange(N, dtype=np.uint64)[:, None] * np.array([[1, 1]], np.uint64), "120 dif"),
        (1e9 + VALUES, "120 different numbers become"),
        (np.longdouble(1) + np.longdouble(1e-17) * np.arange(N)[:, None], "different numbers"),
        (1e-60 * VALUES, "120 different numbers become 1"),
        (16_777_216 + np.arange(N)[:, None], "120 different numbers become 61"),
        (
            np.stack([VALUES[:, 0], 1e8 + np.arange(N)], 1)[:, None, :],
            r"float32, at \[0, 1\] of an",
        ),
    ],
)
def test_digits_that_float32_has_not_are_an_error(values, counts) -> None:
    with pytest.raises(DataError, match=counts):
        prepare_array(values, None, None)


@pytest.mark.parametrize(
    "values",
    [
        VALUES,
        far(VALUES),
        1e20 * VALUES,
        np.vstack([VALUES, [[1e20] * 3]]),
        np.round(VALUES, 1) + 1e-17,
        1000 + np.arange(N)[:, None],
        VALUES.astype(np.float16),
        VALUES.astype(np.longdouble),
        STREAM.normal(size=(30_000, 2)),
        torch.tensor(VALUES),
        pl.DataFrame(VALUES),
    ],
    ids=lambda values: type(values).__name__,
)
def test_values_that_float32_keeps_are_kept(values) -> None:
    prepared = prepare_array(values, None, None)
    np.testing.assert_allclose(prepared.scored, np.asarray(values, np.float64), rtol=2**-24)


def test_hidden_values_do_not_top_the_list() -> None:
    settings = {"design": {"kind": "leave-one-out"}, "workers": 1}
    with pytest.raises(DataError, match="some are masked"):
        memo.measure(hidden(), {"kind": "normal"}, **settings)
    kept = hidden()[~hidden().mask.any(1)]
    measured = memo.measure(kept, {"kind": "normal"}, **settings)
    plain = memo.measure(np.delete(VALUES, 7, 0), {"kind": "normal"}, **settings)
    assert measured.scores.equals(plain.scores)


def test_names_and_labels_are_the_numbers_and_texts_that_were_given() -> None:
    labels = [None, float("nan"), NAType(), np.ma.masked, np.str_("a"), b"b", torch.tensor(3)]
    table = observation_table(7, torch.arange(7), labels)
    assert table["id"].to_list() == ["0", "1", "2", "3", "4", "5", "6"]
    assert table["label"].to_list() == [None, None, None, None, "a", "b", "3"]
    with pytest.raises(DataError, match="ids: observation 1 has none"):
        observation_table(2, ["a", None], None)
    with pytest.raises(DataError, match="two observations have the same"):
        observation_table(2, [1, "1"], None)


@pytest.mark.parametrize("given", [{3, 4}, {3: "a", 4: "b"}, (k for k in (3, 4)), "ab", b"ab"])
def test_names_without_an_order_of_their_own_are_refused(given) -> None:
    for what in ({"ids": given, "labels": None}, {"ids": None, "labels": given}):
        with pytest.raises(DataError, match=r"of type \w+; give a list, in the order of the"):
            observation_table(2, **what)
