"""Where trainings and scorings run; a property of the machine, never of a result."""

from memo.execution.executors import Executor, InProcess, Processes, local_executor

__all__ = ["Executor", "InProcess", "Processes", "local_executor"]
