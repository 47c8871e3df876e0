"""Files: paths, atomic writes, fingerprints and versions, schemas of tables."""

from memo.artifacts.facts import parse_facts, read_facts
from memo.artifacts.files import ArtifactError, make_folder, remove_leftovers, write_whole
from memo.artifacts.fingerprints import fingerprint
from memo.artifacts.likelihoods import read_likelihoods, wrong_row
from memo.artifacts.lock import locked
from memo.artifacts.paths import Layout
from memo.artifacts.tables import (
    LOG_LIKELIHOODS,
    NEIGHBORS,
    OBSERVATIONS,
    SCORES,
    Facts,
    Schema,
    parse_table,
    read_table,
    require_keys,
    write_table,
)
from memo.artifacts.tensors import Tensors, read_tensors, write_tensors
from memo.artifacts.versions import NEIGHBORS_VERSION, SCORING_VERSION, TRAINING_VERSION

__all__ = [
    "LOG_LIKELIHOODS",
    "NEIGHBORS",
    "NEIGHBORS_VERSION",
    "OBSERVATIONS",
    "SCORES",
    "SCORING_VERSION",
    "TRAINING_VERSION",
    "ArtifactError",
    "Facts",
    "Layout",
    "Schema",
    "Tensors",
    "fingerprint",
    "locked",
    "make_folder",
    "parse_facts",
    "parse_table",
    "read_facts",
    "read_likelihoods",
    "read_table",
    "read_tensors",
    "remove_leftovers",
    "require_keys",
    "write_table",
    "write_tensors",
    "write_whole",
    "wrong_row",
]
