"""`narravid score -t TRAJECTORIES -p PROMPTS -e NAME`: compare whole videos with prompts."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from narravid.bad_items import BAD_ITEMS_NAME, BadItems
from narravid.cli.bad_item_lines import bad_item_lines
from narravid.cli.score_output import check_experiment, check_output
from narravid.cli.score_print import (
    print_diagnostics,
    print_groups,
    print_scores,
    print_timelines,
    repeated_lines,
    unknown_word_lines,
)
from narravid.errors import ConfigError
from narravid.evaluation.reward_diagnostics import RewardDiagnostics, diagnose
from narravid.evaluation.trajectory_files import ScoreFiles, write_scores
from narravid.evaluation.trajectory_report import ScoreReport, count_text, left_out, without_timeline
from narravid.inference.clip_encoder import Backend, ClipEncoder, EmbeddingDtype
from narravid.inference.extract_plan import check_window
from narravid.inference.prompt_vectors import unknown_words
from narravid.inference.trajectories import Deviation, TrajectoryResize
from narravid.inference.trajectory_baseline import Baseline, RewardForm
from narravid.inference.trajectory_lists import (
    read_prompts,
    read_trajectories,
)
from narravid.inference.trajectory_scores import TrajectorySampling, TrajectoryScores, score_trajectories
from narravid.inference.trajectory_timeline import (
    ScoreTimeline,
    TimelineScorer,
    TimelineWindows,
    score_over_time,
)
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.recipes.devices import pick_device
from narravid.video.frame_sampling import FrameSampling
from narravid.video.watched import WatchedDecoder

__all__ = ["Score"]

DEFAULT_ALPHA = 0.5
NEEDS = {
    "baseline": ("alpha", "regularisation"),
    "over_time": ("window_seconds", "stride_seconds"),
}
"""Options that mean something only together with another."""

Sources = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction]
"""What was named behind each mention of an option, so that a second mention does not replace the first."""


@dataclass(frozen=True)
class Score:
    """Compare whole videos with prompts: a heat map of cosine similarities, tables and a page.

    Writes OUTPUT/EXPERIMENT.png (the heat map: rows trajectories, columns prompts) and the folder
    OUTPUT/EXPERIMENT with similarities.csv, .npy and .json, page.html and bad_items.csv; what an earlier run
    left there is replaced. Videos that cannot be read are left out, and named with the reason. Exit status:
    0, or 2 after a mistake or when no video could be scored.

    Attributes:
        trajectories: The videos: lists (.txt, one path a line; .csv with the column path and, if you like,
            group and return), folders (each folder in them is a group), globs and video files, mixed at will.
            Paths in a list are taken from its folder, else from the working folder.
        prompts: The prompts: lists (.txt, one a line; .csv with the column prompt and, if you like, group)
            and texts as they are, in quotes.
        experiment: Name of the heat map and of the folder.
        output: Folder of the results.
        num_frames: Frames that stand for a video; as many as the model was made for when not given (S3D of
            HowTo100M 32, ViCLIP 8).
        verbose: Print the whole table, and which frames were taken of each video.
        model: Model folder, run folder, published checkpoint or name; see `narravid models`.
        frames: even spreads the frames from the first of a video to the last, and repeats frames of a short
            one; published takes every floor(L / n)-th of L, the first n, and leaves out a video of fewer.
        resize: center_square keeps the aspect ratio and cuts off the ends of the longer side; the others are
            those of the published scripts: half the size, stretched to a square, or that without holding the
            range of the pixels (ViCLIP's).
        baseline: A prompt for the scene without the goal: scores look along the way from it to each prompt
            (goal-baseline regularisation).
        alpha: How much they do, from 0 (not at all: cosines) to 1; 0.5 when not given.
        regularisation: projected (when not given) mixes the cosines with prompt and direction; original is
            the paper's form, by distance.
        normalise: Also average groups of scores that are centred, for each prompt, on its mean over all
            videos and divided by its deviation.
        deviation: Of groups: divide by n (population) or by n - 1 (sample, as the published script).
        over_time: Also score windows that slide along each video: a timeline as CSV and picture.
        window_seconds: Length of these windows; that of the model's clips when not given. Frames are spread
            over each; --frames and --resize are for whole videos.
        stride_seconds: From the start of one window to the next; half a window when not given.
        device: Where to compute: cpu, cuda, cuda:1, or auto for a GPU when there is one.
        dtype: Arithmetic of the network; bfloat16 gains where the processor has instructions for it.
        backend: What computes the network on clips: torch, or openvino or onnxruntime (the extra `fast`),
            which convert it once and compute on the CPU.
        batch_size: Videos, or windows of one, per forward pass.
        workers: Videos that are decoded at once, each in a process of its own.
    """

    trajectories: Annotated[Sources, tyro.conf.arg(aliases=("-t",), metavar="SOURCE ...")]
    prompts: Annotated[Sources, tyro.conf.arg(aliases=("-p",), metavar="SOURCE ...")]
    experiment: Annotated[str, tyro.conf.arg(aliases=("-e",), metavar="NAME")]
    output: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path()
    num_frames: Annotated[int | None, tyro.conf.arg(aliases=("--n-frames",))] = None
    verbose: Annotated[bool, tyro.conf.arg(aliases=("-v",)), tyro.conf.FlagCreatePairsOff] = False
    model: str = "s3d-howto100m"
    frames: FrameSampling = "even"
    resize: TrajectoryResize = "center_square"
    baseline: str | None = None
    alpha: float | None = None
    regularisation: RewardForm | None = None
    normalise: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    deviation: Deviation = "population"
    over_time: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    window_seconds: float | None = None
    stride_seconds: float | None = None
    device: str = "cpu"
    dtype: EmbeddingDtype = "float32"
    backend: Backend = "torch"
    batch_size: int = 4
    workers: int = 2

    def run(self) -> int:
        """Score, and say what was found."""
        self._check()
        baseline = self._baseline()
        sampling = TrajectorySampling(self.num_frames, self.frames, self.resize)
        windows = TimelineWindows(self.window_seconds, self.stride_seconds, self.num_frames)
        trajectories = read_trajectories([*chain(*self.trajectories)])
        prompts = read_prompts([*chain(*self.prompts)])
        groups = {*(video.group for video in trajectories), *(prompt.group for prompt in prompts)}
        if self.normalise and groups == {None}:
            raise ConfigError(
                "--normalise is for groups, and neither videos nor prompts have any; put videos into "
                "folders, or give a table with the column group",
                key="normalise",
            )
        check_output(self.output, self.experiment)
        encoder = self._encoder(
            [*(prompt.text for prompt in prompts), *([self.baseline] if self.baseline else [])]
        )
        scorer = None
        if self.over_time:
            scorer = TimelineScorer(
                encoder, prompts, windows=windows, baseline=baseline, batch_size=self.batch_size
            )
        with WatchedDecoder(num_workers=self.workers) as decoder:
            scores = score_trajectories(
                trajectories,
                prompts,
                encoder,
                decoder=decoder,
                sampling=sampling,
                baseline=baseline,
                batch_size=self.batch_size,
            )
            timelines = () if scorer is None else _timelines(scores, scorer, decoder)
        scores = replace(scores, card={"model": self.model, **scores.card})
        diagnostics = _diagnostics(scores)
        files = write_scores(
            scores,
            self.output,
            experiment=self.experiment,
            timelines=timelines,
            diagnostics=diagnostics,
            report=self._report(scores),
        )
        console = Console()
        print_scores(scores, console, verbose=self.verbose)
        if scores.has_groups:
            for normalise in (False, True) if self.normalise else (False,):
                print_groups(scores.groups(normalise=normalise, deviation=self.deviation), console)
        print_diagnostics(diagnostics, console)
        print_timelines(timelines, console, verbose=self.verbose)
        self._print_files(scores, files)
        return 0

    def _check(self) -> None:
        """Refuse what can be seen to be wrong before anything is read."""
        check_experiment(self.experiment)
        for name, values in (("trajectories", self.trajectories), ("prompts", self.prompts)):
            if not any(values):
                raise ConfigError(f"--{name} (-{name[0]}) must name at least one source", key=name)
        for name in ("batch_size", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{_option(name)} must be at least 1, got {getattr(self, name)}", key=name)
        if self.backend != "torch" and self.resize != "center_square":
            raise ConfigError(
                f"--backend {self.backend} takes pixels as bytes, and --resize {self.resize} does not round "
                "them to bytes; use --backend torch",
                key="backend",
            )
        for needed, names in NEEDS.items():
            for name in names:
                if getattr(self, name) is not None and getattr(self, needed) in (None, False):
                    raise ConfigError(f"{_option(name)} needs {_option(needed)}", key=name)

    def _baseline(self) -> Baseline | None:
        if self.baseline is None:
            return None
        alpha = DEFAULT_ALPHA if self.alpha is None else self.alpha
        return Baseline(self.baseline, alpha, self.regularisation or "projected")

    def _encoder(self, sentences: Sequence[str]) -> ClipEncoder:
        device = pick_device(self.device)
        model = load_pixel_dual_encoder(self.model, device=device)
        check_window(model, num_frames=self.num_frames)
        for line in unknown_word_lines(unknown_words(model, sentences)):
            print(line, file=sys.stderr)
        return ClipEncoder(model, device=device, dtype=self.dtype, backend=self.backend)

    def _report(self, scores: TrajectoryScores) -> ScoreReport:
        notes = [*unknown_word_lines(scores.card["unknown_words"]), *repeated_lines(scores.trajectories)]
        return ScoreReport(
            command=self._command(), notes=tuple(notes), normalise=self.normalise, deviation=self.deviation
        )

    def _command(self) -> str:
        """The words that give this command again, defaults left out."""
        words = ["narravid", "score"]
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default and value is not None:
                values = chain(*value) if isinstance(value, tuple) else () if value is True else (value,)
                words += _option_words(_option(field.name), [*map(str, values)])
        return shlex.join(words)

    def _print_files(self, scores: TrajectoryScores, files: ScoreFiles) -> None:
        missing, untimed = left_out(scores), without_timeline(scores)
        for label, reasons in (("left out", missing), ("no timeline", untimed)):
            for line in bad_item_lines(BadItems(reasons), label, table=files.folder / BAD_ITEMS_NAME):
                print(line)
        num_videos = count_text(len(scores.trajectories), "video")
        counts = f"{num_videos} scored against {count_text(len(scores.prompts), 'prompt')}"
        print(f"{counts}, {len(missing):,} left out" + (f", {len(untimed):,} not over time" * bool(untimed)))
        print(f"heat map: {files.heat_map}")
        print(f"page:     {files.page}, with all numbers beside it")


def _timelines(
    scores: TrajectoryScores, scorer: TimelineScorer, decoder: WatchedDecoder
) -> tuple[ScoreTimeline, ...]:
    """Of the videos that could be read; those without one are added to what is bad, and keep their scores."""
    bad = BadItems()
    listed = [trajectory.listed for trajectory in scores.trajectories]
    timelines = score_over_time(listed, scorer, decoder=decoder, bad=bad)
    for path, reason in bad.reasons.items():
        scores.bad.add(path, f"over time: {reason}")
    return timelines


def _diagnostics(scores: TrajectoryScores) -> tuple[RewardDiagnostics, ...]:
    """For each prompt, of the videos whose true return is known, if any is."""
    returns = {
        place: trajectory.listed.true_return
        for place, trajectory in enumerate(scores.trajectories)
        if trajectory.listed.true_return is not None
    }
    if not returns:
        return ()
    rewards = scores.scores[list(returns)]
    return tuple(
        diagnose(prompt.text, rewards[:, column].tolist(), list(returns.values()))
        for column, prompt in enumerate(scores.prompts)
    )


def _option_words(option: str, values: Sequence[str]) -> list[str]:
    """An option with its values, which are not taken for options when they begin like one."""
    if any(value.startswith("-") for value in values):
        return [f"{option}={value}" for value in values]
    return [option, *values]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
