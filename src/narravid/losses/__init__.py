"""Training objectives as modules over embeddings."""

from narravid.losses.curriculum import TextEncoderCurriculum
from narravid.losses.info_nce import InfoNCELoss, InfoNCEParts
from narravid.losses.max_margin import MaxMarginRankingLoss
from narravid.losses.memory_bank import MemoryBank
from narravid.losses.memory_bank_nce import (
    MemoryBankNCELoss,
    MemoryBankNCEParts,
    noise_contrastive_terms,
)
from narravid.losses.mil_nce import MILNCELoss
from narravid.losses.negative_sampling import AliasSampler
from narravid.losses.soft_dtw import soft_dtw
from narravid.losses.temporal_agreement import agreement_target, pad_windows, window_mask
from narravid.losses.temporal_alignment import (
    AlignmentLogits,
    AlignmentLossParts,
    AlignmentWindows,
    TemporalAlignmentConfig,
    TemporalAlignmentLoss,
)
from narravid.losses.temporal_augmentation import (
    TemporalAugmentation,
    bounded_permutations,
    permutation_probabilities,
)
from narravid.losses.weak_alignment import S2DTWLoss, interleave, local_cost, pair_costs

__all__ = [
    "AliasSampler",
    "AlignmentLogits",
    "AlignmentLossParts",
    "AlignmentWindows",
    "InfoNCELoss",
    "InfoNCEParts",
    "MILNCELoss",
    "MaxMarginRankingLoss",
    "MemoryBank",
    "MemoryBankNCELoss",
    "MemoryBankNCEParts",
    "S2DTWLoss",
    "TemporalAlignmentConfig",
    "TemporalAlignmentLoss",
    "TemporalAugmentation",
    "TextEncoderCurriculum",
    "agreement_target",
    "bounded_permutations",
    "interleave",
    "local_cost",
    "noise_contrastive_terms",
    "pad_windows",
    "pair_costs",
    "permutation_probabilities",
    "soft_dtw",
    "window_mask",
]
