"""The trainings of the solver `hard-constraint`."""
