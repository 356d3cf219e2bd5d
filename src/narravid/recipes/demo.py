"""The demo: make a narrated toy world, learn from it, measure, index, search, and report.

Two small S3Ds are trained from scratch with MIL-NCE at the same time: one on the narration as it is, and a
control on the true alignment. Everything lies in one folder; run again after an interruption, it goes on
where it stood.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib

from narravid.config import to_dict
from narravid.errors import ConfigError
from narravid.files import read_json, write_json
from narravid.inference.embedder import Embedder
from narravid.inference.index import VideoIndex
from narravid.metrics import chance_metrics
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.protocols import PixelDualEncoder
from narravid.recipes.beginning import INITIAL_FOLDER
from narravid.recipes.demo_measures import (
    Gallery,
    ModelMeasures,
    QueryAnswer,
    answer_queries,
    attribute_chance,
    draw_queries,
    held_out_gallery,
    measure_model,
)
from narravid.recipes.demo_report import DemoFindings, write_demo_report
from narravid.recipes.demo_runs import read_losses, train_side_by_side
from narravid.recipes.demo_training import demo_training
from narravid.recipes.milnce import MILNCERecipe
from narravid.synthetic.files import write_world
from narravid.synthetic.world import ToyWorld, WorldConfig, preset
from narravid.training.run import MODEL_FOLDER
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder

__all__ = ["DemoRecipe", "DemoResult"]

OPTIONS_NAME = "demo.json"


@dataclass(frozen=True)
class DemoRecipe:
    """What the demo does.

    Attributes:
        seed: Seed of the world, the weights, the training and the queries.
        num_steps: Training steps of each model, 64 clips each.
        num_queries: Searches in the held-out videos.
        control: Also train on the true alignment, to show what noisy narration costs.
        world: The toy world.
    """

    seed: int = 0
    num_steps: int = 600
    num_queries: int = 10
    control: bool = True
    world: WorldConfig = field(default_factory=lambda: preset("demo"))

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("num_steps", 1), ("num_queries", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def run(self, output: Path) -> DemoResult:
        """Do all of it.

        Args:
            output: Folder for the world, the runs, the index and the report.

        Returns:
            The numbers and where the report lies.

        Raises:
            ConfigError: If the folder holds a demo with other options, or anything else.
        """
        return _Demo(self, output.expanduser().absolute()).run()


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of the demo.

    Attributes:
        metrics: The content of `metrics.json`.
        report: The page.
    """

    metrics: dict[str, Any]
    report: Path


class _Demo:
    """One run of the demo; keeps the time of each part."""

    def __init__(self, recipe: DemoRecipe, output: Path) -> None:
        self._recipe = recipe
        self._output = output
        self._world = ToyWorld(recipe.world, seed=recipe.seed)
        self._world_folder = output / "world"
        self._seconds: dict[str, float] = {}

    def run(self) -> DemoResult:
        self._claim_folder()
        with self._timed("world"):
            write_world(self._world, self._world_folder, num_workers=joblib.cpu_count())
        with self._timed("training"):
            runs = self._train()
        with self._timed("evaluation"):
            gallery = held_out_gallery(self._world, self._world_folder)
            measures = self._measure(gallery, runs)
        model = load_pixel_dual_encoder(str(runs["trained"] / MODEL_FOLDER))
        with self._timed("index"):
            index = self._index(model, runs["trained"] / MODEL_FOLDER)
        with self._timed("search"):
            answers = self._search(index, model)
        metrics = self._metrics(gallery, measures, answers)
        report = self._output / "report.html"
        with self._timed("report"):
            write_demo_report(report, self._findings(gallery, measures, answers, runs, model.clip_spec))
        metrics["seconds"] = {**self._seconds, "total": sum(self._seconds.values())}
        write_json(self._output / "metrics.json", metrics)
        return DemoResult(metrics, report)

    def _claim_folder(self) -> None:
        """Make sure that the folder is new or this very demo's, before minutes of work go into it."""
        output, recipe = self._output, self._recipe
        if output.exists() and not output.is_dir():
            raise ConfigError(f"{output} is a file; the demo needs a folder")
        path = output / OPTIONS_NAME
        training = to_dict(self._training(captions=None))
        del training["data"]["root"]  # the folder may be moved
        options = {"seed": recipe.seed, "world": to_dict(recipe.world), "training": training}
        if path.exists():
            if read_json(path) != options:
                raise ConfigError(
                    f"{output} holds a demo with other options (see {path}); choose another folder"
                )
            return
        foreign = [entry.name for entry in output.glob("[!.]*")]
        if foreign:
            raise ConfigError(
                f"{output} holds {min(foreign)!r} and is no demo's; choose a new or an empty folder"
            )
        write_json(path, options)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[part] = time.perf_counter() - started

    def _train(self) -> dict[str, Path]:
        """Train the model and the control; their run folders by name."""
        recipes = {"trained": self._training(captions=None)}
        if self._recipe.control:
            true_captions = self._world_folder / "true_transcripts" / "train"
            recipes["control"] = self._training(captions=true_captions)
        runs = {name: self._output / "runs" / name for name in recipes}
        train_side_by_side(recipes, runs, num_steps=self._recipe.num_steps)
        return runs

    def _training(self, *, captions: Path | None) -> MILNCERecipe:
        return demo_training(
            self._world_folder / "train",
            captions=captions,
            num_steps=self._recipe.num_steps,
            seed=self._recipe.seed,
        )

    def _measure(self, gallery: Gallery, runs: Mapping[str, Path]) -> dict[str, ModelMeasures]:
        folders = {name: run / MODEL_FOLDER for name, run in runs.items()}
        folders["untrained"] = runs["trained"] / INITIAL_FOLDER
        return {
            name: measure_model(load_pixel_dual_encoder(folder), gallery) for name, folder in folders.items()
        }

    def _index(self, model: PixelDualEncoder, model_folder: Path) -> VideoIndex:
        index = VideoIndex.open_or_create(self._output / "index", model, model_path=model_folder)
        with WatchedDecoder() as decoder:
            report = index.add([self._world_folder / "test"], Embedder(model, batch_size=32), decoder=decoder)
        if report.failed:
            path, reason = report.failed[0]
            raise ValueError(f"a video of the toy world cannot be indexed: {path}: {reason}")
        return index

    def _search(self, index: VideoIndex, model: PixelDualEncoder) -> list[QueryAnswer]:
        queries = draw_queries(self._world, self._recipe.num_queries, seed=self._recipe.seed)
        return answer_queries(index, Embedder(model), queries, world=self._world, folder=self._world_folder)

    def _metrics(
        self, gallery: Gallery, measures: Mapping[str, ModelMeasures], answers: Sequence[QueryAnswer]
    ) -> dict[str, Any]:
        size = len(gallery.steps)
        attributes = {name: measure.attributes for name, measure in measures.items()}
        return {
            "seed": self._recipe.seed,
            "retrieval": {
                "gallery_size": size,
                **{name: measure.metrics for name, measure in measures.items()},
                "chance": chance_metrics(size),
            },
            "attributes": {**attributes, "chance": attribute_chance(gallery)},
            "queries": [answer.to_dict() for answer in answers],
        }

    def _findings(
        self,
        gallery: Gallery,
        measures: Mapping[str, ModelMeasures],
        answers: Sequence[QueryAnswer],
        runs: Mapping[str, Path],
        clip_spec: ClipSpec,
    ) -> DemoFindings:
        return DemoFindings(
            world=self._world,
            gallery=gallery,
            measures=measures,
            chance=chance_metrics(len(gallery.steps)),
            attribute_chance=attribute_chance(gallery),
            losses={name: read_losses(run) for name, run in runs.items()},
            answers=answers,
            clip_spec=clip_spec,
            seconds=self._seconds,
            commands=(
                f'narravid search "a red circle spins" --index {self._output / "index"}',
                f"narravid info {runs['trained'] / MODEL_FOLDER}",
                f"narravid index YOUR_VIDEOS --model {runs['trained'] / MODEL_FOLDER} --index YOUR_INDEX",
            ),
        )
