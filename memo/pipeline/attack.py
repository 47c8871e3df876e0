"""attack: log-likelihoods under fold models -> membership inference, influence of near records."""

from memo.attacks.membership import Attacked
from memo.experiments.attacked.attacking import attack_experiment
from memo.experiments.attacked.near_records import influence_of_neighbors
from memo.experiments.log_likelihoods import scored_densities
from memo.pipeline.progress import progress
from memo.pipeline.stored_experiment import StoredExperiment, exclusive


@exclusive
def attack(experiment: StoredExperiment) -> Attacked:
    """Attack each fold model with those that do not depend on it, and write what is found.

    Raises:
        ArtifactError: Scores or log-likelihoods are missing, damaged, or from another spec; or a
            file cannot be written.
    """
    scores = experiment.read_scores()
    tables = [experiment.read_log_likelihoods(density) for density in scored_densities(experiment)]
    attacked = attack_experiment(experiment, tables, scores)
    experiment.attack_files().write(attacked)
    what = f"{experiment.name}: observations compared with each other"
    with progress(what, len(experiment.data)) as advance:
        influence = influence_of_neighbors(experiment, tables, scores, advance)
    experiment.influence_file().write(influence)
    return attacked
