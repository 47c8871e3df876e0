"""A clean environment can repeat the measured numbers: imports are declared, and scripts run."""

import ast
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    attacks,
    designs,
    from_samples,
    held_back,
    likelihood,
    neighbors,
    sample_tests,
    training,
)
from memo.spec.sampled_likelihood_specs import SampledLikelihoodSpec
from tests.conftest import ROOT, SMALL, make_project
from tests.in_process import scored_experiments

SCRIPTS = [
    file
    for folder in ("benchmarks", "examples", "paper", "memo")
    for file in sorted((ROOT / folder).rglob("*.py"))
]


def name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


def declared(*extras: str) -> set[str]:
    """Requirements of pyproject.toml, also in these extras, with their own requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras for line in optional[extra])]
    own = {name_of(line) for line in lines}
    theirs = {name_of(line) for name in own for line in _requirements(name) if ";" not in line}
    return own | theirs


def _requirements(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:  # of an extra that need not be installed
        return []


def imported(file: Path) -> set[str]:
    """Top-level packages that a file imports, and that are neither Python's nor this project's."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    beside = {other.stem for other in file.parent.glob("*.py")}
    return found - sys.stdlib_module_names - beside - {"memo", "benchmarks"}


def test_everything_imported_is_declared() -> None:
    distributions, wanted = packages_distributions(), declared("private", "ray", "samplers")
    undeclared = {
        f"{file.relative_to(ROOT)}: {package}"
        for file in SCRIPTS
        for package in imported(file)
        if not wanted & {name_of(name) for name in distributions.get(package, [package])}
    }
    assert not undeclared


def numbers(line: str) -> list[float]:
    return [float(part) for part in re.findall(r"[-+]?\d+\.?\d*", line.replace(",", ""))]


def test_neighbors_are_those_of_brute_force(capsys: pytest.CaptureFixture[str]) -> None:
    neighbors.main(["--threads", "1", "--checked", "5"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["digits", "digits,"]
    assert [numbers(row)[-1] for row in rows] == [0, 0]


def test_extrapolated_scores_come_nearer_to_exact_ones(capsys: pytest.CaptureFixture[str]) -> None:
    designs.main(["--extrapolate", "--observations", "60", "--studies", "1"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 7 * 5
    kde = [row for row in rows if row[:2] == [" digits, components ", " kde "]]
    for row in kde:
        before, after = float(row[5]), float(row[6])
        assert abs(after) < before


def test_samplers_that_copy_are_caught(capsys: pytest.CaptureFixture[str]) -> None:
    only = ("--only", "nearest-ratio", "two-samples")
    sample_tests.main(["--runs", "2", "--copying-runs", "1", *only])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "`" in line]
    assert [numbers(row[4])[0] for row in rows[:2]] == [100, 100]
    assert numbers(rows[-1][2])[0] > 70


def test_attacks_are_timed_and_their_bounds_counted(capsys: pytest.CaptureFixture[str]) -> None:
    attacks.main(["time", "--records", "600", "--models", "20"])
    areas = [numbers(row)[-1] for row in capsys.readouterr().out.splitlines()]
    assert len(areas) == 2
    assert all(0.6 < area < 0.8 for area in areas)
    attacks.main(["epsilon", "--studies", "2"])
    for row in capsys.readouterr().out.splitlines():
        assert "; above it 0.000 " in row


def test_few_repeats_are_set_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_project(tmp_path / "project")
    scored_experiments(folder, SMALL.replace("repeats: 2", "repeats: 6"))
    held_back.main([str(folder), "fast", "--repeats", "3"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    counts = [int(row[1]) for row in rows]
    assert sum(counts[:-1]) == counts[-1] == 2 * 60  # each record once by each half of the repeats
    score, _, others, error, *_ = map(float, rows[-1][2:])
    assert score == pytest.approx(others, abs=0.01)  # each half is the other's others
    assert error > 0
    shrunk = [float(row[3]) for row in rows[:-1]]
    assert shrunk == sorted(shrunk)
    shares = np.array([[float(cell) for cell in row[6:8]] for row in rows])
    assert (shares[-1] > 0.85).all()


def test_designs_are_measured_against_exact_scores(capsys: pytest.CaptureFixture[str]) -> None:
    designs.main(["--observations", "60", "--studies", "1"])
    rows = [row for row in capsys.readouterr().out.splitlines() if row.startswith(("| k", "| s"))]
    assert len(rows) == 3 * len(designs.designs())
    for row in rows[:6]:  # of a kernel density, whose fit is not random
        fewest, most = (numbers(cell)[0] for cell in row.split("|")[4:7:2])
        assert 0 < most <= fewest + 0.01


def test_exact_scores_of_noisy_fits_are_means_of_logs() -> None:
    """Against the mean of log p over 40,000 trainings, to five of its standard errors."""
    x = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 2.0, 0.5]
    family = designs.NoisyNormal(x, 0.6)
    members, stream = np.arange(1, 40), np.random.default_rng(1)
    drawn = np.stack([family.log_p(members, stream) for _ in range(40_000)])
    error = drawn.std(0) / len(drawn) ** 0.5
    assert (np.abs(drawn.mean(0) - family.expected_log_p(members)) < 5 * error).all()
    log_of_mean = np.log(np.exp(drawn).mean(0))
    assert (log_of_mean - family.expected_log_p(members) > 5 * error).all()


def test_intervals_of_many_blocks_hold_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    designs.main(["--blocks", "--scores", "200"])
    rows = [numbers(row) for row in capsys.readouterr().out.splitlines()[2:]]
    coverage = [row[3] for row in rows]
    assert len(coverage) == 2 * (5 + 7)
    assert all(abs(share - 0.95) < 4 * (0.95 * 0.05 / 200) ** 0.5 for share in coverage)


def test_training_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    training.main(["--repeats", "1", "--cores", "1", "--epochs", "1"])
    rows = capsys.readouterr().out.splitlines()[3:]
    assert [row.split()[1] for row in rows] == ["plain", *["float32"] * 4, "bfloat16"]
    for row in rows:
        *_, per_step, models_per_hour, flops, peak, share = numbers(row)
        assert min(per_step, models_per_hour, flops, peak) > 0
        assert share == pytest.approx(100 * flops / peak, abs=2)


def test_likelihoods_agree_with_their_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--only", "digits-demo", "--images", "4", "--repeats", "2", "--epochs", "2")
    likelihood.main([*small, "--cache", str(tmp_path)])
    rows = [row for row in capsys.readouterr().out.splitlines() if re.search(r" (in|out)  ", row)]
    assert len(rows) == 2 * len(likelihood.ESTIMATORS)
    for row in rows:
        root_mean_square = float(row.split("±")[1].split()[2])
        assert root_mean_square < 0.4  # nats: the loosest tolerance


def test_scores_from_samples_rank_as_exact_ones_do_in_two_dimensions() -> None:
    values = from_samples.clusters(2, records=100)
    exact = from_samples.exact_scores(values, {"kind": "kde", "bandwidth": 0.4}, {})
    spec = SampledLikelihoodSpec(kind="samples", max_samples=10_000)
    row = from_samples.from_samples(exact, spec)
    assert row.rank > 0.8
    assert row.coverage > 0.8
