"""Training objectives as modules over embeddings."""

from narravid.losses.mil_nce import MILNCELoss

__all__ = ["MILNCELoss"]
