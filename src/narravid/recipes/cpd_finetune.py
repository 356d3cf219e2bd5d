"""CPD's fine-tuning: the video trunk of a pre-trained model learns to tell actions apart.

Li & Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination, arXiv 2001.05691. The
defaults are the published setting: UCF101 or HMDB51, clips of 16 frames of 224 pixels, every fourth at
30 fps, SGD at 0.02, a tenth of that after each plateau of the accuracy, dropout 0.8, 100 epochs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from torch import nn

from narravid.batches import LabelledBatch
from narravid.data.labelled import (
    LabelledDataset,
    LabelledList,
    read_action_splits,
    read_cpd_clips,
    read_labels_csv,
)
from narravid.data.sources import ClipSource
from narravid.errors import CheckpointError, ConfigError
from narravid.evaluation.classification import Classifier, evaluate_accuracy
from narravid.models.cpd import FINE_TUNING_CLIPS, GREY_MEAN, GREY_STD
from narravid.models.fine_tuning import classifier_from_pre_trained
from narravid.models.hub import load
from narravid.models.kinds import normalised_as
from narravid.models.resnet3d import ResNet3DConfig
from narravid.models.video_classifier import CPDClassifier, CPDClassifierConfig
from narravid.recipes.clip_config import ClipDataConfig
from narravid.recipes.clip_recipe import ClipRecipe
from narravid.recipes.narrated_config import absolute_path
from narravid.recipes.tiny import TINY_WORLD, tiny_trainer
from narravid.recipes.toy_data import is_toy, toy_files
from narravid.tasks.classification import ClassificationTask
from narravid.training.config import Evaluation, Precision, TrainerConfig
from narravid.training.optim_config import OptimConfig
from narravid.types import ClipSpec
from narravid.video.transforms import Augmentation
from narravid.video.watched import WatchedDecoder

__all__ = ["RECIPE_NAME", "AccuracyConfig", "CPDFineTuningRecipe", "ClassifierConfig", "LabelledDataConfig"]

RECIPE_NAME = "cpd-finetune"

_log = logging.getLogger(__name__)

PUBLISHED_OPTIM = OptimConfig(
    name="sgd", lr=0.02, weight_decay=1e-4, decay="all", schedule="plateau", patience=5, warmup_steps=0
)


@dataclass(frozen=True)
class LabelledDataConfig(ClipDataConfig):
    """Which labelled clips are trained on and how they are drawn.

    Attributes:
        labels: The list of clips and classes; toy:tiny takes the motions of a toy world.
        format: Its form: csv is video_path,label,split[,start_seconds,end_seconds]; ucf101 and hmdb51 are the
            tables of their three splits; cpd is one split as CPD's JSON.
        root: Folder of the videos; not for csv, whose paths start at the list.
        split: Which of the three splits of ucf101 and hmdb51.
    """

    batch_size: int = 128
    labels: Path | None = None
    format: Literal["csv", "ucf101", "hmdb51", "cpd"] = "csv"
    root: Path | None = None
    split: Literal[1, 2, 3] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.format == "csv") != (self.root is None):
            raise ValueError("data.root, the folder of the videos, belongs to every format but csv")

    def absolute(self) -> LabelledDataConfig:
        """The same with absolute paths, so that a run can be resumed from any folder."""
        return replace(
            self,
            labels=self.labels and absolute_path(self.labels),
            root=self.root and absolute_path(self.root),
        )


@dataclass(frozen=True)
class ClassifierConfig:
    """The classifier.

    Attributes:
        video: Shape of the trunk; without effect where init brings one.
        clip_spec: What a clip must look like; mean and std are those of init where it is given.
        dropout: Share of the features dropped in training, before the classifier.
    """

    video: ResNet3DConfig = field(default_factory=ResNet3DConfig)
    clip_spec: ClipSpec = FINE_TUNING_CLIPS
    dropout: float = 0.8


@dataclass(frozen=True)
class AccuracyConfig:
    """Accuracy on the test clips while training; the model with the best one is kept.

    Attributes:
        num_windows: Windows per clip whose scores are averaged.
        batch_size: Windows per forward pass.
    """

    num_windows: int = 3
    batch_size: int = 8

    def __post_init__(self) -> None:
        if min(self.num_windows, self.batch_size) < 1:
            raise ValueError(
                f"num_windows and batch_size must be at least 1, got {self.num_windows} and {self.batch_size}"
            )


@dataclass(frozen=True)
class CPDFineTuningRecipe(ClipRecipe[LabelledList, LabelledBatch]):
    """A run of CPD's fine-tuning.

    Attributes:
        data: Which labelled clips, and how they are drawn.
        model: The classifier.
        backbone: Whether the whole trunk learns, or only the classifier on top of it.
        optim: Optimiser and schedule; plateau goes by the accuracy after each epoch.
        trainer: Length of the run and what to keep.
        evaluation: Accuracy while training.
        init: Pre-trained model whose video trunk to start from: a published name, a checkpoint, a model
            folder or a run folder of a CPD or S3D model. None starts from random weights.
        seed: Seed of weights, order and draws.
        device: Where to train: cpu, cuda, cuda:1 and so on; auto takes a GPU when there is one.
        dtype: Type of the forward pass; the weights stay float32.
        workers: Watched decoding processes: a file that crashes or stalls one costs that file. 0 decodes in
            the training process: a file that crashes the decoder ends the run.
    """

    name: ClassVar[str] = RECIPE_NAME

    data: LabelledDataConfig = field(default_factory=LabelledDataConfig)
    model: ClassifierConfig = field(default_factory=ClassifierConfig)
    backbone: Literal["fine-tuned", "frozen"] = "fine-tuned"
    optim: OptimConfig = PUBLISHED_OPTIM
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(num_epochs=100))
    evaluation: AccuracyConfig = field(default_factory=AccuracyConfig)
    init: str | None = None
    seed: int = 0
    device: str = "auto"
    dtype: Precision = "float32"
    workers: int = 2

    @classmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""
        return {"tiny": cls._tiny}

    @classmethod
    def _tiny(cls) -> Self:
        """A toy world on a CPU, in about a minute: a trunk of random weights learns four motions."""
        return cls(
            data=LabelledDataConfig(
                batch_size=32,
                zoom=None,
                crop="center",
                # Left and right matter here, so nothing is mirrored.
                augmentation=Augmentation(flip_probability=0.0, brightness=0.15, shift_pixels=4),
                storage="memory",
                labels=Path(TINY_WORLD),
            ),
            model=ClassifierConfig(
                video=ResNet3DConfig(depth=10, stem_channels=16),
                clip_spec=ClipSpec(num_frames=8, fps=4.0, size_pixels=32, mean=GREY_MEAN, std=GREY_STD),
                dropout=0.2,
            ),
            optim=OptimConfig(name="adamw", lr=3e-3, weight_decay=1e-3, max_grad_norm=20.0),
            trainer=tiny_trainer(100),
            evaluation=AccuracyConfig(num_windows=2, batch_size=32),
            device="cpu",
            workers=0,
        )

    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        data = self.data
        if data.labels is not None and is_toy(data.labels):
            data = replace(data, labels=toy_files(data.labels).labels)
        init = self.init
        if init is not None and Path(init).expanduser().exists():
            init = str(absolute_path(Path(init)))
        return replace(self, data=data.absolute(), init=init)

    def read_samples(self) -> LabelledList:
        """The labelled clips to learn from and to judge by, if any of the latter is there."""
        found = self._read_list()
        if found.test and not any(clip.path.is_file() for clip in found.test):
            _log.warning("none of the %d test videos is there: the model is not judged", len(found.test))
            return replace(found, test=())
        return found

    def _read_list(self) -> LabelledList:
        data = self.data
        if data.labels is None:
            raise ConfigError("data.labels is not set: name the list of clips and classes, or toy:tiny")
        if data.root is None:
            return read_labels_csv(data.labels)
        if data.format == "cpd":
            return read_cpd_clips(data.labels, data.root)
        dataset: Literal["ucf101", "hmdb51"] = "ucf101" if data.format == "ucf101" else "hmdb51"
        return read_action_splits(data.labels, data.root, dataset=dataset, split=data.split)

    def first_model(self, data: LabelledList) -> nn.Module:
        """The trunk that `init` names, or one of random weights, and a classifier on top of it."""
        num_classes, config = len(data.labels), self.model
        if self.init is None:
            if self.backbone == "frozen":
                raise ConfigError("backbone is frozen, and its weights would be random: set init", key="init")
            whole = CPDClassifierConfig(
                num_classes, config.video, config.clip_spec, config.dropout, data.labels
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                return CPDClassifier(whole)
        pre_trained = load(self.init)
        try:
            return classifier_from_pre_trained(
                pre_trained,
                num_classes=num_classes,
                generator=torch.Generator().manual_seed(self.seed),
                dropout=config.dropout,
                clip_spec=normalised_as(pre_trained, config.clip_spec),
                class_names=data.labels,
            )
        except ValueError as error:
            raise CheckpointError(self.init, str(error)) from error

    def open_samples(
        self, found: LabelledList, source: ClipSource, *, spec: ClipSpec, model: Classifier
    ) -> LabelledDataset:
        """The labelled clips as the classifier wants to see them."""
        return LabelledDataset(
            found.train, source, spec=spec, zoom=self.data.zoom, augmentation=self.data.augmentation
        )

    def build_task(self, data: LabelledList, model: nn.Module) -> ClassificationTask:
        """The classifier and cross-entropy."""
        return ClassificationTask(model, frozen_trunk=self.backbone == "frozen")

    def build_evaluation(self, data: LabelledList, model: Classifier) -> Evaluation | None:
        """Accuracy on the test clips, where there are some."""
        if not data.test:
            return None

        def measure() -> dict[str, float]:
            with WatchedDecoder() as decoder:
                accuracy = evaluate_accuracy(
                    model,
                    data.test,
                    num_windows=self.evaluation.num_windows,
                    batch_size=self.evaluation.batch_size,
                    decoder=decoder,
                )
            return {"top1": accuracy.top1, "top5": accuracy.top5}

        return Evaluation(measure, metric="top1")
