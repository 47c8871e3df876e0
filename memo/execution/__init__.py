"""Where trainings and scorings run; a property of the machine, never of a result."""

from memo.execution.choice import executor, start_nursery
from memo.execution.processes import InProcess, Processes
from memo.execution.protocol import Executor, Lazy

__all__ = ["Executor", "InProcess", "Lazy", "Processes", "executor", "start_nursery"]
