"""Trades that nothing beats, and verdicts that hold all together."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from opacus.accountants import RDPAccountant
from scipy import stats

from memo.datasets.registry import prepare_dataset
from memo.experiments.experiment import plan_experiment
from memo.experiments.trade_off import Trade, frontier, remainder
from memo.mitigations.stored_facts import mitigation_paragraphs
from memo.project.experiment_spec import ExperimentSpec
from memo.scores.comparison import compare_scores
from memo.scores.frontier import holm, p_value, undominated
from memo.scores.summaries import Estimate
from memo.scores.table import Scores
from memo.spec.dataset_specs import DigitsSpec


def test_what_nothing_beats() -> None:
    cost = np.array([1.0, 2.0, 3.0, 2.0, 1.0])
    gain = np.array([0.0, 1.0, 0.5, 1.0, -1.0])
    assert undominated(cost, gain).tolist() == [True, True, False, True, False]
    rng = np.random.default_rng(0)
    cost, gain = rng.normal(size=(2, 200))
    beaten = [any(cost[j] < cost[i] and gain[j] > gain[i] for j in range(200)) for i in range(200)]
    assert undominated(cost, gain).tolist() == [not b for b in beaten]


def test_p_values_are_students() -> None:
    sample = np.random.default_rng(0).normal(0.4, 1, 12)
    estimate = Estimate(sample.mean(), sample.std(ddof=1) / 12**0.5)
    assert p_value(estimate, 11) == pytest.approx(stats.ttest_1samp(sample, 0).pvalue)
    assert p_value(Estimate(1.0, None), 3) is None
    assert p_value(Estimate(1.0, 0.0), 3) == 0
    assert p_value(Estimate(0.0, 0.0), 3) == 1


def test_holm_by_hand_and_its_error_rate() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    uniform = np.random.default_rng(1).uniform(size=(2000, 20))
    wrong = np.mean([min(holm(row.tolist())) <= 0.05 for row in uniform])
    assert wrong == pytest.approx(0.05, abs=0.015)


def table(memorization: np.ndarray, held_out: np.ndarray, repeats: np.ndarray) -> pl.DataFrame:
    n = len(memorization)
    return pl.DataFrame(
        {
            "index": np.arange(n),
            "id": [str(i) for i in range(n)],
            "label": [None] * n,
            "epoch": np.full(n, 5),
            "memorization": memorization,
            "std_error": np.full(n, 0.1),
            "estimator_std_error": np.full(n, 0.1),
            "log_p_in": memorization,
            "log_p_out": np.zeros(n),
            "mean_log_likelihood_in": held_out + memorization,
            "mean_log_likelihood_out": held_out,
            "memorization_without_repeat": repeats.T.tolist(),
        },
        schema_overrides={"label": pl.String},
    )


def trades(shift: float, worse: float, seed: int = 0) -> list[Trade]:
    """A baseline, and one that memorizes `shift` more and is `worse` nats better held out."""
    rng = np.random.default_rng(seed)
    memorization, held_out = rng.gamma(2, 1, 200), rng.normal(-20, 2, 200)
    noise = rng.normal(0, 0.01, (2, 6, 200))
    tables = [
        table(memorization + by, held_out + up + rng.normal(0, 0.1, 200), memorization + by + e)
        for by, up, e in zip((0, shift), (0, worse), noise, strict=True)
    ]
    first, second = (Scores(each, {"partitions": "p"}) for each in tables)
    difference = compare_scores(first, second, same_partitions=True)
    return [Trade("a", "A", first, 1.0), Trade("b", "B", second, 2.0, difference)]


@pytest.mark.parametrize(
    ("shift", "worse", "words"),
    [
        (-1.0, -0.5, "memorizes less; held-out likelihood lower"),
        (1.0, 0.5, "memorizes more; held-out likelihood higher"),
        (0.0, 0.0, "no difference in memorization shown; none in held-out likelihood"),
    ],
)
def test_verdicts_say_what_was_put_in(shift: float, worse: float, words: str) -> None:
    found = frontier(trades(shift, worse), "a", "q95", None)
    assert found.points[1].verdict == words
    assert found.points[0].memorization_difference is None


def test_movers_are_those_whose_scores_changed_most() -> None:
    first, second = trades(0.0, 0.0)
    moved = first.scores.memorization.copy()
    moved[[3, 5]] += [7.0, 9.0]
    moved[[8, 2]] -= [6.0, 4.0]
    changed = Scores(first.scores.table.with_columns(memorization=moved))
    other = Trade("b", "B", changed, difference=second.difference)
    (movers,) = frontier([first, other], "a", "q95", None).movers
    assert [m.index for m in movers.gained] == [5, 3]
    assert [m.index for m in movers.lost] == [8, 2]
    assert movers.gained[0].after - movers.gained[0].before == pytest.approx(9)


def test_the_rest_is_looked_at_without_what_was_removed() -> None:
    twin, removal = trades(0.3, 0.0)
    top = twin.scores.table.sort("memorization")["index"].tail(20).to_list()
    scores = replace(removal.scores, facts={"partitions": "p", "removed": str(top)})
    removal = replace(removal, scores=scores)
    found = remainder(removal, twin, "c", chosen_by_twin=False)
    rows = {row.name: row for row in found.rows}
    kept = twin.scores.table.filter(~pl.col("index").is_in(top))["memorization"]
    errors = twin.scores.table["std_error"].mean()
    assert rows["95% quantile, before"].value == pytest.approx(
        kept.quantile(0.95, "linear"), abs=errors
    )
    assert rows["95% quantile, change"].value == pytest.approx(0.3, abs=errors)
    assert rows["95% quantile, change"].meaning.startswith("A new layer is memorized")
    assert not any("regression" in sentence for sentence in found.sentences)
    same = remainder(removal, twin, "a", chosen_by_twin=True)
    assert any("regression to the mean" in sentence for sentence in same.sentences)


def test_the_report_says_what_of_privacy_holds_and_what_is_only_suggestive() -> None:
    spec = ExperimentSpec.model_validate(
        {
            "dataset": "digits",
            "model": {"kind": "vae", "network": {"kind": "mlp"}},
            "training": {"epochs": 10, "batch_size": 10},
            "mitigations": [{"kind": "dp-sgd", "noise_multiplier": 2.0}],
            "scoring": {"design": {"kind": "k-fold", "folds": 2}, "epochs": [5]},
            "seed": 0,
        }
    )
    data = prepare_dataset(DigitsSpec(kind="digits", limit=80))
    experiment = plan_experiment("x", spec, data, "")
    (private,) = spec.mitigations
    facts = private.facts(experiment.scored_models())
    accountant = RDPAccountant()
    for _ in range(5 * 4):  # half of 80 observations in batches of 10, until the scored epoch
        accountant.step(noise_multiplier=2.0, sample_rate=1 / 4)
    epsilon = accountant.get_epsilon(1e-5)
    assert facts["epsilon"] == pytest.approx(epsilon)
    memorization = np.linspace(0, 2 * epsilon, 81)[:80]
    scores = pl.DataFrame({"memorization_paper": memorization, "log_p_out": np.full(80, -30.0)})
    words = mitigation_paragraphs(facts, scores, density=False)["Differential privacy"]
    assert words.startswith("Holds: ")
    assert f"{(memorization > epsilon).sum()} of 80 such scores are" in words
    bound = np.log(np.exp(epsilon) + 1e-5 / np.exp(-30.0))
    assert f"{bound:.3g} nats for the median observation" in words
    assert mitigation_paragraphs({}, scores, density=False) == {}
