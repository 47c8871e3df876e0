"""The parts of an experiment, as Pydantic models: data sets, models, training, scoring."""
