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
from narravid.losses.temporal_agreement import agreement_target, pad_windows, window_mask
from narravid.losses.temporal_alignment import (
    AlignmentLogits,
    AlignmentLossParts,
    AlignmentWindows,
    TemporalAlignmentConfig,
    TemporalAlignmentLoss,
)

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
    "TemporalAlignmentConfig",
    "TemporalAlignmentLoss",
    "TextEncoderCurriculum",
    "agreement_target",
    "noise_contrastive_terms",
    "pad_windows",
    "window_mask",
]
