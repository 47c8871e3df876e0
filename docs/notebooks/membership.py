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
# # Membership risk
#
# Suppose that somebody may ask your model for log p, and wants to know whether a certain record was
# in its training data. How often would they be right, and about whom? This notebook attacks the
# models that memo trains anyway, and asks what early stopping changes. It takes about a minute.
#
# The data are 600 of the handwritten digits that come with scikit-learn, 8 × 8 pixels, black or
# white.

# %%
import polars as pl
from sklearn.datasets import load_digits

import memo

pl.Config.set_float_precision(2)

digits = load_digits()
values = (digits.images[:600] > 7.5).astype(int)
labels = digits.target[:600]

# %% [markdown]
# ## Measure
#
# The design is chosen for the attack: 16 models, each trained on a random half. Each digit is then
# in the training set of half of the models and missing from the other half, so that an attacker's
# two cases are equally many.

# %%
settings = {
    "training": {"epochs": 60, "batch_size": 32, "learning_rate": 2e-3},
    "design": {"kind": "subsets", "fraction": 0.5, "models": 16},
    "likelihood": {"kind": "importance", "samples": 64},
    "labels": labels,
    "seed": 1,
}
network = {"kind": "mlp", "hidden": [128, 64]}
vae = memo.VAESpec(kind="vae", network=network, latent=8, observation="bernoulli")
plain = memo.measure(values, vae, title="VAE", **settings)
plain

# %% [markdown]
# ## What an attacker finds
#
# Each model is attacked in turn, with others for references that have nothing to do with it.
# Nothing is trained for that. `auc` is the probability that a member gets a higher score than a
# non-member, 0.5 for a guess; `found` is the share of members that are found at a rate of false
# alarms.


# %%
def rates(measured):
    """Rates of the attack that was fixed in advance, with 95% intervals."""
    headline = measured.attacks.headline
    low, high = headline.auc_interval
    rows = [{"what": "AUC", "value": headline.auc, "low": low, "high": high, "missing": None}]
    for rate in headline.rates:
        low, high = rate.interval or (None, None)
        what = f"found at {rate.fpr:.1%} false alarms"
        rows.append(
            {"what": what, "value": rate.tpr, "low": low, "high": high, "missing": rate.missing}
        )
    return pl.DataFrame(rows)


with pl.Config(fmt_str_lengths=150, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
    print(rates(plain))

# %% [markdown]
# Given a member and a non-member, the attack tells which is which in 71 of 100 cases. Such an
# average is the wrong thing to look at: whoever is among the few that can be found with hardly a
# false alarm is not helped by the many who cannot. At 1% false alarms a guess finds 1% of the
# members. Here 7% are found.
#
# At 0.1% there is no number, and the last column says why: with so few non-members, a handful would
# decide it.
#
# Would a simpler attacker find as much? Log p alone is what is left when there are no reference
# models:

# %%
attacks = plain.attacks.attacks
pl.DataFrame([{"attack": one.label, "AUC": one.auc} for one in attacks.values()])

# %% [markdown]
# Reference models make the difference: log p alone finds little. Which of the others is best *here*
# is partly luck, so headlines are always of the first, which was fixed in advance.
#
# ## Who is at risk?
#
# `risk` is the share of the models with a record in which it was found, at 1% false alarms;
# `false_found` counts the models without it in which it was found all the same.

# %%
plain.risks.sort("risk", descending=True).select(
    "index", "label", "targets_in", "found", "risk", "low", "high", "targets_out", "false_found"
).head(8)

# %% [markdown]
# Mind the intervals: with 8 models, a risk of 6/8 may be anything from a third to nearly all.
# Digits with a high risk tend to be those with a high memorization score, but the two are not the
# same. The score says how far log p moves; the risk, whether that is more than it moves by chance.

# %%
risk = plain.attacks.risk
value, low, high = risk.rank_correlation
print(f"rank correlation of risk and score: {value:.2f} [{low:.2f}, {high:.2f}]")
print(f"mean risk: {risk.mean:.1%}; found in at least half of their models: {risk.found_in_most}")
print(f"records that are at risk beyond doubt: {risk.at_risk}")

# %% [markdown]
# The last line is a matter of evidence. Of 600 records, 16 models single out hardly any beyond
# doubt, after a correction for looking at 600. It does not say that nobody is at risk: the rates
# above say otherwise.
#
# ## Does early stopping help?

# %%
stopped = memo.measure(
    values,
    vae,
    title="VAE, stopped early",
    mitigations=[{"kind": "early-stopping", "patience": 5}],
    **settings,
)
with pl.Config(fmt_str_lengths=150, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
    print(rates(stopped))

# %%
difference = memo.compare(plain, stopped)
difference

# %%
difference.chart()

# %% [markdown]
# Each rectangle counts digits: those below the diagonal are memorized less than before.
#
# Scores go down, and so does the AUC, by more than its intervals. Whether fewer are found at 1% is
# not shown: 5% and 7%, but the intervals overlap. And look at the last row: held-out log-likelihood
# falls by 1.5 nats. The first model was still learning, as the warning says, and stopping it early
# buys a little privacy for a worse density. That is a trade, and the numbers above are what it is
# decided by.
#
# ## How far to trust this
#
# - It is a floor, not a ceiling. A better attack may find more; one that sees the weights may, too.
# - The attacker is assumed to have data of the same kind, and to know how the model was trained.
# - From the rates follows a lower bound of epsilon, `plain.attacks.epsilon`. It says how private
#   the training is *not*. Only `dp-sgd` promises an upper one ([Mitigations](../mitigations.md)).
# - That a record is "found" is no proof that it was in the training data: at 1%, one in a hundred
#   who were not is found, too.
#
# ## Next
#
# - [What an attacker learns](../attacks.md) explains the attacks, their intervals, and the bound.
# - [A gate for releases](../gate.md) sets a limit to these rates.
