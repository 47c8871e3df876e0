"""The gate: its rule against intervals and simulation, its files, and a project that it judges."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as Xml
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from typer.testing import CliRunner

from memo.artifacts.files import ArtifactError
from memo.artifacts.text.json_files import read_facts
from memo.cli import app
from memo.errors import InputError
from memo.gate.decision import EXIT_CODES, Finding, decide, overall
from memo.gate.flags import flagged_records
from memo.gate.forecast import MOST, POWER, Forecast, repeats_needed
from memo.gate.judgement import Judgement, judge
from memo.gate.measures import MEASURES
from memo.pipeline.attack import attack
from memo.pipeline.gate import flagged, gate, gate_as_json
from memo.pipeline.neighbors import neighbors
from memo.pipeline.report import report
from memo.pipeline.sample import sample
from memo.project.policy_reading import read_policy
from memo.project.reading import SpecError, read_project
from memo.report.audit.card_page import CardData, card_markdown, junit_xml, render_card
from memo.scores.intervals import t_interval
from memo.scores.statistics import STATISTICS
from memo.scores.summaries import Estimate
from memo.spec.policy_specs import PolicySpec
from tests.browser import CHROMIUM, FLAGS, needs_chromium
from tests.conftest import SMALL, edit
from tests.in_process import load

DECLARED = {"owner": "A. Miller", "intended_use": "research"}


def policy(limits, **more):
    return PolicySpec(declared=DECLARED, limits=limits, **more)


@pytest.mark.parametrize(
    ("low", "high", "limit", "verdict"),
    [
        (1.0, 3.0, 4.0, "pass"),
        (1.0, 3.0, 3.0, "pass"),
        (1.0, 3.0, 2.9, "not enough evidence"),
        (1.0, 3.0, 1.0, "not enough evidence"),
        (1.0, 3.0, 0.9, "fail"),
        (2.0, 2.0, 2.0, "pass"),  # exact
        (2.0, 2.0, 1.9, "fail"),
        (1.0, np.inf, 5.0, "not enough evidence"),
        (6.0, np.inf, 5.0, "fail"),
        (None, None, 9.0, "not enough evidence"),
        (1.0, None, 9.0, "not enough evidence"),
    ],
)
def test_an_interval_against_a_limit(low, high, limit, verdict):
    assert decide(Estimate(2.0, None, low, high), limit) == verdict


def test_the_verdict_over_all_is_the_worst():
    ok, no, open_ = "pass", "fail", "not enough evidence"
    for verdicts, expected in (
        ([ok, ok], ok), ([ok, open_], open_), ([open_, no, ok], no), ([no], no)
    ):  # fmt: skip
        assert overall(verdicts) == expected
    with pytest.raises(ValueError, match="decides nothing"):
        overall([])
    assert {ok: 0, no: 1, open_: 3} == EXIT_CODES


def test_at_the_limit_verdicts_are_wrong_in_five_percent():
    """Studies of a mean over a few repeats, whose true value is the limit."""
    rng, studies = np.random.default_rng(0), 4000
    for repeats in (2, 3, 10):
        found = []
        values = rng.normal(1.0, 2.0, (studies, repeats))
        reach = t_interval(0.0, 1.0, repeats - 1)[1] * values.std(1, ddof=1) / np.sqrt(repeats)
        for mean, half in zip(values.mean(1), reach, strict=True):
            found.append(decide(Estimate(mean, None, mean - half, mean + half), 1.0))
        wrong = studies - found.count("not enough evidence")
        assert wrong <= stats.binom.ppf(0.999, studies, 0.05)
        assert found.count("pass") == pytest.approx(wrong / 2, abs=4 * np.sqrt(wrong) / 2)


@pytest.mark.parametrize("by_t", [True, False])
@pytest.mark.parametrize(("limit", "now"), [(1.4, 4), (0.75, 4), (2.0, 2)])
def test_so_many_repeats_decide_as_often_as_is_forecast(by_t, limit, now):
    """Repeats differ by a deviation of 1; the study that forecasts has the true mean and error."""
    rng, mean = np.random.default_rng(1), 1.0

    def times_error(repeats):
        return t_interval(0.0, 1.0, repeats - 1 if by_t else np.inf)[1] / np.sqrt(repeats)

    def decided(repeats):
        values = rng.normal(mean, 1.0, (3000, repeats))
        reach = times_error(repeats) * (values.std(1, ddof=1) if by_t else np.ones(3000))
        found = [
            decide(Estimate(value, None, value - half, value + half), limit)
            for value, half in zip(values.mean(1), reach, strict=True)
        ]
        right = "pass" if limit >= mean else "fail"
        assert found.count(right) >= 0.97 * (len(found) - found.count("not enough evidence"))
        return 1 - found.count("not enough evidence") / len(found)

    half = times_error(now)
    at = Estimate(mean, None, mean - half, mean + half)
    forecast = repeats_needed(at, limit, now, by_t=by_t)
    assert forecast.now == now
    assert decided(forecast.repeats) == pytest.approx(POWER, abs=0.1)
    assert decided(max(now, forecast.repeats // 2)) < POWER - 0.1


def test_a_value_at_its_limit_is_decided_by_no_number_of_repeats():
    at = Estimate(1.0, 0.5, 0.0, 2.0)
    assert repeats_needed(at, 1.0, 5) == Forecast(None, 5)
    reach, likely = stats.norm.ppf([0.975, POWER])
    for needed in (20, MOST, MOST + 1):
        distance = (reach + likely) / reach * np.sqrt(5 / needed) * (1 + 1e-9)
        expected = needed if needed <= MOST else None
        assert repeats_needed(at, 1.0 + distance, 5).repeats == expected
        assert repeats_needed(at, 1.0 - distance, 5).repeats == expected
    for estimate, repeats in ((Estimate(1.0, None), 5), (at, 1)):
        with pytest.raises(ValueError, match="two or more repeats"):
            repeats_needed(estimate, 1.0, repeats)


ATTACKS = {"groups": 3, "auc": 0.7, "auc_interval": [0.6, 0.8], "tpr_at_fpr_0.1": 0.3}
ATTACKS |= {"tpr_at_fpr_0.1_interval": None, "tpr_at_fpr_0.01": None}
EXTRACTED = {"records": 200, "difference": 0.02, "difference_interval": [0.01, 0.03]}
METRICS = {
    "exact": False,
    "aggregate": "mean-log",
    "repeats": 3,
    "observations": 50,
    "memorization": dict.fromkeys(STATISTICS, 2.0),
    "memorization_interval": {name: [1.0, 3.0] for name in STATISTICS} | {"max": None},
    "above_threshold": 0.1,
    "above_threshold_interval": [0.06, 0.2],
    "warnings": [],
    "attacks": ATTACKS,
    "extraction": EXTRACTED,
}


def epsilon(low, promised):
    return {"attacks": ATTACKS | {"epsilon_lower_bound": low, "epsilon_promised": promised}}


@pytest.mark.parametrize(
    ("name", "limit", "changes", "verdict", "why"),
    [
        ("q95", 3.0, {}, "pass", "at or below"),
        ("q95", 0.5, {}, "fail", "above the limit"),
        ("q95", 2.5, {}, "not enough evidence", r"About \d+ repeats .* in place of 3"),
        ("q95", 2.0, {}, "not enough evidence", "even 1,000 repeats"),
        ("max", 99.0, {}, "not enough evidence", "scoring.design.repeats"),
        ("max", 99.0, {"aggregate": "paper"}, "not enough evidence", "mean-log"),
        ("above_threshold", 0.2, {}, "pass", ""),
        ("records_above_threshold", 10.0, {}, "pass", ""),
        ("records_above_threshold", 2.9, {}, "fail", ""),
        ("auc", 0.8, {}, "pass", ""),
        ("auc", 0.75, {}, "not enough evidence", r"in place of 3"),
        ("auc", 0.9, {"attacks": None}, "not enough evidence", "memo attack"),
        ("auc", 0.9, {"attacks": {"reason": "Too few. Do x."}}, "not enough evidence", "Do x"),
        ("tpr_at_fpr_0.1", 0.9, {}, "not enough evidence", "no interval"),
        ("tpr_at_fpr_0.01", 0.9, {}, "not enough evidence", "do not resolve"),
        ("epsilon", 8.0, epsilon(None, None), "not enough evidence", "No lower bound"),
        ("epsilon", 8.0, epsilon(1.0, None), "not enough evidence", "dp-sgd"),
        ("epsilon", 0.5, epsilon(1.0, None), "fail", ""),
        ("epsilon", 8.0, epsilon(1.0, 8.0), "pass", ""),
        ("epsilon", 5.0, epsilon(1.0, 8.0), "not enough evidence", "holds the limit"),
        ("epsilon", 9.0, epsilon(4.0, 2.0), "fail", "promise is broken"),
        ("replicas_over_null", 6.0, {}, "pass", ""),
        ("replicas_over_null", 1.0, {}, "fail", ""),
        ("replicas_over_null", 9, {"extraction": {"reason": "Set y."}}, "not enough evidence", "y"),
        ("replicas_over_null", 9.0, {"extraction": None}, "not enough evidence", "samples"),
    ],
)  # fmt: skip
def test_each_demand_is_judged_and_says_why(name, limit, changes, verdict, why):
    judged = judge(policy({name: limit}), METRICS | changes)
    assert judged.verdict == judged.findings[0].verdict == verdict
    assert re.search(why, judged.findings[0].why)


def test_a_warning_leaves_evidence_not_enough_unless_it_is_accepted():
    metrics = METRICS | {"warnings": [{"kind": "untrained", "words": "It has not learned."}]}
    assert judge(policy({"q95": 9.0}), metrics).verdict == "not enough evidence"
    assert judge(policy({"q95": 0.1}), metrics).verdict == "fail"
    accepted = policy({"q95": 9.0}, accepted={"untrained": "It is a test."})
    assert judge(accepted, metrics).verdict == "pass"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits: {q95: 1}", r"declared: is required"),
        ("limits: {q9.9: 1}", r":2: limits.q9.9: no statistic.*did you mean 'q99.9'"),
        ("limits: {auc: 70}", r":2: limits.auc: is a share"),
        ("limits: {q95: -1}", r":2: limits.q95: .*greater than or equal"),
        ("limits: {q95: much}", r":2: limits.q95: .*valid number"),
        ("limits: {}", r"limits: .*at least 1"),
        ("limits: {q95: .nan}", r"limits.q95"),
        ("limits: {q95: 1}\nlimit: {q50: 1}", r":3: limit: unknown key.*'limits'"),
        ("limits: {q95: 1}\nflag: 1.0", r":3: flag: .*less than 1"),
        ("limits: {q95: 1}\naccepted: {untrained: }", r":3: accepted.untrained"),
        ("- a list", r"expected the keys"),
        ("limits: {", r"not valid YAML"),
    ],
)
def test_a_wrong_policy_is_named_by_line(text, message, tmp_path):
    file = tmp_path / "policy.yaml"
    declared = f"declared: {json.dumps(DECLARED)}\n" * ("required" not in message)
    file.write_text(text if text.startswith("-") else declared + text)
    with pytest.raises(SpecError, match=message):
        read_policy(file)


def test_a_policy_of_no_experiment_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_text(SMALL + "policies: {fats: policy.yaml}\n")
    with pytest.raises(SpecError, match=r"policies.fats: no experiment.*did you mean 'fast'"):
        read_project(tmp_path / "params.yaml")


WARNINGS = ("power", "undertrained", "samples-noise", "two-repeats", "unreliable-log-likelihoods")
POLICY = {
    "declared": DECLARED,
    "limits": {"mean": 50, "q95": 50, "replicas_over_null": 50},
    "accepted": dict.fromkeys(WARNINGS, "a test"),
}


@pytest.fixture(scope="module")
def judged(trained, tmp_path_factory):
    """A small project with everything that a gate reads."""
    folder = tmp_path_factory.mktemp("gate") / "project"
    shutil.copytree(trained, folder)
    edit(
        folder / "params.yaml",
        "      likelihood:",
        "      samples: {fold_models: 20}\n      likelihood:",
    )
    with (folder / "params.yaml").open("a") as file:
        file.write("policies: {fast: policy.yaml}\n")
    (folder / "policy.yaml").write_text(json.dumps(POLICY))
    experiment = load(folder)
    sample(experiment)
    neighbors(experiment)
    attack(experiment)
    report(experiment)
    return folder


def run_gate(folder, limits, **more):
    """The verdict in a project on disk, whose paths are relative."""
    file = folder / "other.yaml"
    file.write_text(json.dumps(POLICY | {"limits": limits} | more))
    project = read_project(folder / "params.yaml")
    return gate(project, load(folder).layout, "fast", file)


def test_a_project_passes_fails_and_lacks_evidence_by_its_policy(judged):
    metrics = read_facts(judged / "reports/fast/metrics.json")
    low, high = metrics["memorization_interval"]["max"]
    assert 0 < low < high
    for limit, verdict in (
        (high, "pass"), (low - 1e-9, "fail"), ((low + high) / 2 + 1e-3, "not enough evidence")
    ):  # fmt: skip
        found = run_gate(judged, {"max": limit})
        assert found.judgement.verdict == verdict
        answer = json.loads(json.dumps(gate_as_json(found), allow_nan=False))
        assert answer["verdict"] == verdict
        assert answer["findings"][0]["interval"] == [low, high]
        page = (judged / "reports/fast/card.html").read_text()
        assert f'<p class="verdict {"open" if " " in verdict else verdict}">{verdict}</p>' in page
    unaccepted = run_gate(judged, {"max": high}, accepted={})
    assert unaccepted.judgement.verdict == "not enough evidence"
    kinds = {finding.name for finding in unaccepted.judgement.findings[1:]}
    assert kinds == {f"warning:{warning['kind']}" for warning in metrics["warnings"]}


def test_a_threshold_of_the_policys_own_is_judged(judged):
    shares = [
        run_gate(judged, {"above_threshold": 0.5}, threshold=threshold).judgement.findings[0]
        for threshold in (0.0, 1.0, 3.0)
    ]
    values = [finding.estimate.value for finding in shares]
    assert values[0] > values[1] > values[2]
    stored = read_facts(judged / "reports/fast/metrics.json")["above_threshold"]
    assert values[1] == stored


def run(folder, *arguments):
    """A command in this process."""
    return CliRunner().invoke(app, ["-C", str(folder), *arguments])


def test_exit_codes_and_files_of_the_commands(judged):
    done = run(judged, "gate", "--junit", "gate.xml", "--markdown")
    assert done.exit_code == 0, done.output
    assert done.stdout == (judged / "reports/fast/card.md").read_text()
    suite = Xml.parse(judged / "gate.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "0", "0")
    (judged / "strict.yaml").write_text(json.dumps(POLICY | {"limits": {"q50": 0, "epsilon": 1}}))
    failed = run(judged, "gate", "fast", "--policy", "strict.yaml")
    assert failed.exit_code == 1
    assert "fail: Median of memorization: at most 0 nats" in failed.stdout
    (judged / "open.yaml").write_text(json.dumps(POLICY | {"limits": {"epsilon": 1}}))
    missing = run(judged, "gate", "--policy", "open.yaml", "--json")
    assert missing.exit_code == 3
    assert json.loads(missing.stdout)["findings"][0]["verdict"] == "not enough evidence"
    (judged / "wrong.yaml").write_text("limits: {}")
    for arguments in (("--policy", "wrong.yaml"), ("--policy", "none.yaml"), ("slow",)):
        wrong = run(judged, "gate", *arguments).exception
        assert isinstance(wrong, InputError)
        assert wrong.exit_code == 2


def test_results_of_other_scores_are_not_judged(judged, tmp_path):
    folder = shutil.copytree(judged, tmp_path / "stale")
    file = folder / "reports/fast/metrics.json"
    numbers = json.loads(file.read_text())
    numbers["memorization"]["mean"] += 1e-6
    file.write_text(json.dumps(numbers))
    with pytest.raises(ArtifactError, match=r"is of other scores.*memo report fast"):
        run_gate(folder, {"mean": 5.0})


def test_flagged_records_are_those_of_a_plain_loop(judged):
    experiment = load(judged)
    table = experiment.read_scores().last.table
    copied = experiment.read_neighbors(experiment.read_samples())[0].select("index", "replica")
    for probability in (0.05, 0.5):
        (judged / "flags.yaml").write_text(json.dumps(POLICY | {"flag": probability}))
        project = read_project(judged / "params.yaml")
        found = flagged(project, experiment.layout, "fast", judged / "flags.yaml")
        expected = {
            row["index"] for row in table.to_dicts() if row["above_threshold"] >= probability
        }
        replicas = set(copied.filter("replica")["index"])
        assert set(found["index"]) == expected | replicas
        shrunk = found["memorization_shrunk"].to_list()
        assert shrunk == sorted(shrunk, reverse=True)
    everywhere = flagged_records(
        experiment.read_scores(), 0.5, copied.with_columns(replica=pl.lit(value=True))
    )
    assert set(everywhere["index"]) == set(table["index"])
    for row in everywhere.to_dicts():
        assert row["reasons"] == "score; replica" if row["above_threshold"] >= 0.5 else "replica"
    written = run(judged, "export-flagged", "--policy", "flags.yaml").stdout
    assert written.splitlines()[0] == ",".join(found.columns)
    assert len(written.splitlines()) == len(found) + 1
    scores = experiment.read_scores()
    unknown = replace(scores, table=scores.table.with_columns(above_threshold=pl.lit(None, float)))
    with pytest.raises(InputError, match="no record can be flagged"):
        flagged_records(unknown, 0.5, None)


HOSTILE = '<script>hacked=1</script> | @all \x1b[31m "&'


@pytest.fixture(scope="module")
def crowded(judged):
    """A card with all that one can have: every limit, many warnings, records with long ids."""
    card = run_gate(judged, {"mean": 5.0}).card
    metrics = METRICS | {
        "warnings": [
            {"kind": f"kind-{i}", "words": f"{HOSTILE} " + "word " * 90} for i in range(12)
        ]
    }
    judgement = judge(policy(dict.fromkeys(MEASURES, 0.9)), metrics)
    names = [f"{i} {HOSTILE} " + "x" * 300 for i in range(500)]
    return CardData(
        **{
            **vars(card),
            "title": HOSTILE * 4,
            "judgement": judgement,
            "measured": {f"Fact {i}": "many words " * 200 for i in range(14)},
            "flagged": pl.DataFrame({"id": names, "reasons": "score; replica"}),
        }
    )


def test_nothing_in_a_card_is_taken_for_markup(crowded):
    page, markdown = (content.decode() for content in render_card(crowded).values())
    assert markdown == card_markdown(crowded)
    assert "<script" not in page
    assert not re.search(r"(?<!\\)<", markdown)
    assert "\x1b" not in page + markdown
    assert "@all" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(MEASURES)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    finding = Finding(HOSTILE, HOSTILE, "fail", HOSTILE)
    (case,) = Xml.fromstring(junit_xml(HOSTILE, Judgement([finding])).decode())[0]
    assert case.get("name") == HOSTILE.replace("\x1b", r"\x1b")


@needs_chromium
def test_a_crowded_card_prints_to_two_pages(crowded, tmp_path):
    (tmp_path / "card.html").write_bytes(render_card(crowded)["card.html"])
    printed = tmp_path / "card.pdf"
    subprocess.run(
        [
            *(CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"),
            *("--no-pdf-header-footer", f"--print-to-pdf={printed}"),
            (tmp_path / "card.html").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    pages = len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))
    assert 1 <= pages <= 2
