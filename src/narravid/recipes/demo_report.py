"""The demo's report: what was made, what was learned, and what the search finds, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from narravid.evaluation.page import Card, Picture, Section, Table, write_page
from narravid.evaluation.pictures import bar_chart, curves, frame_strip, heat_map
from narravid.recipes.demo_measures import ATTRIBUTES, Gallery, ModelMeasures, QueryAnswer
from narravid.synthetic.world import ToyWorld
from narravid.types import Clip, ClipSpec, Hit
from narravid.video.decode import decode_clips

__all__ = ["DemoFindings", "write_demo_report"]

NUM_STRIP_FRAMES = 4
STRIP_SIZE_PIXELS = 96


@dataclass(frozen=True, slots=True, eq=False)
class DemoFindings:
    """Everything the report shows.

    Attributes:
        world: The toy world.
        gallery: Held-out clips and sentences.
        measures: The measures of each model by name: "trained", "control", "untrained".
        chance: Retrieval metrics of chance.
        attribute_chance: Attribute accuracy of chance.
        losses: For each trained model its (step, loss) points.
        answers: Queries and what was found.
        clip_spec: What the model sees of a clip.
        seconds: How long each part took.
        commands: What a reader can try next.
    """

    world: ToyWorld
    gallery: Gallery
    measures: Mapping[str, ModelMeasures]
    chance: Mapping[str, float]
    attribute_chance: Mapping[str, float]
    losses: Mapping[str, Sequence[tuple[float, float]]]
    answers: Sequence[QueryAnswer]
    clip_spec: ClipSpec
    seconds: Mapping[str, float]
    commands: Sequence[str]


def write_demo_report(path: Path, findings: DemoFindings) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        findings: What to show.
    """
    trained = findings.measures["trained"].metrics
    num_correct = sum(answer.correct for answer in findings.answers)
    summary = (
        f"A small S3D learned from narration alone to find {len(findings.gallery.steps)} kinds of events: "
        f"the right clip is among the first ten for {100 * trained['R@10']:.0f} % of the sentences (chance "
        f"{100 * findings.chance['R@10']:.0f} %), and {num_correct} of {len(findings.answers)} searches in "
        "unseen videos hit the moment."
    )
    sections = [
        _world_section(findings),
        _training_section(findings),
        _retrieval_section(findings),
        _attribute_section(findings),
        _similarity_section(findings),
        _search_section(findings),
        _next_section(findings),
    ]
    write_page(path, "Narravid demo", sections, summary=summary)


def _world_section(findings: DemoFindings) -> Section:
    world = findings.world
    narration = world.config.narration
    train, test = world.split("train"), world.split("test")
    minutes = sum(video.duration_seconds for video in world.videos) / 60
    video = train[0]
    heard = [
        (
            f"{caption.span.start_seconds:.1f} s",
            caption.text,
            "-" if caption.step_index is None else video.steps[caption.step_index].step.sentence,
            "yes" if caption.is_well_timed(video.steps) else "no",
        )
        for caption in video.captions[:10]
    ]
    return Section(
        "What there is to learn from",
        paragraphs=[
            f"{len(train)} videos for training and {len(test)} held-out ones ({minutes:.0f} minutes of H.264 "
            f"in all), made from {len(world.steps)} distinct steps. The narrator tells "
            f"{100 * narration.told_share:.0f} % of the steps in varying words, and is early or late by "
            f"{narration.timing_std_seconds:g} s (standard deviation); "
            f"{100 * (1 - narration.alignable_share):.0f} % of the sentences are about nothing in the video. "
            "Nobody says which sentence belongs to which moment.",
        ],
        tables=[
            Table(
                ("heard at", "narration", "the step it tells", "spoken during it"),
                heard,
                f"The first captions of {video.video_id}",
                numeric=False,
            )
        ],
    )


def _training_section(findings: DemoFindings) -> Section:
    return Section(
        "Training",
        paragraphs=[
            "MIL-NCE with the nearest captions as candidates, from random weights. The control sees the same "
            "videos and sentences, but each true sentence at the time of its step and no others: the "
            "difference between the two is what noisy narration costs. Their losses are not comparable, "
            "since the control has one candidate for each clip.",
        ],
        pictures=[
            Picture(curves(findings.losses, x_label="step", y_label="MIL-NCE loss"), "Loss while training")
        ],
    )


def _retrieval_section(findings: DemoFindings) -> Section:
    rows = [
        _metric_row(label, findings.measures[name].metrics)
        for name, label in (
            ("trained", "trained on narration"),
            ("control", "control: trained on true alignment"),
            ("untrained", "untrained"),
        )
        if name in findings.measures
    ]
    rows.append(_metric_row("chance", findings.chance))
    return Section(
        "Text to video retrieval in held-out videos",
        paragraphs=[
            f"Each of {len(findings.gallery.steps)} sentences is to find its clip among "
            f"{len(findings.gallery.steps)}, one of every distinct step.",
        ],
        tables=[Table(("model", "R@1", "R@5", "R@10", "median rank"), rows, "Recall in percent")],
    )


def _metric_row(label: str, metrics: Mapping[str, float]) -> tuple[str, ...]:
    recalls = [f"{100 * metrics[name]:.1f}" for name in ("R@1", "R@5", "R@10")]
    return (label, *recalls, f"{metrics['MedR']:g}")


def _attribute_section(findings: DemoFindings) -> Section:
    series = {name: dict(measures.attributes) for name, measures in findings.measures.items()}
    series["chance"] = dict(findings.attribute_chance)
    rows = [
        (name, *(f"{100 * values[attribute]:.1f}" for attribute in ATTRIBUTES))
        for name, values in series.items()
    ]
    return Section(
        "What it knows: accuracy per attribute",
        paragraphs=[
            "How often the best clip for a sentence has the colour, the shape or the motion it names."
        ],
        tables=[Table(("model", *ATTRIBUTES), rows, "Percent of sentences")],
        pictures=[Picture(bar_chart(series, y_label="percent"), "Accuracy of the first hit per attribute")],
    )


def _similarity_section(findings: DemoFindings) -> Section:
    labels = [pair.text for pair in findings.gallery.pairs]
    picture = heat_map(
        findings.measures["trained"].similarity,
        row_labels=labels,
        column_labels=labels,
        value_label="cosine similarity",
    )
    return Section(
        "Similarity of sentences and clips",
        paragraphs=[
            "Rows are sentences, columns their clips in the same order (colour, then shape, then motion): "
            "the diagonal is right, the other bright cells share attributes with it."
        ],
        pictures=[Picture(picture, "Similarity of every sentence with every held-out clip")],
    )


def _search_section(findings: DemoFindings) -> Section:
    cards = []
    for answer in findings.answers:
        where = ", ".join(
            f"{Path(path).stem} {span.start_seconds:.1f}-{span.end_seconds:.1f} s"
            for path, span in answer.true_spans
        )
        cards.append(
            Card(
                answer.text,
                note=f"happens in {where}",
                good=answer.correct,
                pictures=[_hit_picture(hit, findings.clip_spec) for hit in answer.hits],
                right=frozenset(number for number, right in enumerate(answer.right) if right),
            )
        )
    return Section(
        "Search in the held-out videos",
        paragraphs=[
            "Ten steps drawn by the seed, asked in words. The first five moments are shown; a green frame "
            "says that the step does happen there."
        ],
        cards=cards,
    )


def _hit_picture(hit: Hit, spec: ClipSpec) -> Picture:
    caption = (
        f"{Path(hit.path).stem} {hit.span.start_seconds:.1f}-{hit.span.end_seconds:.1f} s, {hit.score:.2f}"
    )
    return Picture(
        frame_strip(_frames_of(hit, spec).frames, num_shown=NUM_STRIP_FRAMES, height_pixels=72), caption
    )


def _frames_of(hit: Hit, spec: ClipSpec) -> Clip:
    """The frames of a moment, spread over all of it, in a square large enough to look at."""
    shown = ClipSpec(
        num_frames=NUM_STRIP_FRAMES,
        fps=NUM_STRIP_FRAMES / max(hit.span.duration_seconds, NUM_STRIP_FRAMES / spec.fps),
        size_pixels=STRIP_SIZE_PIXELS,
        frame_rule="shown_at",
    )
    return next(iter(decode_clips(hit.path, [hit.span.start_seconds], shown)))


def _next_section(findings: DemoFindings) -> Section:
    total = sum(findings.seconds.values())
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in findings.seconds.items())
    return Section(
        "Go on from here",
        paragraphs=[f"This took {total:.0f} s: {parts}."],
        code=["\n".join(findings.commands)],
    )
