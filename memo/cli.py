"""The command line: one command a stage, and nothing else."""

import contextlib
import dataclasses
import json
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memo.console import discard_output, say, set_up
from memo.errors import InputError, MemoError, WorkError, one_line

if TYPE_CHECKING:
    from memo.artifacts.layout import Layout
    from memo.commands.elsewhere.score_table import TableScores
    from memo.execution.protocol import Executor
    from memo.pipeline.stored_experiment import StoredExperiment
    from memo.project.project_spec import ProjectSpec
    from memo.scores.aggregate import Method

# What reads the spec is imported by the commands that do, and stages by those that run them, once
# the spec is seen to be right: help must come at once, messages about a misspelt key without torch.

MOST_COSTS = 20
"""Experiments whose costs are printed."""

app = typer.Typer(
    name="memo",
    help="What a probabilistic generative model has memorized of its training data.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _complete(context: typer.Context, incomplete: str) -> list[str]:
    """Experiments that a shell may complete a word to; none where params.yaml is wrong."""
    from memo.project.reading import read_project

    folder = (context.parent or context).params.get("project") or Path()
    try:
        names = read_project(Path(folder) / "params.yaml").experiments
    except MemoError:
        return []
    return [name for name in names if name.startswith(incomplete)]


Experiment = Annotated[
    str | None,
    typer.Argument(
        metavar="[EXP]",
        help="An experiment of params.yaml (default: the only one there is).",
        autocompletion=_complete,
    ),
]
OneExperiment = Annotated[
    str,
    typer.Argument(metavar="EXP", help="An experiment of params.yaml.", autocompletion=_complete),
]
Experiments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[EXP]...", help="Experiments of params.yaml.", autocompletion=_complete
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Tasks at once (default: MEMO_WORKERS, or one a GPU or core)."),
]
Policy = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The policy (default: that of the experiment, by params.yaml)."
    ),
]
Samples = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Score samples of models trained elsewhere: a table with a column `model`, or a "
        "folder with a table, an array (.npy) or a folder of images for each model.",
    ),
]
TrainedOn = Annotated[
    Path | None,
    typer.Option(
        metavar="TABLE",
        help="With --samples: which observations each model was trained on, as `memo design` "
        "writes it.",
    ),
]
Likelihood = Annotated[
    str | None,
    typer.Option(
        metavar="YAML",
        help="With --samples: how log p is estimated, as scoring.likelihood with kind: samples "
        "(default: its defaults).",
    ),
]
TestsOnSamples = Annotated[
    str | None,
    typer.Option(
        "--neighbors",
        metavar="YAML",
        help="With --samples: which tests on samples run, and how, as scoring.neighbors (default: "
        "its defaults).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


class _Project:
    """The folder that commands work in."""

    def __init__(self) -> None:
        self.root = Path()
        self.verbose = False

    @property
    def spec(self) -> Path:
        return self.root / "params.yaml"

    @property
    def expanded(self) -> Path:
        return self.root / "expanded.yaml"

    @property
    def layout(self) -> "Layout":
        from memo.artifacts.layout import Layout

        return Layout(self.root)

    def read(self) -> "ProjectSpec":
        from memo.project.reading import read_project

        return read_project(self.spec)


_project = _Project()


def _version(wanted: bool) -> None:
    if wanted:
        from memo import __version__

        say(f"memo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    project: Annotated[
        Path,
        typer.Option(
            "--project",
            "-C",
            help="Folder of params.yaml and dvc.yaml, from which all paths are taken.",
        ),
    ] = Path(),
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", envvar="MEMO_QUIET", help="Results and errors alone, no progress."
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", envvar="MEMO_VERBOSE", help="With errors, where they came up."
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    _project.verbose = verbose
    if not project.is_dir():
        raise InputError(f"{project}: is no folder; -C names that of params.yaml")
    # data, code and what they read are named by paths from the project's folder
    context.with_resource(contextlib.chdir(project))
    if quiet:
        from memo.pipeline.progress import without_progress

        context.with_resource(without_progress())
    if context.invoked_subcommand is None:
        for line in _next_steps():
            say(line)


@app.command(epilog="Examples: memo init study; memo init study --data table records.csv")
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new project.")],
    source: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="The data, where they are yours.")
    ] = None,
    data: Annotated[
        str, typer.Option(metavar="KIND", help="digits (come with memo), image-folder or table.")
    ] = "digits",
) -> None:
    """Make a new project, ready for dvc repro: memo init DIR --data table FILE, for example."""
    from memo.commands import init as stage

    _require_among(data, list(stage.KINDS), "--data")
    made = stage.init(folder, data, source)
    for line in made.said:
        say(one_line(line))
    name = made.name
    say(
        f"{folder} is a project: read {folder / 'params.yaml'}, run dvc repro there, and open "
        f"reports/{name}-vae/index.html"
    )
    _advise()


@app.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the stages and the schema of a project that an earlier memo made up to this one."""
    from memo.commands.upgrade import upgrade as bring_up

    done = bring_up(_project.root)
    if as_json:
        say(json.dumps({"done": done}, indent=2))
        return
    say("\n".join([*done, "now run: memo validate, then dvc repro"]) if done else "nothing to do")
    _advise()


@app.command(epilog="Example: memo validate && dvc repro")
def validate(as_json: AsJson = False) -> None:
    """Check params.yaml; exit code 2 and one line for each thing that is wrong.

    Headers of image files are read, where these are there. Each experiment is tried on its data set
    once that is prepared (a table of up to 20 MB before): a step of its training, and what later
    stages will ask of it.
    """
    project = _project.read()
    from memo.commands.data_at_hand import data_at_hand, not_prepared
    from memo.datasets.registry import look_at_source

    for source in project.datasets.values():
        look_at_source(source)
    used = dict.fromkeys(experiment.dataset for experiment in project.experiments.values())
    waiting = [not_prepared(name) for name in used]
    if data_at_hand(project, _project.layout):
        from memo.commands.validate import try_experiments

        waiting = try_experiments(project, _project.layout)
    names = {"datasets": list(project.datasets), "experiments": list(project.experiments)}
    if as_json:
        say(json.dumps(names))
    else:
        counts = [f"{len(members)} {kind}" for kind, members in names.items()]
        say(f"{_project.spec} is valid: {', '.join(counts)}")
        _say_costs(project)
        for sentence in waiting:
            say(one_line(sentence))
        from memo.commands.expand import is_current

        if not is_current(_project.expanded, project.expanded):
            say(f"{_project.expanded} does not say so yet; before dvc repro, run: memo expand")
        _advise()


@app.command()
def expand(
    stage: Annotated[
        bool,
        typer.Option(
            "--stage", help="As in dvc.yaml: fail where DVC has read other experiments before."
        ),
    ] = False,
) -> None:
    """Write the experiments of params.yaml's `derived` to expanded.yaml, where DVC finds them."""
    experiments = _project.read().expanded
    from memo.artifacts.files import make_folder
    from memo.commands.expand import expand_as_stage, write_expanded

    make_folder(_project.layout.compared("any").parent)  # which `compare` depends on
    (expand_as_stage if stage else write_expanded)(_project.expanded, experiments)
    say(f"{_project.expanded}: {len(experiments)} experiments")


@app.command(epilog="Example: memo status --json")
def status(as_json: AsJson = False) -> None:
    """Say how far each experiment is, what dvc repro would run, and how long training takes.

    Counted are files whose fingerprints hold; of models' files the headers are read.
    """
    project = _project.read()
    from memo.commands.status import progress_of as stage

    found = stage.project_status(project, _project.layout, _project.expanded)
    if as_json:
        say(json.dumps(found.json, indent=2))
        return
    for one in found.experiments:
        say(one_line(one.words))
    if found.unknown is not None:
        say(one_line(f"which stages dvc repro would run is not known: {found.unknown}"))
    elif found.others:
        say(one_line(f"other stages to run: {', '.join(found.others)}"))
    say("all is up to date" if found.done else "next: dvc repro")


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file.")] = None,
) -> None:
    """Write the JSON Schema of params.yaml, for editors."""
    from memo.project.reading import spec_schema

    if output is None:
        say(spec_schema().removesuffix("\n"))
    else:
        output.write_text(spec_schema(), encoding="utf-8")


@app.command()
def prepare(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET]", help="A data set of params.yaml (default: the only one there is)."
        ),
    ] = None,
) -> None:
    """Read a data set and draw the values that are scored."""
    from memo.project.reading import select_dataset

    project = _project.read()
    dataset = _only(dataset, list(project.datasets), "data set")
    select_dataset(project, dataset)
    from memo.pipeline import prepare as stage

    facts = stage.prepare(project, _project.layout, dataset)
    say(f"{dataset}: {facts['observations']} observations of {facts['shape']}")
    for line in facts.get("notes", []):
        say(one_line(f"  {line}"))


@app.command(epilog="Example: memo train digits-vae --workers 4")
def train(experiment: Experiment = None, workers: Workers = None) -> None:
    """Train each model whose file is missing or out of date."""
    experiment = _named(experiment)
    loaded, executor = _load_to_run(experiment, workers)
    from memo.pipeline import train as stage

    trained = stage.train(loaded, executor)
    say(f"{experiment}: {trained} models trained")


@app.command(epilog="Example: memo adopt digits-vae --rev MERGE_HEAD")
def adopt(
    experiment: OneExperiment,
    revision: Annotated[
        str, typer.Option("--rev", help="Git revision: a branch, a commit, MERGE_HEAD.")
    ],
    as_json: AsJson = False,
) -> None:
    """Take over what another git revision has trained and scored, where its fingerprints hold."""
    loaded = _load(experiment)
    from memo.artifacts.tracked.revision import Revision
    from memo.commands import adopt as stage

    models, tables = stage.adopt(loaded, Revision(_project.root, revision))
    forged = [*models.forged, *tables.forged]
    if as_json:
        both = {"models": models, "tables": tables}
        found = {name: dataclasses.asdict(one) for name, one in both.items()}
        say(json.dumps(found, indent=2, default=str))
    else:
        taken = f"{len(models.files)} models and {len(tables.files)} tables of log-likelihoods"
        say(f"{experiment}: {taken} are taken over from {revision}; now run: dvc repro")
        if models.unnamed:
            say(f"{models.unnamed} more models are none of this spec's, as of other repeats")
        for problem in [*models.refused, *tables.refused, *forged]:
            say(f"not taken: {problem}", error=True)
    if forged:
        raise WorkError(
            f"{len(forged)} files cannot be had as revision {revision!r} recorded them; those that "
            "are taken over can"
        )


@app.command()
def pull(
    remote: Annotated[
        str | None, typer.Option("--remote", "-r", help="A remote of DVC's (default: its own).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take the project's files from a remote, trusted or not: each is checked before it is used."""
    from memo.commands import pull as stage

    try:
        pulled = stage.pull(_project.root, remote)
    except stage.PullError as error:
        for problem in error.problems:
            say(f"not taken: {problem}", error=True)
        raise
    if as_json:
        say(json.dumps(dataclasses.asdict(pulled), indent=2))
        return
    for words in pulled.left:
        say(f"left out: {words}", error=True)
    say(f"{pulled.files} files are as git records them; {pulled.fetched} objects were fetched")


@app.command()
def fsck(as_json: AsJson = False) -> None:
    """Remove from DVC's cache what is not what its name says: damaged files, and forged ones."""
    from memo.commands import fsck as stage

    checked = stage.fsck(_project.root)
    if as_json:
        say(json.dumps(dataclasses.asdict(checked), indent=2))
    else:
        for problem in checked.removed:
            say(f"removed: {problem}", error=True)
        for problem in checked.unchecked:
            say(f"not checked: {problem}", error=True)
    if checked.removed or checked.unchecked:
        raise WorkError(
            f"{len(checked.removed)} of {checked.files} cached files were damaged or forged and "
            f"are removed, {len(checked.unchecked)} cannot be checked; run: memo pull (not dvc "
            "pull or checkout, which take a forged list from the remote again), or dvc repro"
        )
    if not as_json:
        say(f"{checked.files} cached files are what their names say")


@app.command(epilog="Example: memo prune, then memo prune --yes")
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is listed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what renamed and removed experiments and data sets have left; with --yes, delete it."""
    project = _project.read()
    from memo.commands import prune as stage

    found = stage.find_leftovers(project, _project.layout)
    if yes:
        stage.prune(found, _project.layout)
    if as_json:
        files = [{"path": str(one.path), "bytes": one.size} for one in found.files]
        say(json.dumps({"files": files, "stages": found.stages, "deleted": yes}, indent=2))
        return
    for one in found.files:
        say(one_line(f"{one.path}") + f" ({one.size / 1e6:.2f} MB)")
    for name in found.stages:
        say(one_line(f"dvc.lock: {name}"))
    count = len(found.files) + len(found.stages)
    if not count:
        say("no leftovers: everything here belongs to params.yaml")
    elif yes:
        say(
            f"{count} leftovers are deleted; DVC's cache has those that it tracked, until you run: "
            "dvc gc --workspace"
        )
    else:
        say(
            f"{count} leftovers, {sum(one.size for one in found.files) / 1e6:.2f} MB; nothing is "
            "deleted yet: memo prune --yes deletes them"
        )


@app.command(epilog="Examples: memo score digits-vae; memo score theirs --from table.parquet")
def score(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXP]",
            help="An experiment of params.yaml; with --from or --samples, a new name (default: the "
            "file's).",
        ),
    ] = None,
    workers: Workers = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="TABLE",
            help="Score log-likelihoods of models trained elsewhere: .csv or .parquet.",
        ),
    ] = None,
    samples: Samples = None,
    trained_on: TrainedOn = None,
    likelihood: Likelihood = None,
    tests: TestsOnSamples = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="With --from or --samples: the prepared data set of params.yaml that they are of."
        ),
    ] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(
            help="With --from or --samples: mean-log (default) or paper, as scoring.aggregate."
        ),
    ] = None,
) -> None:
    """Estimate log-likelihoods under each model, or take a table of them; and score them.

    Models that were trained elsewhere are scored from a table of their log-likelihoods (--from), or
    from samples that they drew (--samples).
    """
    if samples is not None and table is not None:
        raise InputError("--from and --samples: give one of them")
    if samples is not None:
        _score_samples(samples, trained_on, likelihood, tests, experiment, dataset, aggregate)
        return
    if any(one is not None for one in (trained_on, likelihood, tests)):
        raise InputError("--trained-on, --likelihood and --neighbors go with --samples")
    if table is not None:
        _score_table(table, experiment, dataset, aggregate)
        return
    if experiment is None and not _project.spec.exists():
        raise InputError("memo score: name an experiment, or a table by --from TABLE")
    if dataset is not None or aggregate is not None:
        raise InputError(
            "--dataset and --aggregate go with --from and --samples, not with experiments"
        )
    experiment = _named(experiment)
    loaded, executor = _load_to_run(experiment, workers)
    from memo.pipeline import score as stage

    scores = stage.score(loaded, executor)
    say(f"{experiment}: {len(scores.last)} observations scored")
    from memo.commands import terminal
    from memo.experiments.doubts import score_doubts

    terminal.print_warnings([doubt.words for doubt in score_doubts(scores)])


@app.command(epilog="Example: memo design penguins --output trained-on.csv")
def design(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET]", help="A data set of params.yaml (default: the only one there is)."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The table: .csv or .parquet.")
    ] = None,
    spec: Annotated[
        str,
        typer.Option(
            "--design", metavar="YAML", help="The design, as scoring.design of an experiment."
        ),
    ] = "{kind: k-fold, folds: 10, repeats: 3}",
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is held out.")] = 0,
) -> None:
    """Write which observations each model is to be trained on, to train models elsewhere.

    Their samples, or their log-likelihoods, are then scored by `memo score`.
    """
    from memo.project.reading import select_dataset

    project = _project.read()
    dataset = _only(dataset, list(project.datasets), "data set")
    select_dataset(project, dataset)
    if output is None:
        raise InputError("memo design: name the table by --output FILE")
    from memo.commands.elsewhere import write_design as stage

    planned = stage.write_design(_project.layout, dataset, output, stage.read_design(spec), seed)
    say(one_line(f"{output}: {planned.words}"))


@app.command(epilog="Example: memo export digits-vae -o table.parquet")
def export(
    experiment: OneExperiment,
    output: Annotated[Path, typer.Option("--output", "-o", help="The table: .csv or .parquet.")],
) -> None:
    """Write an experiment's log-likelihoods as one table, as `memo score --from` reads it."""
    loaded = _load(experiment)
    from memo.commands import export as stage

    rows = stage.export(loaded, output)
    say(f"{output}: {rows:,} rows")


@app.command()
def sample(experiment: Experiment = None) -> None:
    """Draw samples from trained models."""
    experiment = _named(experiment)
    loaded = _load(experiment)
    from memo.pipeline import sample as stage

    drawn = stage.sample(loaded)
    say(f"{experiment}: {drawn:,} samples")


@app.command()
def neighbors(experiment: Experiment = None) -> None:
    """Run the tests on samples: each observation's nearest sample and held-out observation."""
    experiment = _named(experiment)
    project = _selected(experiment)
    from memo.pipeline import neighbors as stage

    found = stage.neighbors(_loaded(project, experiment))
    say(f"{experiment}: {len(found)} observations compared with samples")


@app.command(epilog="Examples: memo attack digits-vae; memo attack digits-vae --target theirs.csv")
def attack(
    experiment: Experiment = None,
    target: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Tell which observations another model was trained on, by its log-likelihoods: "
            ".csv or .parquet with index or id, and log_likelihood.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="With --target: a table of answers, .csv or .parquet."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Attack each fold model, with the others for references: what membership inference finds."""
    experiment = _named(experiment)
    loaded = _load(experiment)
    from memo.commands import terminal

    if target is not None:
        from memo.commands.elsewhere import attack_target

        answers = attack_target.attack_target(loaded, target, output)
        if as_json:
            say(json.dumps(answers.json, indent=2))
        else:
            terminal.print_warnings(answers.warnings)
            for words in answers.sentences:
                say(one_line(words))
        return
    if output is not None:
        raise InputError("--output goes with --target")
    from memo.pipeline import attack as stage

    attacked = stage.attack(loaded)
    if as_json:
        say(attacked.results.model_dump_json(indent=2))
    else:
        terminal.print_attacks(experiment, attacked)


@app.command()
def report(experiment: Experiment = None) -> None:
    """Write metrics, plots, charts and the page of an experiment."""
    experiment = _named(experiment)
    project = _selected(experiment)
    loaded = _loaded(project, experiment)
    from memo.pipeline import report as stage

    warnings = stage.report(loaded)
    say(f"{experiment}: {_project.layout.report(experiment) / 'index.html'}")
    from memo.commands import terminal

    terminal.print_warnings(warnings)


@app.command(epilog="Examples: memo compare; memo compare plain slower --rev main --markdown")
def compare(
    experiments: Experiments = None,
    as_json: AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option("--rev", help="Also take these experiments from another git revision."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="EXP", help="What the others are compared with (default: the first)."),
    ] = None,
    statistic: Annotated[
        str | None,
        typer.Option(
            help="Statistic of memorization or of attacks, for the frontier; `?` lists them "
            "(default: q99.9)."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of the page (default: reports/compare, or one beside it where anything "
            "but all experiments was asked for).",
        ),
    ] = None,
) -> None:
    """Compare experiments (all of them by default), each with the baseline."""
    project = _read_if_there()
    names = _scored_names(project, experiments)
    _require_among(baseline, names, "--baseline")
    from memo.commands import terminal
    from memo.experiments.trade_off import FRONTIER_STATISTICS
    from memo.pipeline import compare as stage

    _require_among(statistic, list(FRONTIER_STATISTICS), "--statistic")
    folder = output or stage.comparison_folder(
        _project.layout, experiments, revision, baseline, statistic
    )
    compared = stage.compare(
        project,
        _project.layout,
        names,
        revision=revision,
        baseline=baseline,
        statistic=statistic or "q99.9",
        folder=folder,
    )
    if as_json:
        say(json.dumps(compared.json, indent=2))
    elif markdown:
        say(terminal.comparison_markdown(compared.data).removesuffix("\n"))
    else:
        terminal.print_comparison(compared.data)
        say(f"The page with charts: {folder / 'index.html'}")


@app.command(epilog="Example: memo gate digits-vae --policy policy.yaml --junit gate.xml")
def gate(
    experiment: Experiment = None,
    policy: Policy = None,
    as_json: AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the card as Markdown, for a pull request.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write findings as JUnit XML.")
    ] = None,
) -> None:
    """Judge an experiment by a policy: exit code 0 pass, 1 fail, 3 not enough evidence.

    Writes the card of the audit to reports/EXP/card.html and card.md.
    """
    project, experiment, file = _to_gate(experiment, policy)
    from memo.gate.decision import EXIT_CODES
    from memo.pipeline import gate as stage
    from memo.report.audit.card_page import card_markdown

    found = stage.gate(project, _project.layout, experiment, file, junit)
    if as_json:
        say(json.dumps(stage.gate_as_json(found), indent=2, allow_nan=False))
    elif markdown:
        say(card_markdown(found.card).removesuffix("\n"))
    else:
        for row in found.card.rows:
            is_found = f" (found {row['found']})" if row["found"] else ""
            say(one_line(f"{row['verdict']}: {row['demand']}{is_found}. {row['why']}"))
        say(f"{experiment}: {found.judgement.verdict}; the card: {found.page}")
    raise typer.Exit(EXIT_CODES[found.judgement.verdict])


@app.command()
def export_flagged(
    experiment: Experiment = None,
    policy: Policy = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.")
    ] = None,
) -> None:
    """Write the records that a policy flags as CSV, the most memorized first."""
    project, experiment, file = _to_gate(experiment, policy)
    from memo.artifacts.files import write_whole
    from memo.artifacts.text.csv_files import csv_bytes
    from memo.pipeline import gate as stage

    records = stage.flagged(project, _project.layout, experiment, file)
    if output is None:
        say(csv_bytes(records).decode().removesuffix("\n"))
    else:
        write_whole(output, csv_bytes(records))
        say(f"{output}: {len(records):,} records")


@app.command(epilog="Example: memo show digits-vae --top 20 --label 7")
def show(
    experiment: Experiment = None,
    top: Annotated[
        int, typer.Option(min=1, help="How many observations, and how many groups.")
    ] = 10,
    label: Annotated[str | None, typer.Option(help="Only observations with this label.")] = None,
    epoch: Annotated[
        int | None, typer.Option(help="A scored epoch (default: the last one).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print headline numbers, the most memorized observations, and the most memorized groups."""
    project = _read_if_there()
    names = _scored_names(project, None if experiment is None else [experiment])
    experiment = _only(experiment, names, "experiment")
    from memo.commands import show as stage
    from memo.commands import terminal
    from memo.experiments.doubts import doubts_as_json
    from memo.report.headlines import about_intervals, metrics, summary_headlines

    summary, rows, doubts, groups = stage.show(
        project, _project.layout, experiment, top=top, label=label, epoch=epoch
    )
    if as_json:
        found = {"warnings": doubts_as_json(doubts), "most_memorized": rows.to_dicts()}
        found |= {} if groups is None else {"groups": groups.to_dicts()}
        say(json.dumps(metrics(summary) | found, indent=2))
    else:
        terminal.print_headlines(
            f"{experiment} after epoch {summary.epoch}",
            summary_headlines(summary),
            about_intervals(summary),
        )
        terminal.print_most_memorized(rows)
        if groups is not None:
            terminal.print_groups(groups)
        terminal.print_warnings([doubt.words for doubt in doubts])


@app.command()
def validate_tests(experiments: Experiments = None, as_json: AsJson = False) -> None:
    """Judge tests on samples by memorization scores: what each sees of what is memorized.

    Of all experiments by default, and of all samples from elsewhere; the numbers of each are also
    told from those of the first.
    """
    project = _project.read()
    named = _scored_names(project, experiments)
    from memo.commands import terminal
    from memo.commands import validate_tests as stage
    from memo.commands.elsewhere.outside_tests import with_tests

    others = [name for name in named if name not in project.experiments]
    tested = others if experiments else with_tests(_project.layout, others)
    names = [name for name in dict.fromkeys(named) if name not in others or name in tested]
    if not names:
        raise InputError("no experiment, and no samples from elsewhere, to validate tests by")
    found = stage.validate_tests(project, _project.layout, names)
    if as_json:
        say(json.dumps(found.json, indent=2, allow_nan=False))
    else:
        terminal.print_validated(found)


@app.command(epilog="Example: memo check digits-vae --observations 400")
def check(
    experiment: Experiment = None,
    observations: Annotated[
        int, typer.Option(min=8, help="How many in training, and as many held out.")
    ] = 200,
    epoch: Annotated[
        int | None, typer.Option(help="A scored epoch (default: the last one).")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Check the log-likelihoods behind the scores against a slower, independent method."""
    experiment = _named(experiment)
    loaded, executor = _load_to_run(experiment, workers)
    from memo.commands import check as stage
    from memo.commands import terminal

    found = stage.check(loaded, executor, observations=observations, epoch=epoch)
    if as_json:
        say(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        terminal.print_check(experiment, found)


def _next_steps() -> list[str]:
    """Lines about what to do in this folder, by the files that are there."""
    if not _project.spec.exists():
        return [
            "no project here: there is no params.yaml. To make one:",
            "  memo init study                           on digits, which come with memo",
            "  memo init study --data table FILE         on a table of yours, CSV or Parquet",
            "  memo init study --data image-folder DIR   on images of yours",
            "In another folder: memo -C DIR. All commands: memo --help",
        ]
    project = _project.read()
    names = list(project.experiments)
    if not names:
        return _next_steps_elsewhere(list(project.datasets))
    reports = [name for name in names if (_project.layout.report(name) / "index.html").is_file()]
    after = (
        ["  memo compare    experiments side by side", "  memo show EXP   one experiment's numbers"]
        if len(reports) == len(names)
        else ["  memo validate   what it says, and what that costs", "  dvc repro       run it"]
    )
    return [
        f"{_project.spec}: experiments {len(names)}, of them with a report {len(reports)}. Next:",
        *after,
        "  memo status     how far each is, and what is out of date",
        "All commands: memo --help",
    ]


def _next_steps_elsewhere(datasets: list[str]) -> list[str]:
    """Lines about what to do in a project whose models are trained elsewhere."""
    from memo.artifacts.score_tables import from_table

    scored, dataset = from_table(_project.layout), datasets[0]
    after = [
        f"  memo prepare {dataset}   read the data",
        f"  memo design {dataset} -o FILE   which records each of your models is to be trained on",
        f"  memo score NAME --samples FOLDER --trained-on FILE --dataset {dataset}",
        "                             by samples of your models",
        f"  memo score NAME --from TABLE --dataset {dataset}   by their log-likelihoods",
    ]
    if scored:
        after = [
            "  memo compare     them side by side",
            "  memo show NAME   numbers of one of them",
        ]
    return [
        f"{_project.spec}: data sets {len(datasets)}, experiments 0; scored from elsewhere "
        f"{len(scored)}. Next:",
        *after,
        "All commands: memo --help",
    ]


def _say_costs(project: "ProjectSpec") -> None:
    from memo.project.cost import cost_of

    for name, spec in list(project.experiments.items())[:MOST_COSTS]:
        say(f"{name}: {cost_of(spec, project.datasets[spec.dataset].shape).words}")
    if len(project.experiments) > MOST_COSTS:
        say(f"... and {len(project.experiments) - MOST_COSTS} more")


def _advise() -> None:
    """Say on standard error what `dvc repro` would stumble over at once."""
    from memo.commands.program_path import path_advice

    advice = path_advice()
    if advice is not None:
        say(advice, error=True)


def _require_among(given: str | None, allowed: list[str], option: str) -> None:
    if given is not None and given not in allowed:
        raise InputError(f"{option}: {given!r} is not one of {', '.join(allowed)}")


def _score_table(file: Path, name: str | None, dataset: str | None, aggregate: str | None) -> None:
    """Scores and a report of a table, under a name that no experiment has."""
    from memo.project.reading import require_free_name, select_dataset

    name = file.stem if name is None else name
    project = _project.read() if dataset is not None or _project.spec.exists() else None
    require_free_name(name, project)
    _require_among(aggregate, ["mean-log", "paper"], "--aggregate")
    if project is not None and dataset is not None:
        select_dataset(project, dataset)
    from memo.commands.elsewhere import score_table as stage

    method: Method = "paper" if aggregate == "paper" else "mean-log"
    _say_scores(name, stage.score_table(file, _project.layout, name, method, dataset))


def _score_samples(
    samples: Path,
    trained_on: Path | None,
    likelihood: str | None,
    tests: str | None,
    name: str | None,
    dataset: str | None,
    aggregate: str | None,
) -> None:
    """Scores and a report of models' samples, under a name that no experiment has."""
    from memo.project.reading import require_free_name, select_dataset

    name = samples.stem if name is None else name
    project = _project.read()
    require_free_name(name, project)
    _require_among(aggregate, ["mean-log", "paper"], "--aggregate")
    dataset = _only(dataset, list(project.datasets), "data set")
    select_dataset(project, dataset)
    if trained_on is None:
        raise InputError(
            "--samples: name the table of which observations each model was trained on by "
            "--trained-on TABLE; memo design writes one to train by"
        )
    from memo.commands.elsewhere import score_samples as stage

    method: Method = "paper" if aggregate == "paper" else "mean-log"
    found = stage.score_samples(
        samples,
        trained_on,
        _project.layout,
        name,
        method,
        dataset,
        stage.read_likelihood(likelihood),
        stage.read_neighbors(tests),
    )
    _say_scores(name, found)


def _say_scores(name: str, found: "TableScores") -> None:
    from memo.commands import terminal
    from memo.report.headlines import about_intervals, summary_headlines

    headlines = summary_headlines(found.summary)
    terminal.print_headlines(name, headlines, about_intervals(found.summary))
    terminal.print_warnings(found.warnings)
    say(f"{found.scores}\n{found.page}")


def _read_if_there() -> "ProjectSpec | None":
    """The project; None in a folder that has only the scores of tables."""
    return _project.read() if _project.spec.exists() else None


def _scored_names(project: "ProjectSpec | None", given: list[str] | None) -> list[str]:
    """Experiments, or tables' scores, to compare."""
    from memo.artifacts.score_tables import from_table
    from memo.project.reading import select_experiment

    experiments = [] if project is None else list(project.experiments)
    tables = from_table(_project.layout, experiments)
    if project is None and not tables:
        _project.read()  # says that there is none
    for name in given or ():
        if name not in tables and project is not None:
            select_experiment(project, name)
        else:
            _require_among(name, tables, "scores")
    return given or [*experiments, *tables]


def _to_gate(experiment: str | None, policy: Path | None) -> "tuple[ProjectSpec | None, str, Path]":
    """The project, the experiment or a table's scores, and its policy."""
    project = _read_if_there()
    names = _scored_names(project, None if experiment is None else [experiment])
    name = _only(experiment, names, "experiment")
    if policy is not None:
        return project, name, policy
    if project is None or name not in project.policies:
        raise InputError(
            f"{name} has no policy: name one by --policy FILE, or in params.yaml under "
            f"`policies: {{{name}: policy.yaml}}`"
        )
    return project, name, Path(project.policies[name])


def _load(name: str) -> "StoredExperiment":
    return _loaded(_selected(name), name)


def _load_to_run(name: str, workers: int | None) -> tuple["StoredExperiment", "Executor"]:
    """An experiment, and where its tasks run."""
    project = _selected(name)
    from memo.execution.choice import executor
    from memo.training.device import visible_gpus

    where = executor(workers, gpus=visible_gpus())
    return _loaded(project, name), where


def _named(experiment: str | None) -> str:
    """The experiment that was named, or the only one there is."""
    return experiment or _only(None, list(_project.read().experiments), "experiment")


def _only(given: str | None, there: list[str], what: str) -> str:
    if given is None and not there:
        raise InputError(f"there is no {what} yet")
    if given is None and len(there) != 1:
        raise InputError(f"there are {len(there)}, so name one {what}: {', '.join(there)}")
    return there[0] if given is None else given


def _selected(name: str) -> "ProjectSpec":
    from memo.commands.expand import require_entry
    from memo.project.reading import select_experiment

    project = _project.read()
    select_experiment(project, name)
    require_entry(_project.expanded, name, project.expanded)
    return project


def _loaded(project: "ProjectSpec", name: str) -> "StoredExperiment":
    from memo.pipeline.stored_experiment import load_experiment

    return load_experiment(project, _project.layout, name)


def main() -> None:
    """Run a command; an error becomes one message and an exit code, SIGTERM ends it as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    set_up()
    try:
        app()
    except MemoError as error:
        _trace()
        say(f"memo: {error}", error=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read what is printed has gone, as `head` does
        discard_output()
        sys.exit(1)
    except OSError as error:
        _trace()
        say(f"memo: {error}", error=True)
        sys.exit(1)


def _trace() -> None:
    """Say where an error came up, where that was asked for."""
    if _project.verbose:
        say(traceback.format_exc().removesuffix("\n"), error=True)


if __name__ == "__main__":
    main()
