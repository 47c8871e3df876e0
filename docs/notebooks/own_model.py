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
# # Your own PyTorch model
#
# Any `torch.nn.Module` with a method `log_prob(x)` can be measured. Here it is a small normalizing
# flow, written down in thirty lines. The notebook measures it after several epochs, sees
# memorization begin long before overfitting does, and asks what early stopping buys. It takes about
# a minute.

# %%
import math

import polars as pl
import torch
from sklearn.datasets import load_wine
from torch import nn

import memo

pl.Config.set_float_precision(2)

wine = load_wine()
values = (wine.data - wine.data.mean(0)) / wine.data.std(0)

# %% [markdown]
# ## The model
#
# memo builds it as `Class(shape)`, once for each model that it trains, and minimizes the mean of
# `-log_prob` over batches. There is nothing to inherit and nothing to register. `log_prob` must
# give one number for each record, in nats, and include every Jacobian.


# %%
class Flow(nn.Module):
    """Affine coupling layers: half of the entries shift and scale the other half, in turns."""

    def __init__(self, shape, layers=4, hidden=64):
        super().__init__()
        self.size = math.prod(shape)
        self.nets = nn.ModuleList(self._net(hidden) for _ in range(layers))
        entry, layer = torch.arange(self.size), torch.arange(layers)[:, None]
        self.register_buffer("given", ((entry + layer) % 2).float())

    def _net(self, hidden):
        last = nn.Linear(hidden, 2 * self.size)
        nn.init.zeros_(last.weight)  # each layer begins as the identity
        nn.init.zeros_(last.bias)
        return nn.Sequential(nn.Linear(self.size, hidden), nn.ReLU(), last)

    def log_prob(self, x):
        z, log_det = x.flatten(1), torch.zeros(len(x), device=x.device)
        for net, given in zip(self.nets, self.given, strict=True):
            shift, scale = net(z * given).chunk(2, 1)
            scale = torch.tanh(scale) * (1 - given)
            z = z * scale.exp() + shift * (1 - given)
            log_det = log_det + scale.sum(1)
        return log_det - 0.5 * (z.square().sum(1) + self.size * math.log(2 * math.pi))


# %% [markdown]
# ## What is wrong is said before anything is trained
#
# A common slip is to return the mean of a batch:


# %%
class Slip(Flow):
    def log_prob(self, x):
        return super().log_prob(x).mean()


try:
    memo.measure(values, Slip)
except memo.InputError as error:
    print(error)

# %% [markdown]
# ## Measure
#
# 5 folds in 3 random partitions are 15 models, each of which is scored after 5, 10, 20 and 40
# epochs. All models of a partition are trained as one stack, so that this takes seconds.

# %%
settings = {
    "training": {"epochs": 40, "batch_size": 32, "learning_rate": 1e-3},
    "design": {"kind": "k-fold", "folds": 5, "repeats": 3},
    "epochs": [5, 10, 20, 40],
    "labels": wine.target,
    "seed": 1,
}
flow = memo.measure(values, Flow, title="Flow", **settings)
flow

# %% [markdown]
# Whatever stands under "Before you trust this" reads first. Then look at the epochs one by one.
# `log_p_out` is the log-likelihood of records that a model has not seen: the higher, the better the
# model.

# %%
rows = []
for epoch in [5, 10, 20, 40]:
    at = flow.scores.filter(pl.col("epoch") == epoch)
    q95 = flow.summary(epoch).memorization["q95"]
    rows.append(
        {
            "epoch": epoch,
            "held-out log p": at["log_p_out"].mean(),
            "mean score": at["memorization"].mean(),
            "95% quantile": q95.value,
            "low": q95.low,
            "high": q95.high,
        }
    )
pl.DataFrame(rows)

# %% [markdown]
# From epoch 5 to epoch 10 held-out log-likelihood rises: by every usual sign the model is still
# learning. Over the same epochs the 95% quantile of the scores doubles. It doubles again by epoch
# 20, while held-out log-likelihood stands still, and again by epoch 40, when it has fallen.
# Memorization is not overfitting; it is well under way before overfitting shows.
#
# The intervals of the quantile do not overlap, so the order of the epochs is certain. Its second
# digit is not: three repeats leave two degrees of freedom.

# %%
flow.chart()

# %% [markdown]
# ## Does early stopping help?
#
# Mitigations are given as in `params.yaml`. This one sets a tenth of each training set aside, and
# keeps the weights of the epoch at which that tenth was likeliest.

# %%
stopped = memo.measure(
    values,
    Flow,
    title="Flow, stopped early",
    mitigations=[{"kind": "early-stopping", "patience": 5}],
    **settings,
)
difference = memo.compare(flow, stopped)
difference

# %%
difference.chart()

# %% [markdown]
# Each rectangle counts wines: those below the diagonal are memorized less than before. The
# differences are paired, the same wines in the same partitions, which makes their intervals
# narrower than those of either model.
#
# It helps, and the density is better, too, so there is nothing to weigh. But it does not make an
# end of it:

# %%
stopped.most_memorized(5).select("index", "label", "memorization", "low", "high")

# %% [markdown]
# A score of 5 nats is a factor of 150. How much exactly these wines are memorized, three repeats do
# not tell: look at the intervals. That they are memorized, they do, where `low` is above zero.
#
# ## How far to trust this
#
# - The scores are of *this training procedure* on four fifths of the wines, not of one particular
#   set of weights.
# - `log_prob` is taken at its word. memo checks shapes, gradients and that nothing in it is random;
#   it cannot know that a Jacobian is missing. Test that your density integrates to 1 in a small
#   dimension.
# - Records with the same score may have it for different reasons. Look at them before you act.
#
# ## Next
#
# - [What a model must offer](../custom-models.md): also latent variables, bounds, and samplers
#   without a density.
# - [Membership risk](membership.py): what an attacker makes of such scores.
# - In a project, with models kept on disk: [A model of your own](../start/own-model.md).
