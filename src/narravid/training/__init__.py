"""Training: the loop, its optimisers and schedules, checkpoints with exact resume, and the log of a run."""
