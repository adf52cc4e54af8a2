"""Training: the loop, its settings, and the folder that a run leaves."""
