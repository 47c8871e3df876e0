"""Places of each kind of file in a project."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of a project's files below its root folder."""

    root: Path

    def prepared(self, dataset: str) -> Path:
        return self.root / "data" / "prepared" / dataset

    def folds(self, experiment: str) -> Path:
        return self.root / "artifacts" / "folds" / experiment

    def model(self, experiment: str, name: str) -> Path:
        """The file of one model, `full` or a fold model's name."""
        if name == "full":
            return self.root / "artifacts" / "full" / f"{experiment}.safetensors"
        return self.folds(experiment) / f"{name}.safetensors"

    def samples(self, experiment: str) -> Path:
        return self.root / "artifacts" / "samples" / experiment

    def seconds(self, experiment: str) -> Path:
        return self.root / "artifacts" / "seconds" / f"{experiment}.json"

    def log_likelihoods(self, experiment: str) -> Path:
        return self.root / "artifacts" / "log_likelihoods" / experiment

    def illustration(self, experiment: str) -> Path:
        """Densities with and without one observation, where observations are one or two numbers."""
        return self.root / "artifacts" / "illustrations" / f"{experiment}.safetensors"

    def scores(self, experiment: str) -> Path:
        return self.root / "artifacts" / "scores" / f"{experiment}.parquet"

    def compared(self, experiment: str) -> Path:
        """The file that names an experiment's scores, by which DVC knows when to compare anew."""
        return self.root / "artifacts" / "compared" / f"{experiment}.json"

    @property
    def all_scores(self) -> list[Path]:
        """Files of scores, of every experiment and every table of log-likelihoods."""
        return sorted((self.root / "artifacts" / "scores").glob("*.parquet"))

    def neighbors(self, experiment: str) -> Path:
        return self.root / "artifacts" / "neighbors" / f"{experiment}.parquet"

    def attacks(self, experiment: str) -> Path:
        """Risks of records, a table; what else attacks found lies beside it."""
        return self.root / "artifacts" / "attacks" / f"{experiment}.parquet"

    def attack_results(self, experiment: str) -> Path:
        """Rates and curves of attacks, as JSON."""
        return self.attacks(experiment).with_suffix(".json")

    def influence(self, experiment: str) -> Path:
        """Influence of near records on each other, a table."""
        return self.root / "artifacts" / "influence" / f"{experiment}.parquet"

    def lock(self, kind: str, name: str) -> Path:
        """Held while files of an experiment or a data set are written; no output of DVC's."""
        return self.root / "artifacts" / "locks" / kind / f"{name}.lock"

    def results(self, experiment: str) -> list[Path]:
        """Files and folders that stages of an experiment write, but for its report."""
        return [
            self.folds(experiment),
            self.model(experiment, "full"),
            self.samples(experiment),
            self.seconds(experiment),
            self.log_likelihoods(experiment),
            self.illustration(experiment),
            self.scores(experiment),
            self.neighbors(experiment),
            self.attacks(experiment),
            self.attack_results(experiment),
            self.influence(experiment),
        ]

    def report(self, experiment: str) -> Path:
        return self.root / "reports" / experiment

    @property
    def comparison(self) -> Path:
        """The comparison of all experiments, an output of DVC's."""
        return self.root / "reports" / "compare"

    def one_comparison(self, words: str) -> Path:
        """A comparison that was asked for once; no output of DVC's, and no experiment's name."""
        return self.root / "reports" / f"compare@{words}"
