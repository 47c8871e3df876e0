"""One model from one training set: the loop, and mitigations as its parts."""

from memo.training.contract import TRIED, ContractError, check_contract, why_not_stacked
from memo.training.device import default_device, one_thread, visible_gpus
from memo.training.fit import fit_model
from memo.training.plan import TrainingPlan, training_plan
from memo.training.private import epsilon_spent
from memo.training.stack import Weights, stack_size
from memo.training.train import Trained, TrainingError, TrainingSet, train_stack

__all__ = [
    "TRIED",
    "ContractError",
    "Trained",
    "TrainingError",
    "TrainingPlan",
    "TrainingSet",
    "Weights",
    "check_contract",
    "default_device",
    "epsilon_spent",
    "fit_model",
    "one_thread",
    "stack_size",
    "train_stack",
    "training_plan",
    "visible_gpus",
    "why_not_stacked",
]
