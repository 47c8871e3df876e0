# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scores that can be checked
#
# How far can one trust a memorization score? This notebook measures a model whose scores are known
# exactly, estimates them again as one has to for any other model, and compares the two. Then it
# plants a copy of a record, and shows what a score does not see. It takes half a minute.
#
# The data are the 178 wines that come with scikit-learn: 13 chemical measurements of each, and the
# vineyard's cultivar as a label.

# %%
import numpy as np
import polars as pl
from sklearn.datasets import load_wine

import memo

pl.Config.set_float_precision(2)

wine = load_wine()
values = (wine.data - wine.data.mean(0)) / wine.data.std(0)

# %% [markdown]
# ## The exact scores
#
# The model is a multivariate normal, fitted by maximum likelihood. Leaving one record out of it has
# a formula, so nothing is estimated and no number below has an error. `Measured` shows itself as a
# table.

# %%
normal = memo.NormalSpec(kind="normal")
exact = memo.measure(
    values, normal, title="Normal", design={"kind": "leave-one-out"}, labels=wine.target
)
exact

# %% [markdown]
# The mean is what 104 parameters, 13 means and 91 variances and covariances, owe to 178 records.
# The maximum is another matter: one wine is e¹⁴·⁸ ≈ 2.7 million times as likely under a model that
# has seen it.

# %%
exact.chart()

# %%
exact.most_memorized(5).select("index", "label", "memorization", "log_p_in", "log_p_out")

# %% [markdown]
# Wine 121 is an odd one. Of a normal this is all there is: the less likely a record is without
# itself, the higher its score, and the two orders are the same.

# %%
exact.last.select(rank_correlation=pl.corr("memorization", "log_p_out", method="spearman"))

# %% [markdown]
# Do not carry that over to other models. A flexible one memorizes plain records as well, which is
# why memo does not look for outliers but trains without each record ([MNIST](mnist.py) shows some).
#
# ## The same scores, estimated
#
# A model that has no formula is trained again and again, each time without a part of the data: here
# 10 parts in each of 5 random partitions, 50 models. `extrapolate` trains half as many more on
# fewer records, to correct for training sets that are a tenth smaller than the data.

# %%
estimated = memo.measure(
    values,
    normal,
    title="Normal, by 10 folds",
    design={"kind": "k-fold", "folds": 10, "repeats": 5, "extrapolate": True},
    labels=wine.target,
)
estimated

# %% [markdown]
# Set beside each other, record by record:

# %%
both = estimated.last.join(exact.last.select("index", exact="memorization"), on="index")
both.select(
    exact_mean=pl.col("exact").mean(),
    estimated_mean=pl.col("memorization").mean(),
    extrapolated_mean=pl.col("memorization_at_n").mean(),
    rank_correlation=pl.corr("memorization", "exact", method="spearman"),
    inside_interval=pl.col("exact").is_between("low", "high").mean(),
)

# %%
both.sort("exact", descending=True).select(
    "index", "exact", "memorization", "low", "high", "memorization_at_n"
).head(5)

# %% [markdown]
# What to take from this:
#
# - The mean by folds is about a tenth too high. That is no accident: a model with fewer records
#   owes more to each. The extrapolated mean is right to within its interval. For the mean and the
#   quantiles, extrapolate, or take more folds.
# - Ranks agree, and 93% of the 95% intervals hold the exact score, although that is of *one* record
#   left out, and the estimate of a tenth.
# - The score of wine 121 is overestimated, outside of its interval: with 17 other wines missing, it
#   stands out more. Single high scores are the least certain part. Read "far above the others", not
#   its digits.
#
# ## What a score does not see
#
# Suppose that the oddest wine is in the data twice, as a customer is who signed up twice. The model
# has now seen it twice, and knows it better than before. Its score:

# %%
odd = int(exact.most_memorized(1)["index"][0])
with_copy = np.vstack([values, values[odd]])
copied = memo.measure(with_copy, normal, title="With a copy", design={"kind": "leave-one-out"})
copied.last.filter(pl.col("index").is_in([odd, len(values)])).select(
    "index", "memorization", "log_p_in", "log_p_out"
)

# %% [markdown]
# Half of what it was. That is no error: leaving out one of the two changes less, as the other one
# stays. It *would* be an error to conclude that this wine is safer now. If records belong together,
# say so, and they are left out together:

# %%
customers = [str(index) for index in range(len(values))] + [str(odd)]
together = memo.measure(
    with_copy,
    normal,
    title="Copies held out together",
    design={"kind": "k-fold", "folds": 10, "repeats": 5},
    groups=customers,
)
together.groups.head(3).select("group", "records", "memorization", "low", "high")

# %% [markdown]
# That customer's two records together owe 48 nats to their presence; the one alone owed 15.
# [Groups](../groups.md) says how to find near-duplicates that nobody has labelled; `memo prepare`
# counts exact copies by itself.
#
# ## Next
#
# - [Your own PyTorch model](own_model.py), measured the same way.
# - [Scores](../scores.md) defines what was computed here, and [Theory](../theory.md) derives it.
