"""Comparing a tower's file, run by the program that it is for, with the model that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from narravid.inference.runtimes import Runtime, open_tower
from narravid.models.tower_files import example_inputs
from narravid.models.towers import TensorSpec, Tower

__all__ = ["TOLERANCE", "Comparison", "compare_tower"]

TOLERANCE = 1e-4
"""How far numbers may differ, as a share of the largest of them where that is above 1."""

RANDOM_SEED = 17
"""Another one than that of the example a tower is traced with."""


@dataclass(frozen=True)
class Comparison:
    """How far a tower's numbers are from those of the model, over all inputs that were tried.

    Attributes:
        largest_difference: Of two numbers that should be the same.
        largest_number: The largest one, in size, of the output with that difference.
        num_inputs: How many inputs were tried.
    """

    largest_difference: float
    largest_number: float
    num_inputs: int

    @property
    def is_close(self) -> bool:
        """Whether the difference is within the tolerance; never of NaN."""
        return self.largest_difference <= TOLERANCE * max(1.0, self.largest_number)


def compare_tower(model: object, tower: Tower, path: Path, *, runtime: Runtime) -> Comparison:
    """Run a tower's file on random inputs, on inputs like real ones, and on a single item.

    Args:
        model: The model in evaluation mode.
        tower: What was written.
        path: Its file.
        runtime: What runs it.

    Returns:
        How far the outputs are from those of the model itself.

    Raises:
        CheckpointError: If the file cannot be read.
        MissingExtraError: If the program that runs it is not installed.
    """
    opened = open_tower(path, [spec.name for spec in tower.outputs], runtime=runtime)
    worst = Comparison(0.0, 0.0, 0)
    num_inputs = 0
    for inputs in _inputs(tower):
        num_inputs += 1
        given = opened.run({spec.name: x.numpy() for spec, x in zip(tower.inputs, inputs, strict=True)})
        for name, expected in _eager(model, tower, inputs).items():
            number = float(expected.abs().max())
            output = torch.from_numpy(given[name])
            difference = (
                float((output - expected).abs().max()) if output.shape == expected.shape else torch.inf
            )
            found = Comparison(difference, number, 0)
            # What is not a number is worse than anything.
            if difference != difference or _badness(found) >= _badness(worst):
                worst = found
            if difference != difference:
                return Comparison(difference, number, num_inputs)
    return Comparison(worst.largest_difference, worst.largest_number, num_inputs)


def _badness(comparison: Comparison) -> float:
    return comparison.largest_difference / max(1.0, comparison.largest_number)


def _inputs(tower: Tower) -> Iterator[tuple[torch.Tensor, ...]]:
    drawn = example_inputs(tower, seed=RANDOM_SEED)
    yield drawn
    yield tuple(_like_real(spec, x) for spec, x in zip(tower.inputs, drawn, strict=True))
    free = [[axis for axis, dim in enumerate(spec.shape) if isinstance(dim, str)] for spec in tower.inputs]
    yield tuple(_single(x, axes) for x, axes in zip(drawn, free, strict=True))


def _single(x: torch.Tensor, axes: list[int]) -> torch.Tensor:
    for axis in axes:
        x = x.narrow(axis, 0, 1)
    return x.contiguous()


def _like_real(spec: TensorSpec, drawn: torch.Tensor) -> torch.Tensor:
    """Smooth moving pictures for pixels, short sentences for ids, features of length 1 for floats."""
    if spec.dtype == "int64":
        short = drawn.clone()
        short[:, 1 + drawn.shape[1] // 3 :] = 0
        return short
    if spec.dtype == "float32":
        return torch.nn.functional.normalize(drawn, dim=-1)
    batch, _, frames, height, width = drawn.shape
    time = torch.arange(frames).view(frames, 1, 1) / max(frames, 1)
    rows = torch.arange(height).view(1, height, 1) / height
    columns = torch.arange(width).view(1, 1, width) / width
    pictures = []
    for clip in range(batch):
        phases = [rows + time, columns - time * (clip + 1), rows * columns + time]
        pictures.append(torch.stack([(phase * 6.28).sin().expand(frames, height, width) for phase in phases]))
    return (torch.stack(pictures) * 127 + 128).to(torch.uint8)


def _eager(model: Any, tower: Tower, inputs: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:  # noqa: ANN401
    """The outputs of a tower as the model itself gives them."""
    with torch.inference_mode():
        if tower.name == "align":
            features, text = (x.to(model.device) for x in inputs)
            aligned = model.align(features, text)
            outputs = {spec.name: getattr(aligned, spec.name) for spec in tower.outputs}
        elif tower.name == "video":
            methods = {"feature": "video_features", "embedding": "encode_video", "logits": "class_logits"}
            outputs = {spec.name: getattr(model, methods[spec.name])(inputs[0]) for spec in tower.outputs}
        elif tower.name == "features":
            outputs = {"embedding": model.encode_features(inputs[0])}
        elif tower.inputs[0].name == "tokens":
            outputs = {"embedding": model.encode_tokens(inputs[0])}
        else:
            outputs = {"embedding": model.text(inputs[0].to(model.device))}
    return {name: output.float().cpu() for name, output in outputs.items()}
