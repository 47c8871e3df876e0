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
# # What is memorized of MNIST
#
# Numbers are hard to believe until one has seen the images. This notebook trains a small VAE on
# handwritten digits, and looks at which of them it has memorized, and which not. It takes about a
# minute.
#
# ## The images
#
# Those that come with a clone of memo's repository: 2,000 of MNIST, 28 × 28 pixels (LeCun, Cortes &
# Burges; CC BY-SA 3.0). The outputs on the site are of these. To take MNIST itself, set the
# environment variable `MNIST_ROOT` to the folder that you gave to `torchvision.datasets.MNIST`, or
# to a new one: what is missing there is downloaded. Either way the first 500 are used, as black or
# white pixels.

# %%
import gzip
import os
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from torchvision.datasets import MNIST

import memo

pl.Config.set_float_precision(2)
SHIPPED = Path(memo.__file__).parent.parent / "data" / "mnist-2000"


def read():
    """Images (n, 28, 28) from 0 to 255, and the digit of each."""
    root = os.environ.get("MNIST_ROOT")
    if root or not SHIPPED.exists():
        found = MNIST(root or "data/sources", download=True)
        return found.data.numpy(), found.targets.numpy()
    images = gzip.decompress((SHIPPED / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((SHIPPED / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    return np.frombuffer(images, np.uint8).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8)


images, digits = (part[:500] for part in read())
values = (images > 127).astype(int)

# %% [markdown]
# ## Measure
#
# The VAE is memo's own. 5 folds in 3 random partitions are 15 models, each without a fifth of the
# images, and one more on all of them. How likely a VAE takes an image to be has no closed form; it
# is estimated until it is precise enough.

# %%
network = {"kind": "mlp", "hidden": [128, 64]}
vae = memo.measure(
    values,
    memo.VAESpec(kind="vae", network=network, latent=8, observation="bernoulli"),
    title="VAE",
    training={"epochs": 30, "batch_size": 25, "learning_rate": 3e-3},
    design={"kind": "k-fold", "folds": 5, "repeats": 3},
    labels=digits,
    seed=42,
)
vae

# %% [markdown]
# Read the warnings before the table: the models are still learning. Then the mean. An average image
# owes about 14 nats to its own presence, which makes it a million times as likely. That sounds like
# more than it is, since log p of images differs by tens of nats anyway; but it is there long before
# a model has learned all that it could.

# %%
vae.chart()

# %% [markdown]
# ## The most memorized


# %%
def row(chosen):
    """Images side by side, twice as large."""
    picture = np.hstack([np.pad(images[index], 2, constant_values=128) for index in chosen])
    return Image.fromarray(picture.repeat(2, 0).repeat(2, 1))


top = vae.most_memorized(10)
row(top["index"])

# %%
top.select("index", "label", "memorization", "low", "high", "log_p_in", "log_p_out")

# %% [markdown]
# One has specks beside it, a few have unusual shapes, and most look plain. Compare the ten that are
# least likely under models that have not seen them, which is how one would look for outliers:

# %%
unlikely = vae.last.sort("log_p_out").head(10)
row(unlikely["index"])

# %%
print("images in both rows:", len(set(top["index"]) & set(unlikely["index"])))

# %% [markdown]
# Whoever had looked for outliers would have missed the others. The rank correlation of score and
# held-out log-likelihood says how much the one tells of the other:

# %%
vae.last.select(rank_correlation=pl.corr("memorization", "log_p_out", method="spearman"))

# %% [markdown]
# For a normal it is exactly −1 ([Scores that can be checked](wine.py)). Here unlikely images tend
# to be memorized, and that is all.
#
# ## The least memorized

# %%
bottom = vae.last.sort("memorization_shrunk").head(10)
row(bottom["index"])

# %%
vae.last.group_by("label").agg(
    images=pl.len(), mean_score=pl.col("memorization").mean(), largest=pl.col("memorization").max()
).sort("mean_score")

# %% [markdown]
# Ones are nearly all alike: whichever is left out, the others explain it. That is what a low score
# means. It does not mean that the model knows little of the image; it means that the model would
# know as much without it.
#
# ## Would a look at samples have shown it?
#
# The usual check draws samples, and looks for images that lie nearer to a sample than to other real
# images. The page of the report compares that with the scores. It is one file, which opens in a
# browser:

# %%
page = vae.report("mnist-report", overwrite=True)
print(page.name, f"{page.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# [Read a report](../read-a-report.md) walks through such a page.
#
# ## How far to trust this
#
# - 500 images are few, and the model is small. That is no reason for the scores: of 6,000 images
#   and a larger VAE, one in a thousand is memorized by 67 nats after 100 epochs ([The study,
#   repeated](../../paper/README.md)).
# - Three repeats put wide intervals around single images. That the first ten are memorized is
#   certain where `low` is above zero; their order is not.
# - The score is of pixels as they were scored, black or white. What was lost by that cannot be
#   memorized.
#
# ## Next
#
# - [Membership risk](membership.py): what somebody gets from such scores who should not.
# - [Before a release](../start/release.md): the same as a project, for a folder of your own images.
