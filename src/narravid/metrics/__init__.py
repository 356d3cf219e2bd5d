"""Measures of quality as pure functions."""

from narravid.metrics.alignment import (
    AlignedVideo,
    AlignmentMetrics,
    RocAuc,
    TextOutcomes,
    htm_align_metrics,
    roc_auc,
    text_outcomes,
)
from narravid.metrics.classification import (
    HitRate,
    VideoScores,
    average_clip_scores,
    hit_at_k,
    top_k_accuracy,
)
from narravid.metrics.localization import (
    PlacedSteps,
    SegmentAccuracy,
    StepRecall,
    StepVideo,
    crosstask_average_recall,
    crosstask_segment_accuracy,
    find_steps,
)
from narravid.metrics.placement import place_steps
from narravid.metrics.ranking import RankCounts
from narravid.metrics.retrieval import (
    bidirectional_rank_counts,
    bidirectional_retrieval_metrics,
    chance_metrics,
    rank_counts,
    retrieval_metrics,
    retrieval_ranks,
)
from narravid.metrics.retrieval_embeddings import (
    bidirectional_rank_counts_from_embeddings,
    bidirectional_retrieval_metrics_from_embeddings,
    rank_counts_from_embeddings,
    retrieval_metrics_from_embeddings,
)
from narravid.metrics.stitching import (
    AlignmentWindow,
    StitchedScores,
    StitchedSimilarity,
    alignment_windows,
    stitch_scores,
    stitch_similarity,
    whole_video_window,
)

__all__ = [
    "AlignedVideo",
    "AlignmentMetrics",
    "AlignmentWindow",
    "HitRate",
    "PlacedSteps",
    "RankCounts",
    "RocAuc",
    "SegmentAccuracy",
    "StepRecall",
    "StepVideo",
    "StitchedScores",
    "StitchedSimilarity",
    "TextOutcomes",
    "VideoScores",
    "alignment_windows",
    "average_clip_scores",
    "bidirectional_rank_counts",
    "bidirectional_rank_counts_from_embeddings",
    "bidirectional_retrieval_metrics",
    "bidirectional_retrieval_metrics_from_embeddings",
    "chance_metrics",
    "crosstask_average_recall",
    "crosstask_segment_accuracy",
    "find_steps",
    "hit_at_k",
    "htm_align_metrics",
    "place_steps",
    "rank_counts",
    "rank_counts_from_embeddings",
    "retrieval_metrics",
    "retrieval_metrics_from_embeddings",
    "retrieval_ranks",
    "roc_auc",
    "stitch_scores",
    "stitch_similarity",
    "text_outcomes",
    "top_k_accuracy",
    "whole_video_window",
]
