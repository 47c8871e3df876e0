"""Where each kind of file lies in a project (design: Files)."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Paths of a project's files below its root folder."""

    root: Path

    def prepared(self, dataset: str) -> Path:
        return self.root / "data" / "prepared" / dataset

    def folds(self, experiment: str) -> Path:
        return self.root / "artifacts" / "folds" / experiment

    def fold(self, experiment: str, repeat: int, fold: int) -> Path:
        return self.folds(experiment) / f"{_fold_name(repeat, fold)}.safetensors"

    def full_model(self, experiment: str) -> Path:
        return self.root / "artifacts" / "full" / f"{experiment}.safetensors"

    def seconds(self, experiment: str) -> Path:
        return self.root / "artifacts" / "seconds" / f"{experiment}.json"

    def log_likelihoods(self, experiment: str) -> Path:
        return self.root / "artifacts" / "log_likelihoods" / experiment

    def fold_log_likelihoods(self, experiment: str, repeat: int, fold: int) -> Path:
        return self.log_likelihoods(experiment) / f"{_fold_name(repeat, fold)}.parquet"

    def full_log_likelihoods(self, experiment: str) -> Path:
        """Of every observation under the full model."""
        return self.log_likelihoods(experiment) / "full.parquet"

    def left_out_log_likelihoods(self, experiment: str) -> Path:
        """Of every observation under the density that is fitted to all others."""
        return self.log_likelihoods(experiment) / "left-out.parquet"

    def scores(self, experiment: str) -> Path:
        return self.root / "artifacts" / "scores" / f"{experiment}.parquet"

    @property
    def all_scores(self) -> list[Path]:
        """Of every experiment, and of every table of log-likelihoods."""
        return sorted((self.root / "artifacts" / "scores").glob("*.parquet"))

    def neighbors(self, experiment: str) -> Path:
        return self.root / "artifacts" / "neighbors" / f"{experiment}.parquet"

    def nearest_samples(self, experiment: str) -> Path:
        """The samples that are nearest to an observation."""
        return self.neighbors(experiment).with_suffix(".safetensors")

    def lock(self, kind: str, name: str) -> Path:
        """Held while files of an experiment or a data set are written; no output of DVC's."""
        return self.root / "artifacts" / "locks" / kind / f"{name}.lock"

    def report(self, experiment: str) -> Path:
        return self.root / "reports" / experiment

    @property
    def comparison(self) -> Path:
        return self.root / "reports" / "compare"


def _fold_name(repeat: int, fold: int) -> str:
    return f"r{repeat:03d}-f{fold:03d}"
