"""A few videos as small feature files with captions, and recipes that train on them in a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from narravid.data.feature_clips import MergedSampling
from narravid.data.feature_windows import WindowSampling
from narravid.evaluation.alignment import AlignmentProtocol
from narravid.recipes.feature_pairs import FeatureFiles
from narravid.recipes.howto100m import HowTo100MRecipe
from narravid.recipes.howto100m_config import FeatureEvaluationConfig, FeatureModelConfig, FeaturesDataConfig
from narravid.recipes.tan import TanRecipe
from narravid.recipes.tan_config import (
    AlignerModelConfig,
    AlignmentEvaluationConfig,
    AlignmentObjectiveConfig,
    WindowsDataConfig,
)
from narravid.training.config import TrainerConfig
from narravid.training.optim_config import OptimConfig
from narravid.types import FeatureSpec

COLOURS = ("red", "green", "blue")
DIM_2D, DIM_3D = 4, 3
NUM_SECONDS = 12


def write_features(folder: Path, *, num_videos: int = 6) -> Path:
    """Videos in which one colour after the other is shown for four seconds and told when it is.

    FOLDER/2d and FOLDER/3d hold features at 1 and 1.5 per second, FOLDER/caption.json the captions,
    FOLDER/pairs.csv what is shown, FOLDER/align.json the same in the form of HTM-Align.
    """
    generator = np.random.default_rng(0)
    captions, truth, rows = {}, {}, ["video_path,text,start_seconds,end_seconds"]
    for number in range(num_videos):
        name = f"video{number}"
        order = generator.permutation(len(COLOURS))
        for place, rate, dim in (("2d", 1.0, DIM_2D), ("3d", 1.5, DIM_3D)):
            steps = 0.1 * generator.random((int(NUM_SECONDS * rate), dim))
            for step, row in enumerate(steps):
                row[order[min(int(step / rate) // 4, 2)]] += 1
            (folder / place).mkdir(parents=True, exist_ok=True)
            np.save(folder / place / f"{name}.npy", steps.astype(np.float16), allow_pickle=False)
        starts = [4 * place for place in range(3)]
        texts = [f"a {COLOURS[colour]} thing" for colour in order]
        captions[name] = {"start": starts, "end": [start + 3.5 for start in starts], "text": texts}
        truth[name] = [[1, start, start + 4, text] for start, text in zip(starts, texts, strict=True)]
        truth[name].append([0, 11, 11.5, "a thing"])
        rows += [f"{name}.mp4,{text},{start},{start + 3}" for start, text in zip(starts, texts, strict=True)]
    (folder / "caption.json").write_text(json.dumps(captions))
    (folder / "align.json").write_text(json.dumps(truth))
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    return folder


def small_trainer(**changes: object) -> TrainerConfig:
    settings = {"num_steps": 4, "log_every_steps": 1, "trackers": (), **changes}
    return TrainerConfig(**settings)


def small_howto100m(folder: Path, **trainer: object) -> HowTo100MRecipe:
    return HowTo100MRecipe(
        data=FeaturesDataConfig(
            features=FeatureFiles(folder / "2d", folder / "3d"),
            captions=folder / "caption.json",
            batch_size=3,
            sampling=MergedSampling(pairs_per_video=2, min_seconds=0.0),
        ),
        model=FeatureModelConfig(
            features=FeatureSpec(("a", "b"), (DIM_2D, DIM_3D)), embed_dim=8, word_dim=5, max_words=4
        ),
        optim=OptimConfig(lr=1e-2, schedule="exponential", factor=0.9, warmup_steps=0),
        trainer=small_trainer(**trainer),
        evaluation=FeatureEvaluationConfig(pairs=folder / "pairs.csv"),
        device="cpu",
        workers=0,
    )


def small_tan(folder: Path, **trainer: object) -> TanRecipe:
    return TanRecipe(
        data=WindowsDataConfig(
            features=folder / "2d",
            captions=folder / "caption.json",
            min_video_seconds=0.0,
            batch_size=3,
            sampling=WindowSampling(window_seconds=8, rule="complete"),
        ),
        model=AlignerModelConfig(
            sentences_from=None,
            features=FeatureSpec(("a",), (DIM_2D,)),
            word_dim=6,
            hidden_dim=8,
            sentence_dim=6,
            embed_dim=8,
            num_encoder_layers=1,
            num_joint_layers=1,
            num_heads=2,
            max_positions=32,
            max_words=5,
            alignability_layer=0,
        ),
        objective=AlignmentObjectiveConfig(),
        optim=OptimConfig(name="adamw", lr=1e-2, weight_decay=1e-3),
        trainer=small_trainer(**trainer),
        evaluation=AlignmentEvaluationConfig(
            annotations=folder / "align.json", protocol=AlignmentProtocol(view="global")
        ),
        device="cpu",
        workers=0,
    )
