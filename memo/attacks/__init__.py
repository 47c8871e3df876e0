"""Attacks on models and their records: membership, extraction, influence between records."""

from memo.attacks.membership import Attacked, Promise, attack_models
from memo.attacks.methods.known_attacks import ATTACKS, PRIMARY
from memo.attacks.results import AttackResults
from memo.attacks.risk import RISKS
from memo.attacks.trained_models import TrainedModels

__all__ = [
    "ATTACKS",
    "PRIMARY",
    "RISKS",
    "AttackResults",
    "Attacked",
    "Promise",
    "TrainedModels",
    "attack_models",
]
