"""What the recipes on extracted features share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

from narravid.bad_items import BadItems
from narravid.batches import FeatureBatch, WindowBatch
from narravid.recipes.beginning import refuse_large_batch
from narravid.recipes.feature_data import FeatureData
from narravid.recipes.training_recipe import TrainingRecipe

__all__ = ["FeatureRecipe"]

BatchT = TypeVar("BatchT", FeatureBatch, WindowBatch)


class FeatureRecipe(TrainingRecipe[FeatureData, BatchT]):
    """A training run on extracted features."""

    @abstractmethod
    def read_features(self, bad: BadItems) -> FeatureData:
        """What is trained on; what cannot be used goes to `bad`."""

    def find_data(self, bad: BadItems) -> FeatureData:
        """What is trained on; what cannot be used goes to `bad`."""
        found = self.read_features(bad)
        refuse_large_batch(self.data.batch_size, len(found.items))
        return found

    def describe_data(self, data: FeatureData) -> Mapping[str, object]:
        """See `FeatureData.describe`."""
        return data.describe()
