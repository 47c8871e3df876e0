"""train: prepared data -> one file for each fold model, and one for the full model."""

from contextlib import closing
from pathlib import Path

from memo.artifacts.files import make_folder, remove_leftovers
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
    wanted = {m.name for m in experiment.models if not _holds(experiment, m, seconds)}
    write_seconds(seconds_file, seconds)
    kept = len(experiment.models) - len(wanted)
    if kept:
        console.print(f"{name}: {kept} of {len(experiment.models)} models are kept")
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
            for model in experiment.models
        )
        return (
            f"{here} of {len(experiment.models)} models are kept in "
            f"{layout.folds(name)}; the next run trains the rest"
        )

    with (
        telling_kept(name, words_of_kept),
        progress(f"{name}: models trained", len(wanted)) as advance,
        closing(train_models(experiment, wanted, executor, tell)) as stacks,
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


def _holds(experiment: StoredExperiment, model: ModelPlan, seconds: dict[str, float]) -> bool:
    """True where the file holds, or another experiment has trained the same model: it is copied."""
    file = experiment.model_file(model)
    remove_leftovers(file.path)
    if file.path.exists():
        problem = file.problem()
        if problem is None:
            return True
        console.print(f"{problem}; it is trained anew", soft_wrap=True)
    is_full = model.fold is None
    folder = file.path.parent if is_full else file.path.parent.parent
    found = file.copy_from(folder, "*.safetensors" if is_full else f"*/{file.path.name}")
    if found is None:
        return False
    other = found.stem if is_full else found.parent.name
    measured = read_seconds(experiment.layout.seconds(other)).get(found.stem)
    if measured is not None:
        seconds[file.path.stem] = measured
    console.print(f"{experiment.name}: {model.words} is the same as of {other}", soft_wrap=True)
    return True


def _file_of(experiment: StoredExperiment, model: ModelPlan) -> Path:
    return experiment.layout.model(experiment.name, model.name)
