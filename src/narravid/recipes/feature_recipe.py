"""What the recipes on extracted features share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeVar

from narravid.batches import FeatureBatch, WindowBatch
from narravid.recipes.feature_data import FeatureData
from narravid.recipes.training_recipe import TrainingRecipe

__all__ = ["FeatureRecipe"]

BatchT = TypeVar("BatchT", FeatureBatch, WindowBatch)


class FeatureRecipe(TrainingRecipe[FeatureData, BatchT]):
    """A training run on extracted features."""

    has_batch_norm: ClassVar[bool] = False

    def describe_data(self, data: FeatureData) -> Mapping[str, object]:
        """See `FeatureData.describe`."""
        return data.describe()
