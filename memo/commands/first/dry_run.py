"""A new project's params.yaml, tried before it is written: read back, prepared, planned."""

from pathlib import Path
from tempfile import TemporaryDirectory

from memo.datasets.prepared import Prepared
from memo.datasets.registry import prepare_dataset
from memo.errors import WorkError
from memo.experiments.experiment import plan_experiment
from memo.experiments.readiness import require_trainable
from memo.project.project_spec import ProjectSpec
from memo.project.reading import SpecError, read_project


def tried(text: str, source: Path | None) -> Prepared:
    """Do in memory what `validate` and `prepare` do, and a step of `train`; return the data set.

    Args:
        text: params.yaml, with one data set.
        source: Its files, as they are found from here; None where it has none.

    Raises:
        DataError: The data cannot be prepared.
        InputError: The data set does not go with the experiment.
        WorkError: memo itself refuses what it would write.
    """
    project = _read_back(text)
    (spec,) = project.datasets.values()
    if source is not None:
        spec = spec.model_copy(update={"path": str(source)})
    prepared = prepare_dataset(spec)
    for name, experiment in project.experiments.items():
        require_trainable(plan_experiment(name, experiment, prepared, ""))
    return prepared


def _read_back(text: str) -> ProjectSpec:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            return read_project(file)
        except SpecError as error:
            problem = str(error).replace(f"{folder}/", "")
            raise WorkError(
                f"memo init would write what memo validate refuses, and has written nothing; "
                f"please report this: {problem}"
            ) from error
