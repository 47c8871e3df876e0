"""The stage `attack`, tables from elsewhere, other models, pages: from the spec to the files."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_wine
from typer.testing import CliRunner

import memo
from memo.artifacts.files import ArtifactError
from memo.artifacts.layout import Layout
from memo.attacks import PRIMARY
from memo.cli import app
from memo.commands.elsewhere.attack_target import attack_target
from memo.commands.elsewhere.score_table import score_table
from memo.errors import InputError
from memo.experiments.attacked.attacking import attack_experiment, attacked_models
from memo.experiments.log_likelihoods import scored_densities
from memo.experiments.side_by_side import Compared, compare_experiments
from memo.pipeline.attack import attack
from memo.pipeline.compare import compare, with_attacks, workspace_scores
from memo.pipeline.neighbors import neighbors
from memo.pipeline.report import report
from memo.pipeline.sample import sample
from memo.pipeline.stored_experiment import StoredExperiment
from memo.report.attacker.attacker_words import attacker_section
from tests.conftest import command
from tests.in_process import scored_experiments

EXPERIMENT = """\
  {name}: {{dataset: digits, model: {{kind: kde, bandwidth: {width}}}, training: {{}},
    mitigations: [{mitigation}], scoring: {{design: {{{design}}}, epochs: []}}, seed: 1}}
"""
K_FOLD = "kind: k-fold, folds: 3, repeats: {}".format
EXPERIMENTS = {
    "kde": (0.35, "", K_FOLD(3)),
    "broad": (100.0, "", K_FOLD(3)),
    "halves": (0.35, "", "kind: subsets, fraction: 0.5, models: 10"),
    "once": (0.35, "", K_FOLD(1)),
    "exact": (0.35, "", "kind: leave-one-out"),
    "together": (0.35, "kind: ensemble", K_FOLD(3)),
}
SPEC = (
    "datasets:\n  digits: {kind: digits, values: continuous, limit: 270}\nexperiments:\n"
    + "".join(
        EXPERIMENT.format(name=name, width=width, mitigation=f"{{{m}}}" if m else "", design=design)
        for name, (width, m, design) in EXPERIMENTS.items()
    )
)


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StoredExperiment]:
    """Every experiment, scored and attacked."""
    folder = tmp_path_factory.mktemp("attacks")
    (folder / "expanded.yaml").write_text("expanded: {}\n")
    loaded = {name: one for name, (one, _) in scored_experiments(folder, SPEC).items()}
    for experiment in loaded.values():
        attack(experiment)
    return loaded


def test_a_density_that_peaks_at_its_members_gives_them_away(
    experiments: dict[str, StoredExperiment],
) -> None:
    for name, groups in (("kde", 3), ("halves", 5)):
        found = experiments[name].read_attacks()
        assert found.results.groups == groups
        assert found.results.headline.auc > 0.95
        assert found.risks["index"].to_list() == list(range(270))
        rate = found.results.headline.rates[0]
        members = sum(len(d.model.members) for d in scored_densities(experiments[name]))
        assert (rate.members, rate.members + rate.non_members) == (
            members,
            270 * groups * (3 if name == "kde" else 2),
        )
    assert experiments["kde"].read_attacks().results.references_in == (4, 4)
    assert experiments["kde"].read_attacks().results.references_out == (2, 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("once", "there is one repeat, .* set scoring.design.repeats: 2 or more"),
        ("exact", "closed form .* set scoring.design.kind: k-fold, with 2 repeats or more"),
        ("together", "'ensemble' releases the density of several models together"),
    ],
)
def test_the_reason_is_given_where_nothing_can_be_attacked(
    experiments: dict[str, StoredExperiment], name: str, words: str
) -> None:
    found = experiments[name].read_attacks()
    assert found.results.attacks == {}
    assert found.results.reason is not None

    assert re.search(words, found.results.reason)
    assert len(found.risks) == 0
    with pytest.raises(InputError, match=words):
        attack_target(experiments[name], Path("none.csv"))


def test_the_page_and_the_metrics_say_what_was_found(
    experiments: dict[str, StoredExperiment],
) -> None:
    for name in ("kde", "once"):
        experiment = experiments[name]
        sample(experiment)
        neighbors(experiment)
        report(experiment)
        folder = experiment.layout.report(name)
        page = (folder / "index.html").read_text()
        numbers = json.loads((folder / "metrics.json").read_text())["attacks"]
        assert "What an attacker learns" in page
        if name == "once":
            assert "Nothing was attacked: there is one repeat" in page
            assert set(numbers) == {"reason"}
            continue
        results = experiment.read_attacks().results
        assert numbers["auc"] == results.headline.auc
        assert numbers["tpr_at_fpr_0.1"] == results.headline.rates[0].tpr
        assert numbers["tpr_at_fpr_0.001"] is None
        assert "No numbers at 0.1%: a false positive rate of 0.1% is not resolved" in page
        assert 'href="charts/attacker-roc.svg"' in page
        assert (folder / "charts" / "attacker-roc.svg").is_file()


def test_files_of_another_spec_or_damaged_ones_are_refused(
    experiments: dict[str, StoredExperiment],
) -> None:
    experiment = experiments["kde"]
    file = experiment.layout.attack_results("kde")
    truth = file.read_bytes()
    file.write_bytes(experiments["broad"].layout.attack_results("broad").read_bytes())
    with pytest.raises(ArtifactError, match="belongs to another spec; run: memo attack kde"):
        experiment.read_attacks()
    for wrong in (
        b"",
        b"[]",
        b'{"epoch": 1e400, "primary": "x"}',
        truth.replace(b"0.1", b"1.1", 1),
    ):
        file.write_bytes(wrong)
        with pytest.raises(ArtifactError, match=r"kde\.json: is not a whole file of attacks"):
            experiment.read_attacks()
    file.write_bytes(truth)
    assert experiment.read_attacks().results.headline.auc > 0.9


def test_tables_from_elsewhere_get_the_same_attacks(
    experiments: dict[str, StoredExperiment], tmp_path: Path
) -> None:
    experiment = experiments["kde"]
    tables = [
        experiment.read_log_likelihoods(density).select(
            "index",
            "log_likelihood",
            in_training=~pl.col("held_out"),
            model=pl.lit(density.name),
            block=pl.lit(str(density.block)),
        )
        for density in scored_densities(experiment)
    ]
    pl.concat(tables).write_parquet(tmp_path / "own.parquet")
    score_table(tmp_path / "own.parquet", Layout(tmp_path), "own", "mean-log")
    own = json.loads((tmp_path / "artifacts" / "attacks" / "own.json").read_text())
    first = json.loads(experiment.layout.attack_results("kde").read_text())
    assert own["attacks"] == first["attacks"]
    assert own["risk"]["at_risk"] == first["risk"]["at_risk"] if first["risk"] else True
    assert "What an attacker learns" in (tmp_path / "reports" / "own" / "index.html").read_text()


def released(experiment: StoredExperiment, members: int) -> pl.DataFrame:
    """log p under a density that was fitted elsewhere to the first records."""
    models = attacked_models(
        experiment,
        [experiment.read_log_likelihoods(density) for density in scored_densities(experiment)],
    )
    references = models.references(np.arange(9))
    inside = np.arange(270) < members
    noise = np.random.default_rng(0).normal(0, 1e-3, 270)
    log_p = np.where(inside, references.mean_in, references.mean_out) + noise
    return pl.DataFrame({"index": np.arange(270), "log_likelihood": log_p})


def test_a_released_models_members_are_told(
    experiments: dict[str, StoredExperiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = experiments["kde"]
    released(experiment, 100).write_csv(tmp_path / "target.csv")
    found = attack_target(experiment, tmp_path / "target.csv", tmp_path / "answers.csv")
    chosen = found.table.filter("member_at_0.1")["index"].to_numpy()
    assert (chosen < 100).mean() > 0.9
    assert len(chosen) > 80
    assert found.warnings == []
    assert len(pl.read_csv(tmp_path / "answers.csv")) == 270
    monkeypatch.chdir(experiment.layout.root)
    target = ["attack", "kde", "--target", str(tmp_path / "target.csv")]
    said = json.loads(CliRunner().invoke(app, [*target, "--json"]).output)
    assert said["members_at"] == {
        "0.1": len(chosen),
        "0.01": said["members_at"]["0.01"],
        "0.001": None,
    }
    assert len(said["records"]) == said["judged"] == 270
    shifted = released(experiment, 100).with_columns(pl.col("log_likelihood") + 1e4)
    shifted.write_csv(tmp_path / "shifted.csv")
    words = CliRunner().invoke(app, [*target[:-1], str(tmp_path / "shifted.csv")]).output
    assert "it is another kind of model" in " ".join(words.split())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"index": [0, 270], "log_likelihood": [1.0, 2.0]}, "row 2, column 'index': 270 is beyond"),
        ({"index": [0, 0], "log_likelihood": [1.0, 2.0]}, "row 2, column 'index': 0 is there twic"),
        ({"index": [0], "log_likelihood": [None]}, "row 1, column 'log_likelihood': is empty"),
        ({"id": ["nobody"], "log_likelihood": [1.0]}, "'nobody' is not an id"),
        ({"index": [0], "log_likelihod": [1.0]}, "did you mean 'log_likelihood'"),
        ({"index": [0]}, "has no column 'log_likelihood'"),
        ({"log_likelihood": [1.0]}, "has neither a column 'index' nor 'id'"),
        ({"index": [0], "log_likelihood": [1.0], "model": ["a"]}, "column 'model' is not known"),
    ],
)
def test_a_wrong_table_of_a_target_is_one_message(
    experiments: dict[str, StoredExperiment],
    tmp_path: Path,
    table: dict[str, list[object]],
    words: str,
) -> None:
    file = tmp_path / "target.csv"
    pl.DataFrame(table).write_csv(file)
    with pytest.raises(InputError, match=words):
        attack_target(experiments["kde"], file)


def test_a_fold_model_itself_is_no_target(
    experiments: dict[str, StoredExperiment], tmp_path: Path
) -> None:
    experiment = experiments["kde"]
    table = experiment.read_log_likelihoods(scored_densities(experiment)[0])
    table.select("index", "log_likelihood").write_parquet(tmp_path / "target.parquet")
    with pytest.raises(InputError, match="one of the models that would be references"):
        attack_target(experiment, tmp_path / "target.parquet")


def test_the_frontier_shows_members_found(experiments: dict[str, StoredExperiment]) -> None:
    layout = experiments["kde"].layout
    trades = [
        with_attacks(layout, trade) for trade in workspace_scores(None, layout, ["kde", "broad"])
    ]
    compared = compare_experiments(trades, statistic="tpr-at-0.1")
    assert compared.data.frontier is not None
    first, second = compared.data.frontier.points
    rates = [
        experiments[name].read_attacks().results.headline.rates[0] for name in ("kde", "broad")
    ]
    for point, rate in zip((first, second), rates, strict=True):
        assert rate.tpr is not None
        assert rate.interval is not None
        assert point.memorization.value == pytest.approx(100 * rate.tpr)
        assert point.memorization.low == pytest.approx(100 * rate.interval[0])
    assert compared.data.frontier.unit == "%"
    assert second.memorization_difference is not None
    assert second.memorization_difference.value == pytest.approx(
        second.memorization.value - first.memorization.value
    )
    assert "gives fewer members away" in second.verdict
    with pytest.raises(InputError, match=r"kde: a false positive rate of 0\.1% is not resolved"):
        compare_experiments(trades, statistic="tpr-at-0.001")
    once = with_attacks(layout, workspace_scores(None, layout, ["once"])[0])
    with pytest.raises(InputError, match="once: nothing was attacked: there is one repeat"):
        compare_experiments([once, *trades], statistic="tpr-at-0.1")


def test_attacks_of_another_revision_are_compared(
    experiments: dict[str, StoredExperiment], tmp_path: Path
) -> None:
    root = tmp_path / "project"
    shutil.copytree(experiments["kde"].layout.root, root)
    layout, git = Layout(root), ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")
    command(root, "git", "init", "-q")
    command(root, "dvc", "init", "-q")
    for file in (layout.scores("kde"), layout.attack_results("kde")):
        command(root, "dvc", "add", "-q", str(file))
        command(root, "git", "add", ".dvc", str(file) + ".dvc")
        command(root, *git, "commit", "-qm", file.name)
    before = with_attacks(layout, workspace_scores(None, layout, ["kde"])[0]).attacked
    layout.attack_results("kde").unlink()
    shutil.copy(layout.attack_results("broad"), layout.attack_results("kde"))

    def compared(revision: str) -> Compared:
        given = {"baseline": None, "statistic": "tpr-at-0.1", "folder": tmp_path / "page"}
        return compare(None, layout, ["kde"], revision=revision, **given)

    frontier = compared("HEAD").data.frontier
    assert frontier is not None
    assert [point.name for point in frontier.points] == ["kde", "kde@HEAD"]
    assert before is not None
    assert frontier.points[1].memorization.value == 100 * before.headline.rates[0].tpr
    assert frontier.points[0].memorization.value < frontier.points[1].memorization.value
    with pytest.raises(InputError, match=r"--rev HEAD~1: kde\.json of its attacks is not tracked"):
        compared("HEAD~1")


PRIVATE = """\
datasets:
  digits: {kind: digits, values: continuous, limit: 130}
experiments:
  noiseless:
    dataset: digits
    model: {kind: flow, architecture: maf, transforms: 1, hidden: [16]}
    training: {epochs: 25, batch_size: 33, learning_rate: 2.0e-2}
    mitigations: [{kind: dp-sgd, noise_multiplier: 1.0e-3}]
    scoring: {design: {kind: subsets, fraction: 0.5, models: 10}, epochs: [25]}
    seed: 1
"""


def test_training_without_noise_breaks_the_promise_of_a_wrong_accountant(tmp_path: Path) -> None:
    """dp-sgd clips and adds next to no noise, and what is stored is the epsilon of enough noise."""
    experiment, _ = scored_experiments(tmp_path, PRIVATE)["noiseless"]
    scores = experiment.read_scores()
    tables = [experiment.read_log_likelihoods(density) for density in scored_densities(experiment)]
    honest = attack_experiment(experiment, tables, scores).results.epsilon
    assert honest is not None
    assert honest.promised is not None
    assert honest.promised > 1e6
    assert not honest.broken
    wrong = replace(scores, facts=scores.facts | {"epsilon": "1.0"})
    found = attack_experiment(experiment, tables, wrong)
    bound = found.results.epsilon
    assert bound is not None
    assert bound.promised == 1.0
    assert bound.broken
    words = attacker_section(found, scores.last.table).broken
    assert words is not None
    assert "at delta 1e-5, and the accountant promises 1. " in words


def test_wine_is_attacked_in_a_notebook() -> None:
    wine = load_wine().data
    values = (wine - wine.mean(0)) / wine.std(0)
    design = {"kind": "k-fold", "folds": 5, "repeats": 4}
    found = memo.measure(values, {"kind": "normal"}, design=design, workers=1)
    assert found.attacks.primary == PRIMARY
    rate = found.attacks.headline.rates[0]
    assert rate.interval is not None
    assert rate.interval[0] > rate.fpr  # a normal density of 13 columns and 178 records
    assert found.attacks.headline.auc > 0.6
    assert len(found.risks) == 178
    exact = {"kind": "leave-one-out"}
    alone = memo.measure(values, {"kind": "normal"}, design=exact, workers=1)
    assert alone.attacks.reason is not None
