"""Training: the loop, its optimisers and schedules, checkpoints with exact resume, and the log of a run."""

from narravid.training.logging import read_log

__all__ = ["read_log"]
