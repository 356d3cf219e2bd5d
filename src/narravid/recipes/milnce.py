"""MIL-NCE: S3D and a sentence tower from scratch on narrated videos.

Miech et al., End-to-End Learning of Visual Representations from Uncurated Instructional Videos, CVPR 2020,
arXiv 1912.06430. The defaults are the published setting: clips of 16 frames of 224 pixels at 5 fps, 5 caption
candidates, Adam at 1e-3 with warm-up and cosine, 300 epochs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from narravid.bad_items import BAD_ITEMS_NAME, BadItems, TooManyBadItemsError
from narravid.batches import NarratedBatch
from narravid.config import check_choices, to_dict
from narravid.data.corpus import NarratedVideo
from narravid.data.loader import LoadingReport
from narravid.data.narrated import NarratedDataset
from narravid.errors import ConfigError
from narravid.files import read_json, write_json
from narravid.losses import MILNCELoss
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.models.hub import save_model
from narravid.recipes.corpus import describe_corpus, find_corpus
from narravid.recipes.devices import pick_device
from narravid.recipes.narrated import (
    build_dataset,
    build_evaluation,
    build_model,
    build_vocabulary,
    narrated_training_data,
)
from narravid.recipes.narrated_config import EvaluationConfig, NarratedDataConfig, NarratedModelConfig
from narravid.tasks.contrastive import ContrastiveTask
from narravid.text.words import Vocabulary
from narravid.training.config import Precision, TrainerConfig, TrainingResult
from narravid.training.optim import OptimConfig
from narravid.training.run import create_run, refuse_existing_run
from narravid.training.trainer import Trainer

__all__ = ["RECIPE_NAME", "MILNCERecipe"]

RECIPE_NAME = "milnce"
VOCABULARY_NAME = "vocabulary.json"
CORPUS_NAME = "corpus.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MILNCERecipe:
    """A MIL-NCE training run.

    Attributes:
        data: Which videos, and how clips and captions are drawn.
        model: The dual encoder.
        optim: Optimiser and schedule.
        trainer: Length of the run and what to keep.
        evaluation: Retrieval while training.
        seed: Seed of weights, order and draws.
        device: Where to train: cpu, cuda, cuda:1 and so on; auto takes a GPU when there is one.
        dtype: Type of the forward pass; bfloat16 runs under autocast, the weights stay float32.
        workers: Watched decoding processes: a file that crashes or stalls one costs that file. 0 decodes in
            the training process: a file that crashes the decoder ends the run.
    """

    data: NarratedDataConfig
    model: NarratedModelConfig = field(default_factory=NarratedModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = 0
    device: str = "auto"
    dtype: Precision = "float32"
    workers: int = 2

    def __post_init__(self) -> None:
        check_choices(self)
        if self.seed < 0 or self.workers < 0:
            raise ValueError(f"seed and workers must not be negative, got {self.seed} and {self.workers}")
        if self.model.word_vectors is not None and self.data.vocabulary is None:
            raise ValueError("model.word_vectors needs the vocabulary they belong to: set data.vocabulary")

    def train(self, run: Path, *, resume: bool = False) -> TrainingResult:
        """Train from the first step to the last, or from where an interrupted run stands.

        Args:
            run: The run folder: new for a new run, the run's own when resuming.
            resume: Go on with the run in the folder.

        Returns:
            What came of it; the folder holds log, curves, checkpoints and the model.

        Raises:
            NarravidError: If anything needed is absent or does not fit; as a rule before the work begins.
        """
        if not resume:
            refuse_existing_run(run)
        recipe = replace(
            self,
            data=self.data.absolute(),
            model=self.model.absolute(),
            evaluation=self.evaluation.absolute(),
        )
        table = run / BAD_ITEMS_NAME
        bad = BadItems()  # of a resumed run too: the checkpoint knows how often each was met until then
        try:
            videos = find_corpus(recipe.data, bad=bad)
            return recipe._train_on(videos, run, resume=resume, bad=bad)
        except TooManyBadItemsError as error:
            bad.write(table)
            raise TooManyBadItemsError(
                f"{error}; all of them are in {table}; data.max_bad_share sets how many are borne"
            ) from error

    def _train_on(
        self, videos: Sequence[NarratedVideo], run: Path, *, resume: bool, bad: BadItems
    ) -> TrainingResult:
        if resume:
            _refuse_another_corpus(run, videos)
        vocabulary = self._vocabulary(videos, run if resume else None)
        model = build_model(self.model, vocabulary, seed=self.seed, device=pick_device(self.device))
        report = LoadingReport(bad=bad, max_bad_share=self.data.max_bad_share, table=run / BAD_ITEMS_NAME)
        with closing(build_dataset(self.data, videos, model, num_workers=self.workers)) as dataset:
            trainer = self._trainer(model, dataset, run, report)
            if not resume:
                refuse_existing_run(run)  # again: decoding into memory takes long, another run may have begun
                vocabulary.save(run / VOCABULARY_NAME)
                write_json(run / CORPUS_NAME, describe_corpus(videos))
                create_run(run, recipe=RECIPE_NAME, config=to_dict(self))
            result = trainer.fit(seed=self.seed, dtype=self.dtype, resume=resume)
        if bad or report.num_padded_clips:
            _log.warning(report.summary())
        return result

    def _vocabulary(self, videos: Sequence[NarratedVideo], run: Path | None) -> Vocabulary:
        """That of the run to resume, or the one that the data give."""
        if run is not None:
            return Vocabulary.load(run / VOCABULARY_NAME)
        return build_vocabulary(self.data, videos, lower_case=self.model.lower_case)

    def _trainer(
        self, model: S3DDualEncoder, dataset: NarratedDataset, run: Path, report: LoadingReport
    ) -> Trainer[NarratedBatch]:
        data = narrated_training_data(
            dataset,
            batch_size=self.data.batch_size,
            seed=self.seed,
            num_workers=self.workers,
            pin_memory=model.device.type == "cuda",
            report=report,
        )
        return Trainer(
            ContrastiveTask(model, MILNCELoss()),
            self.optim,
            config=self.trainer,
            data=data,
            run=run,
            evaluation=build_evaluation(self.evaluation, model),
            export=lambda folder: save_model(model, folder),
        )


def _refuse_another_corpus(run: Path, videos: Sequence[NarratedVideo]) -> None:
    path = run / CORPUS_NAME
    if not path.is_file():
        raise ConfigError(f"{path}, which says what the run is trained on, is gone; put it back")
    begun, now = read_json(path), describe_corpus(videos)
    if begun != now:
        raise ConfigError(
            f"the videos or captions have changed since {run} began ({begun['num_videos']} videos with"
            f" {begun['num_captions']} captions then, {now['num_videos']} with {now['num_captions']} now);"
            " put them back, or start a new run"
        )
