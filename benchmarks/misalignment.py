"""How much misaligned narration costs each objective: `python benchmarks/misalignment.py --write`.

The same toy videos are told at three levels of misalignment, and the same small S3D learns from each telling
on the same number of clips: with one caption candidate for each clip (NCE), with several (MIL-NCE), from
whole sequences (VT-TWINS), and from the true alignment. The measure is text-to-video retrieval of the steps
of held-out videos. Prints mean and deviation over the seeds, each with a world of its own, and draws them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import joblib
import torch
from matplotlib.figure import Figure

from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.narrated_recipe import NarratedRecipe
from narravid.recipes.toy_data import ToyFiles, write_toy_files
from narravid.recipes.vt_twins import NUM_CAPTIONS, VTTwinsRecipe
from narravid.synthetic.narration import NarrationConfig
from narravid.synthetic.world import PRESETS
from narravid.text.captions import Caption, CaptionTrack, nearest_captions
from narravid.types import Span
from tables import fill_in, percent, spread

ROOT = Path(__file__).resolve().parent.parent
PAGE, PICTURE = ROOT / "docs" / "recipes.md", ROOT / "docs" / "misalignment.png"
CLIPS_PER_STEP = 64
NUM_CANDIDATES = 5
METRIC = "R@10"

LEVELS = {
    "slight": NarrationConfig(alignable_share=0.9, timing_std_seconds=1.0, cut_share=0.0),
    "demo": PRESETS["demo"].narration,
    "howto": PRESETS["howto"].narration,
}
METHODS = ("one candidate (NCE)", "MIL-NCE", "VT-TWINS", "true alignment")

Results = dict[tuple[str, str], list[float]]
"""(level, method) to the measure of each seed."""

Worlds = dict[tuple[str, int], ToyFiles]
"""(level, seed) to the files of a world."""


def main() -> None:
    """Train everything, print the table, and put table and picture into the documentation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400, help=f"training steps of {CLIPS_PER_STEP} clips")
    parser.add_argument(
        "--videos",
        type=int,
        default=192,
        help="videos to train on; of few, each is seen so often that wrong captions are learnt by heart",
    )
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count(), help="runs at a time")
    parser.add_argument("--output", type=Path, help="keep worlds and runs here; a temporary folder otherwise")
    parser.add_argument("--write", action="store_true", help=f"put the results into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        worlds = draw_worlds(folder, options.seeds, num_videos=options.videos)
        results = train_all(folder, worlds, num_steps=options.steps, num_jobs=options.jobs)
    lines = report(results, worlds, num_clips=options.steps * CLIPS_PER_STEP, num_videos=options.videos)
    print(lines)
    if options.write:
        fill_in(PAGE, lines, script="misalignment.py")
        draw(results, PICTURE)


def draw_worlds(folder: Path, seeds: Sequence[int], *, num_videos: int) -> Worlds:
    """A world for every level and seed; the videos of a seed are told at each level."""
    return {
        (level, seed): write_toy_files(
            replace(PRESETS["tiny"], narration=narration, num_train_videos=num_videos),
            folder / f"{level}-{seed}" / "world",
            seed=seed,
        )
        for level, narration in LEVELS.items()
        for seed in seeds
    }


def train_all(folder: Path, worlds: Worlds, *, num_steps: int, num_jobs: int) -> Results:
    """Every method in every world; runs that lie in the folder already are not repeated."""
    keys = [(level, method, seed) for level, seed in worlds for method in METHODS]
    jobs = (
        joblib.delayed(train)(
            recipe_of(method, worlds[level, seed], num_steps=num_steps, seed=seed),
            folder / f"{level}-{seed}" / method.split()[0].lower(),
        )
        for level, method, seed in keys
    )
    values: Iterable[float] = joblib.Parallel(n_jobs=num_jobs, return_as="generator")(jobs)
    results: Results = {}
    for (level, method, seed), value in zip(keys, values, strict=True):
        print(f"{level}, {method}, seed {seed}: {METRIC} {100 * value:.1f} %", flush=True)
        results.setdefault((level, method), []).append(value)
    return results


def recipe_of(method: str, world: ToyFiles, *, num_steps: int, seed: int) -> NarratedRecipe:
    """The tiny preset of the method's recipe, on as many clips in a step as all others."""
    kind = VTTwinsRecipe if method == "VT-TWINS" else MILNCERecipe
    recipe: NarratedRecipe = kind.presets()["tiny"]()
    sampling = recipe.data.sampling
    if method == "VT-TWINS":
        sampling = replace(sampling, clips_per_video=NUM_CAPTIONS)
    else:
        num_candidates = NUM_CANDIDATES if method == "MIL-NCE" else 1
        sampling = replace(sampling, num_candidates=num_candidates)
    return replace(
        recipe,
        data=replace(
            recipe.data,
            root=str(world.train),
            captions=world.true_captions if method == "true alignment" else None,
            sampling=sampling,
            batch_size=CLIPS_PER_STEP // sampling.clips_per_video,
        ),
        trainer=replace(recipe.trainer, num_steps=num_steps, evaluate_at_start=False),
        evaluation=replace(recipe.evaluation, pairs=world.test_pairs),
        seed=seed,
    )


def train(recipe: NarratedRecipe, run: Path) -> float:
    """The measure of a run at its end; on one thread, as there are other runs beside it."""
    torch.set_num_threads(1)
    begun = (run / "config.json").is_file()
    return recipe.train(run, resume=begun).metrics[METRIC]


def share_told(world: ToyFiles, num_candidates: int) -> float:
    """How often one of the training captions nearest to a caption tells what is seen in the middle of it."""
    truth = json.loads((world.train.parent / "truth.json").read_text(encoding="utf-8"))
    found = []
    for video in truth["videos"]:
        if video["split"] != "train":
            continue
        captions = video["captions"]
        track = CaptionTrack(
            tuple(
                Caption(caption["text"], Span(caption["start_seconds"], caption["end_seconds"]))
                for caption in captions
            )
        )
        for number, caption in enumerate(captions):
            middle = (caption["start_seconds"] + caption["end_seconds"]) / 2
            seen = {
                index
                for index, step in enumerate(video["steps"])
                if step["start_seconds"] <= middle <= step["end_seconds"]
            }
            near = nearest_captions(track, number, num_candidates)
            found.append(any(captions[place]["step_index"] in seen for place in near))
    return statistics.mean(found)


def report(results: Results, worlds: Worlds, *, num_clips: int, num_videos: int) -> str:
    """A Markdown table and the comparison that matters."""
    lines = [
        f"{METRIC} in percent after {num_clips:,} clips of {num_videos} videos, mean ± standard deviation"
        " over the seeds:",
        "",
        "| trained with | " + " | ".join(LEVELS) + " |",
        "| --- |" + " ---: |" * len(LEVELS),
    ]
    for method in METHODS:
        cells = [percent(results[level, method]) for level in LEVELS]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    for num_candidates, what in (
        (1, "a caption tells"),
        (NUM_CANDIDATES, f"one of {NUM_CANDIDATES} captions tells"),
    ):
        cells = [
            percent([share_told(world, num_candidates) for (at, _), world in worlds.items() if at == level])
            for level in LEVELS
        ]
        lines.append(f"| *{what} what is seen* | " + " | ".join(cells) + " |")
    one, several = (results["howto", method] for method in METHODS[:2])
    difference = statistics.mean(several) - statistics.mean(one)
    deviations = spread(one) + spread(several)
    lines += [
        "",
        f"At the level `howto`, MIL-NCE is {100 * difference:+.1f} points from one candidate; their"
        f" deviations add up to {100 * deviations:.1f}.",
    ]
    return "\n".join(lines)


def draw(results: Results, path: Path) -> None:
    """One line for each method over the levels, with bars of one standard deviation."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    for number, method in enumerate(METHODS):
        means = [100 * statistics.mean(results[level, method]) for level in LEVELS]
        errors = [100 * spread(results[level, method]) for level in LEVELS]
        places = [place + 0.04 * (number - 1.5) for place in range(len(LEVELS))]
        axis.errorbar(places, means, yerr=errors, marker="o", capsize=3, label=method)
    axis.set(
        xticks=range(len(LEVELS)),
        xticklabels=list(LEVELS),
        xlabel="misalignment of the narration",
        ylabel=f"text to video {METRIC}, %",
    )
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
