"""train: prepared data -> one file for each fold model, and one for the full model."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from memo.artifacts.files import by_reason, make_folder, remove_leftovers
from memo.artifacts.training_seconds import read_seconds, write_seconds
from memo.execution.protocol import Executor
from memo.experiments.experiment import ModelPlan
from memo.experiments.model_training import train_models
from memo.experiments.readiness import require_ready
from memo.pipeline.neighbors import importable
from memo.pipeline.progress import console, progress, telling_kept
from memo.pipeline.stored_experiment import StoredExperiment, exclusive


@exclusive
def train(experiment: StoredExperiment, executor: Executor) -> int:
    """Train every model whose file is missing or does not hold; return how many.

    Raises:
        InputError: A model of the user's own does not offer what it must.
        WorkError: A loss is not finite: names experiment, repeat, fold and epoch. Or another
            process works on the experiment.
        ArtifactError: A file cannot be written.
    """
    name, layout = experiment.name, experiment.layout
    for kind, count in experiment.left_out().items():
        console.print(
            f"{name}: {kind} leaves {count:,} of {len(experiment.data):,} observations out of "
            "training",
            soft_wrap=True,
        )
    make_folder(layout.folds(name))  # DVC expects it, even if it stays empty
    seconds_file = layout.seconds(name)
    seconds = read_seconds(seconds_file)
    found = _Found()
    wanted = {
        m.name for m in experiment.trained_models if not _holds(experiment, m, seconds, found)
    }
    write_seconds(seconds_file, seconds)
    for words in found.sentences(name):
        console.print(words, soft_wrap=True)
    kept = len(experiment.trained_models) - len(wanted)
    if kept:
        console.print(f"{name}: {kept} of {len(experiment.trained_models)} models are kept")
    if not wanted:
        return 0
    with importable(layout.root):
        require_ready(experiment)
    left = set(wanted)

    def tell(words: str) -> None:
        console.print(f"{name}: {words}", soft_wrap=True)

    def words_of_kept() -> str:
        # An interrupt may come between the writing of a file and the next line: files tell.
        here = sum(
            model.name not in left or experiment.model_file(model).problem() is None
            for model in experiment.trained_models
        )
        return (
            f"{here} of {len(experiment.trained_models)} models are kept in "
            f"{layout.folds(name)}; the next run trains the rest"
        )

    with (
        telling_kept(name, words_of_kept),
        progress(f"{name}: models trained", len(wanted)) as advance,
        closing(
            train_models(
                experiment,
                wanted,
                executor,
                tell,
                lambda stack: advance.begin(sum(model.name in left for model in stack)),
            )
        ) as stacks,
    ):
        for stack in stacks:
            for model, trained in zip(stack.models, stack.trained, strict=True):
                seconds[_file_of(experiment, model).stem] = stack.seconds
                if model.name in left:
                    file = experiment.model_file(model)
                    file.write(trained.weights, trained.losses, model.held_out)
                    left.remove(model.name)
                    advance(1)
            write_seconds(seconds_file, seconds)
    return len(wanted)


@dataclass
class _Found:
    """Files that were there before, and are not simply kept."""

    outdated: dict[str, list[Path]] = field(default_factory=dict)
    """Files that do not hold, by reason."""
    copied: dict[str, list[str]] = field(default_factory=dict)
    """Words for models that are the same as of another experiment, by its name."""

    def sentences(self, experiment: str) -> Iterator[str]:
        """Say it in a line for each reason, not for each file."""
        for words, files in zip(by_reason(self.outdated), self.outdated.values(), strict=True):
            yield f"{words}; {'they are' if len(files) > 1 else 'it is'} trained anew"
        for source, (model, *further) in self.copied.items():
            more = f" and {len(further)} more models are" if further else " is"
            yield f"{experiment}: {model}{more} the same as of {source}"


def _holds(
    experiment: StoredExperiment, model: ModelPlan, seconds: dict[str, float], found: _Found
) -> bool:
    """True where the file holds, or another experiment has trained the same model: it is copied."""
    file = experiment.model_file(model)
    remove_leftovers(file.path)
    problem = file.problem() if file.path.exists() else None
    if file.path.exists() and problem is None:
        return True
    is_full = model.fold is None
    folder = file.path.parent if is_full else file.path.parent.parent
    copy = file.copy_from(folder, "*.safetensors" if is_full else f"*/{file.path.name}")
    if copy is None:
        if problem is not None:
            reason = problem.removeprefix(f"{file.path}: ")
            found.outdated.setdefault(reason, []).append(file.path)
        return False
    other = copy.stem if is_full else copy.parent.name
    measured = read_seconds(experiment.layout.seconds(other)).get(copy.stem)
    if measured is not None:
        seconds[file.path.stem] = measured
    found.copied.setdefault(other, []).append(model.words)
    return True


def _file_of(experiment: StoredExperiment, model: ModelPlan) -> Path:
    return experiment.layout.model(experiment.name, model.name)
