"""Pages and charts: what they show, what they weigh, and that they need nothing else."""

import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import altair as alt
import jsonschema
import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy import stats

from memo.datasets.pictures import Pictures
from memo.report.charts.binning import bin_edges, binned_density, histogram, shares_of_bins
from memo.report.comparison_page import render_comparison
from memo.report.experiment_page import LISTED, render_report
from memo.report.galleries import BESIDE, EXAMPLES
from memo.report.numbers import difference_in_words, estimate, interval
from memo.report.page_data import Headline, ReportData
from memo.report.thumbnails import data_uri
from memo.scores.relation import Interval
from tests.browser import needs_chromium, open_page
from tests.report_samples import digits_comparison, digits_report, illustration, with_neighbors

LARGEST_PAGE = 5_000_000
REPORT_CHARTS = {"distribution", "training", "log-likelihood", "log-likelihood-split"}
NEIGHBOR_CHARTS = {"neighbor-ratios", "neighbor-memorization"}


@pytest.fixture(scope="module")
def digits() -> dict[str, bytes]:
    return render_report(with_neighbors(digits_report()))


@pytest.fixture(scope="module")
def comparison() -> dict[str, bytes]:
    return render_comparison(digits_comparison())


@needs_chromium
def test_a_report_shows_every_chart_and_image_without_a_network(
    digits: dict[str, bytes], tmp_path: Path
) -> None:
    seen = open_page(digits["index.html"], tmp_path)

    assert seen.problems == []
    assert seen.loads == []
    assert {name.rsplit("-", 1)[0] for name in seen.charts} == REPORT_CHARTS | NEIGHBOR_CHARTS
    assert all(marks >= 3 for marks in seen.charts.values()), seen.charts
    assert seen.charts["log-likelihood-0"] > 500
    assert seen.images == 3 * 24 + 2 * EXAMPLES + 3 * BESIDE + LISTED
    assert seen.broken == 0
    assert seen.overflow <= 0


@needs_chromium
@pytest.mark.parametrize(("dimensions", "panels"), [(1, 2), (2, 3)])
def test_densities_with_and_without_an_observation_stand_side_by_side(
    dimensions: int, panels: int, tmp_path: Path
) -> None:
    data = replace(digits_report(60), images=None, illustration=illustration(dimensions))
    seen = open_page(
        render_report(data)["index.html"],
        tmp_path,
        """
        const charts = [...document.querySelectorAll(".beside .chart")];
        return charts.map((chart) => chart.getBoundingClientRect().top);
        """,
    )
    assert seen.problems == []
    assert seen.loads == []
    assert len(seen.asked) == panels
    assert len(set(seen.asked)) == 1
    assert all(seen.charts[f"illustration-{place}"] >= 3 for place in range(panels)), seen.charts


def test_examples_are_of_either_kind_and_in_order_of_log_likelihood(
    digits: dict[str, bytes],
) -> None:
    page = digits["index.html"].decode()
    scores = digits_report().scores
    last = scores.filter(pl.col("epoch") == pl.col("epoch").max())
    highly = last["memorization"] > np.quantile(last["memorization"], 0.95)
    for title, members in (
        ("Highly memorized", last.filter(highly)),
        ("Regular", last.filter(~highly)),
    ):
        part = page.partition(f"<h3>{title}, from the least likely of them to the most</h3>")[2]
        shown = re.findall(r'class="id">(digit-\d+)', part.partition("</ul>")[0])
        order = members.sort("log_p_in", "index")["id"].to_list()
        assert len(shown) == EXAMPLES
        assert [shown[0], shown[-1]] == [order[0], order[-1]]
        assert [order.index(name) for name in shown] == sorted(order.index(n) for n in shown)


@needs_chromium
def test_pictures_are_as_given_and_as_scored_once_pointed_at_or_asked_for(tmp_path: Path) -> None:
    data = with_neighbors(digits_report(120))
    assert data.images is not None
    drawn = (data.images.given > 100).astype(np.uint8) * 255
    page = render_report(replace(data, images=Pictures(data.images.given, drawn)))["index.html"]
    seen = open_page(
        page,
        tmp_path,
        """
        const boxes = [...document.querySelectorAll("input.as-scored")];
        const scored = [...document.querySelectorAll(".scored")];
        const showing = () => new Set(scored.map((image) => getComputedStyle(image).opacity));
        const place = (image) => JSON.stringify(image.getBoundingClientRect());
        const asked = {before: [...showing()]};
        boxes[1].click(); asked.all = [...showing()]; asked.ticked = boxes.map((b) => b.checked);
        boxes[0].click(); asked.again = [...showing()];
        asked.covering = scored.every((i) => place(i) === place(i.previousElementSibling));
        asked.rule = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
          .filter((rule) => rule.selectorText?.includes(".two:hover .scored"))
          .map((rule) => rule.style.opacity);
        const first = document.querySelector("#galleries ~ .gallery .id").textContent;
        asked.first = [first, ...[...document.querySelectorAll("#galleries ~ .gallery .two")][0]
          .querySelectorAll("img")].map((one) => one.src ?? one);
        return asked;
        """,
    )
    assert seen.problems == []
    assert seen.broken == 0
    assert (seen.asked["before"], seen.asked["all"], seen.asked["again"]) == (["0"], ["1"], ["0"])
    assert seen.asked["ticked"] == [True] * 3
    assert seen.asked["covering"]
    assert seen.asked["rule"] == ["1"]
    name, given, scored = seen.asked["first"]
    index = int(name.removeprefix("digit-"))
    assert given == data_uri(data.images.given[index])
    assert scored == data_uri(drawn[index])
    plain = render_report(data)["index.html"].decode()
    assert 'class="scored"' not in plain
    assert "as-scored" not in re.sub(r"<(script|style)>.*?</\1>", "", plain, flags=re.DOTALL)


@needs_chromium
def test_the_table_is_searched_sorted_and_downloaded(
    digits: dict[str, bytes], tmp_path: Path
) -> None:
    seen = open_page(
        digits["index.html"],
        tmp_path,
        """
        const table = document.getElementById("table");
        const column = (place) => [...table.tBodies[0].rows].filter((r) => !r.hidden)
          .map((r) => r.cells[place].dataset.value ?? r.cells[place].textContent);
        const press = (place) => table.tHead.rows[0].cells[place].querySelector("button").click();
        const asked = {};
        press(4); asked.ascending = column(4).map(Number);
        press(4); asked.descending = column(4).map(Number);
        const search = document.getElementById("search");
        search.value = asked.wanted = column(2)[7];
        search.dispatchEvent(new Event("input"));
        asked.found = column(2);
        const made = [];  // a blob's own text() waits for another process, time here does not
        window.Blob = function (parts) { made.push(parts.join("")); };
        URL.createObjectURL = () => "blob:null/none";
        HTMLAnchorElement.prototype.click = function () { asked.file = this.download; };
        document.getElementById("download").click();
        asked.csv = made[0];
        const points = document.querySelectorAll("#log-likelihood-0 .mark-symbol.role-mark path");
        asked.tooltip = await pointAt(points[0]);
        asked.tooltipImage = document.querySelector("#vg-tooltip-element img").naturalWidth;
        return asked;
        """,
    )

    assert seen.problems == []
    asked = seen.asked
    assert asked["ascending"] == sorted(asked["ascending"])
    assert asked["descending"] == asked["ascending"][::-1]
    assert len(asked["ascending"]) == LISTED
    assert asked["found"] == [asked["wanted"]]
    assert asked["file"] == "digits-vae-most-memorized.csv"
    assert asked["tooltipImage"] == 8
    assert "digit-" in asked["tooltip"]
    _check_csv(asked["csv"])


def _check_csv(text: str) -> None:
    scores = digits_report().scores
    last = scores.filter(pl.col("epoch") == pl.col("epoch").max())
    expected = last.sort("memorization_shrunk", descending=True).head(LISTED)
    table = pl.read_csv(io.StringIO(text))
    assert table["id"].to_list() == expected["id"].to_list()
    for column in ("memorization", "low", "memorization_shrunk", "log_p_in", "log_p_out"):
        np.testing.assert_array_equal(table[column], expected[column])


@needs_chromium
def test_a_comparison_shows_every_chart_without_a_network(
    comparison: dict[str, bytes], tmp_path: Path
) -> None:
    seen = open_page(comparison["index.html"], tmp_path)

    assert seen.problems == []
    assert seen.loads == []
    assert {name.rsplit("-", 1)[0] for name in seen.charts} == {
        "distributions",
        "quantiles",
        "agreement-1",
    }
    assert all(marks >= 3 for marks in seen.charts.values()), seen.charts
    assert seen.overflow <= 0


def test_a_comparison_says_in_words_what_differs_and_why_not(comparison: dict[str, bytes]) -> None:
    text = _text(comparison["index.html"])
    assert "lower by 8.4 nats; the interval is all on this side of 0" in text
    assert "lower by 0.05 nats; the interval holds 0, so it may be chance" in text
    assert "They are on different data sets." in text
    assert "rank correlation of the scores, as they stand, is 0.83" in text


HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    '"><img src=x onerror="window.hacked = 3">',
    "<!--<script>",
    "{{ 7 * 7 }}",
    "=HYPERLINK(1)",
    "' onmouseover='window.hacked = 4",
]


@needs_chromium
def test_hostile_names_are_shown_and_never_run(tmp_path: Path) -> None:
    data = digits_report(n=70)
    names = pl.Series([HOSTILE[i % len(HOSTILE)] for i in range(70)])
    everywhere = " ".join(HOSTILE)
    data = replace(
        data,
        experiment=everywhere,
        title=everywhere,
        facts={everywhere: everywhere},
        warnings=[everywhere],
        headlines=[Headline(everywhere, 1.0, 0.1, everywhere, everywhere)],
        scores=data.scores.with_columns(
            id=pl.concat([names] * data.scores["epoch"].n_unique()), label=pl.lit(HOSTILE[1])
        ),
        scores_file=everywhere,
    )
    seen = open_page(
        render_report(data)["index.html"],
        tmp_path,
        """
        const tooltips = [];
        const points = document.querySelectorAll("#log-likelihood-0 .mark-symbol.role-mark path");
        for (const point of [...points].slice(0, 14)) tooltips.push(await pointAt(point));
        return {
          tooltips,
          title: document.title,
          ids: [...document.querySelectorAll("#table td:nth-child(3)")].map((c) => c.textContent),
          hacked: window.hacked ?? null,
        };
        """,
    )

    assert seen.hacked is None
    assert seen.asked["hacked"] is None
    assert seen.problems == []
    assert seen.broken == 0
    assert everywhere in seen.asked["title"]
    assert len(seen.asked["tooltips"]) == 14
    for tooltip, name in zip(seen.asked["tooltips"], seen.asked["ids"], strict=False):
        assert name in tooltip
    assert sorted(seen.asked["ids"]) == sorted(names.to_list())


def _small(n: int) -> ReportData:
    return digits_report(n=n, epochs=(200,))


def _without_errors(data: ReportData) -> ReportData:
    return replace(
        data,
        scores=data.scores.with_columns(
            **dict.fromkeys(
                ("std_error", "low", "high", "memorization_shrunk", "above_threshold"), pl.lit(None)
            )
        ),
        quantiles=data.quantiles.with_columns(
            **dict.fromkeys(("std_error", "low", "high"), pl.lit(None))
        ),
        headlines=[replace(h, std_error=None, low=None, high=None) for h in data.headlines],
        intervals="There are none.",
    )


def _constant(data: ReportData) -> ReportData:
    return replace(data, scores=data.scores.with_columns(memorization=pl.lit(0.0)))


NO_LOSSES = pl.DataFrame(schema={"epoch": pl.Int64, "train": pl.Float64, "held_out": pl.Float64})

EDGES: dict[str, tuple[ReportData, set[str], str]] = {
    "one epoch and no losses": (
        replace(_small(300), losses=NO_LOSSES),
        REPORT_CHARTS - {"training"},
        "there is no course of training to draw",
    ),
    "one repeat": (_without_errors(digits_report(n=200)), REPORT_CHARTS, "There are none."),
    "not images, nothing held out": (
        replace(
            digits_report(n=200),
            images=None,
            losses=digits_report(n=2).losses.with_columns(held_out=pl.lit(None)),
        ),
        REPORT_CHARTS,
        "The observations are not images",
    ),
    "constant scores": (
        _constant(digits_report(n=200)),
        {"training"},
        "All scores are the same, 0 nats.",
    ),
    "two observations at one epoch": (
        _small(2),
        {"distribution", "training", "log-likelihood"},
        "One epoch was scored",
    ),
    "colour images, no labels": (
        replace(
            digits_report(n=200),
            images=Pictures(
                np.random.default_rng(0).integers(0, 256, (200, 12, 9, 3), dtype=np.uint8)
            ),
            scores=digits_report(n=200).scores.with_columns(label=pl.lit(None, pl.String)),
            scores_file="",
        ),
        REPORT_CHARTS,
        "Most memorized",
    ),
    "neighbours of few observations": (
        with_neighbors(_small(2)),
        {"distribution", "training", "log-likelihood"},
        "Observations are too few, or scores or distance ratios all the same.",
    ),
    "neighbours of what is no image": (
        with_neighbors(replace(digits_report(n=200), images=None)),
        REPORT_CHARTS | NEIGHBOR_CHARTS,
        "in pixels to the nearest held-out observation",
    ),
    "large grey images with a channel": (
        replace(digits_report(n=60), images=Pictures(np.full((60, 100, 80, 1), 90, np.uint8))),
        REPORT_CHARTS,
        "Most memorized",
    ),
}


@needs_chromium
@pytest.mark.parametrize("name", EDGES)
def test_what_does_not_apply_is_left_out_and_said(name: str, tmp_path: Path) -> None:
    data, charts, said = EDGES[name]
    files = render_report(data)
    assert {Path(file).stem for file in files if file.endswith(".svg")} == charts
    seen = open_page(files["index.html"], tmp_path)
    assert {place.rsplit("-", 1)[0] for place in seen.charts} == charts
    assert all(marks > 0 for marks in seen.charts.values()), seen.charts
    assert seen.problems == []
    assert seen.broken == 0
    assert (seen.images > 0) == (data.images is not None)
    assert said in _text(files["index.html"])


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.07, 0.17, "only weakly related, and so they are in this run"),
        (0.4, 0.6, "only weakly related, which this run contradicts"),
        (-0.6, -0.4, "only weakly related, which this run contradicts"),
        (0.2, 0.4, "only weakly related, which this run leaves open"),
    ],
)
def test_the_page_shows_or_refutes_that_ratio_and_score_are_weakly_related(
    low: float, high: float, words: str
) -> None:
    data = with_neighbors(digits_report(n=60))
    assert data.neighbors is not None
    known = Interval((low + high) / 2, low, high)
    relation = replace(data.neighbors.relation, rank_correlation=known)
    found = replace(data.neighbors, relation=relation)
    text = _text(render_report(replace(data, neighbors=found))["index.html"])
    assert words in text
    assert interval((low + high) / 2, low, high) in text
    assert "Samples equal 3 of the observations" in text


def test_nothing_that_a_page_needs_lies_elsewhere(
    digits: dict[str, bytes], comparison: dict[str, bytes]
) -> None:
    for page in (digits, comparison):
        links = _Links()
        links.feed(page["index.html"].decode())
        assert all(address.startswith("data:") for address in links.loaded)
        assert {address for address in links.followed if not address.startswith("#")} <= set(page)
        assert "default-src 'none'" in links.policy


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.followed: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        address = given.get("src") or given.get("href")
        if address is not None:
            (self.followed if tag == "a" else self.loaded).append(address)


@needs_chromium
def test_a_page_of_60000_colour_images_is_small_and_opens(tmp_path: Path) -> None:
    data = digits_report(n=60_000, epochs=(50, 200))
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    images = np.broadcast_to(noise, (60_000, 32, 32, 3))
    page = render_report(replace(data, images=Pictures(images)))["index.html"]
    assert len(page) < LARGEST_PAGE
    seen = open_page(page, tmp_path)
    assert seen.problems == []
    assert seen.broken == 0
    assert all(marks >= 3 for marks in seen.charts.values()), seen.charts


def test_one_observation_has_no_distribution() -> None:
    files = render_report(_small(1))
    assert {Path(file).stem for file in files if file.endswith(".svg")} == {"training"}


def test_every_chart_is_valid_vega_lite(
    digits: dict[str, bytes], comparison: dict[str, bytes]
) -> None:
    """`to_dict` leaves that out, since it takes longer than drawing."""
    specs = [
        {key: part for key, part in spec.items() if key != "config"}  # a look, not a chart
        for page in (digits, comparison)
        for spec in _embedded(page["index.html"])["charts"].values()
    ]
    assert len(specs) > 8
    for spec in specs:
        alt.Chart.from_dict(spec, validate=True)
    with pytest.raises(jsonschema.ValidationError):
        alt.Chart.from_dict(specs[0] | {"data": "nonsense"}, validate=True)


def test_charts_are_also_files(digits: dict[str, bytes], comparison: dict[str, bytes]) -> None:
    for files in (digits, comparison):
        drawings = [name for name in files if name.endswith(".svg")]
        assert drawings
        for name in drawings:
            root = ET.fromstring(files[name])
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10
            picture = Image.open(io.BytesIO(files[name.replace(".svg", ".png")]))
            assert picture.width >= 1200
            assert np.asarray(picture.convert("L")).std() > 5


def test_the_same_data_gives_the_same_page(digits: dict[str, bytes]) -> None:
    assert render_report(with_neighbors(digits_report())) == digits


def test_what_cannot_be_rendered_is_refused() -> None:
    data = digits_report(n=10, epochs=(1, 2))
    with pytest.raises(ValueError, match="no scores"):
        render_report(replace(data, scores=data.scores.clear()))
    with pytest.raises(ValueError, match="9 images"):
        render_report(replace(data, images=Pictures(np.zeros((9, 8, 8), np.uint8))))
    compared = digits_comparison()
    with pytest.raises(ValueError, match="'elsewhere'"):
        wrong = replace(compared.differences[0], second="elsewhere")
        render_comparison(replace(compared, differences=[wrong]))
    with pytest.raises(ValueError, match="same name"):
        render_comparison(replace(compared, experiments=[compared.experiments[0]] * 2))


def test_a_single_experiment_at_one_epoch_compares_to_nothing() -> None:
    compared = digits_comparison()
    only = compared.experiments[0]
    only = replace(only, quantiles=only.quantiles.filter(pl.col("epoch") == 200))
    files = render_comparison(replace(compared, experiments=[only], differences=[]))
    assert "No experiment was scored at more than one epoch." in _text(files["index.html"])
    assert "charts/quantiles.svg" not in files


def test_bins_count_every_observation_once() -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_t(2, 5000), random.normal(size=5000)
    chosen = y > 1
    edges = bin_edges(x)
    assert histogram(x, edges)["count"].sum() == 5000
    assert binned_density(x, y, (60, 40))["count"].sum() == 5000
    shares = shares_of_bins(x, chosen, edges)
    assert shares["chosen"].sum() == chosen.sum()
    assert shares["regular"].sum() == (~chosen).sum()


def test_intervals_of_shares_are_wilsons() -> None:
    random = np.random.default_rng(0)
    x, chosen = random.normal(size=500), random.random(500) < 0.1
    for row in shares_of_bins(x, chosen, bin_edges(x, most=20)).iter_rows(named=True):
        trials = row["chosen"] + row["regular"]
        expected = stats.binomtest(row["chosen"], trials).proportion_ci(0.95, "wilson")
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("value", "ends", "unit", "text"),
    [
        (31.234, (30.11, 32.52), "nats", "31.2 [30.1, 32.5] nats"),
        (5.02, (-1.0, 44.0), "nats", "5 [−1, 44] nats"),
        (-0.0512, (-0.05154, -0.05086), "", "−0.05120 [−0.05154, −0.05086]"),
        (123456.7, (123024.6, 123888.8), "nats", "123,457 [123,025, 123,889] nats"),
        (70.41, (None, None), "%", "70.4%"),
        (70.41, (69.11, 71.71), "%", "70.4% [69.1, 71.7]"),
        (3.0, (3.0, 3.0), "nats", "3.00 nats"),
        (0.0, (0.0, 0.0), "nats", "0 nats"),
        (-0.0001, (-0.5, 0.5), "", "0.00 [−0.50, 0.50]"),
        (float("nan"), (0.0, 1.0), "", "not defined"),
    ],
)
def test_numbers_have_the_digits_that_their_intervals_leave(
    value: float, ends: tuple[float | None, float | None], unit: str, text: str
) -> None:
    assert estimate(value, *ends, unit) == text


def test_an_interval_is_told_by_its_width() -> None:
    assert interval(0.1234, 0.0712, 0.1756) == "0.123 (95% interval 0.071 to 0.176)"
    assert interval(-0.5, -0.61, -0.39) == "−0.50 (95% interval −0.61 to −0.39)"
    assert interval(1.5, None, None) == "1.50"
    assert interval(1.5, 1.5, 1.5) == "1.50"


def test_differences_are_told_from_chance() -> None:
    """By the interval, which need not lie around the value alike on both sides."""
    sure = "; the interval is all on this side of 0"
    assert difference_in_words(2.0, 0.9, 3.1, "nats") == f"higher by 2.0 nats{sure}"
    assert difference_in_words(-2.0, -9.0, -0.1, "%") == f"lower by 2.0%{sure}"
    open_ = difference_in_words(-1.0, -1.5, 0.2)
    assert open_ == "lower by 1.00; the interval holds 0, so it may be chance"
    unknown = difference_in_words(-1.0, None, None)
    assert unknown == "lower by 1.00; without an interval this may be chance"
    assert difference_in_words(1.0, 1.0, 1.0) == "higher by 1.00; both are exact"
    assert difference_in_words(0.0, None, None) == "no difference"
    assert difference_in_words(0.0, 0.0, 0.0) == "no difference"


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 32, 3), (12, 9, 1)])
def test_small_images_are_embedded_exactly(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    uri = data_uri(image)
    assert uri.startswith("data:image/png;base64,")
    np.testing.assert_array_equal(_decoded(uri).reshape(shape), image)


def test_large_images_are_made_small() -> None:
    image = np.tile(np.arange(218, dtype=np.uint8)[:, None, None], (1, 178, 3))
    assert max(_decoded(data_uri(image)).shape[:2]) == 64


def _embedded(page: bytes) -> dict[str, Any]:
    found = re.search(rb'<script[^>]* type="application/json"[^>]*>(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


def _decoded(uri: str) -> np.ndarray:
    from base64 import b64decode

    return np.asarray(Image.open(io.BytesIO(b64decode(uri.partition(",")[2]))))


def _text(page: bytes) -> str:
    """Return the text that a reader sees, without the scripts."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())
