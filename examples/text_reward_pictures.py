"""The pictures of `text_reward.py`: how agents learned, and what they do before and after."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from narravid.evaluation.picture_parts import SERIES_COLOURS, png

NUM_SHOWN = 8


def draw_learning_curves(
    path: Path, text_rewards: Sequence[Sequence[float]], true_returns: Sequence[Sequence[float]]
) -> None:
    """Mean text reward and mean true return of each generation, one line for each agent.

    Args:
        path: The PNG to write.
        text_rewards: (A, G), what the agents learned from.
        true_returns: (A, G), what they did not see.
    """
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    names = ("text reward, which they learn from", "true return, which they do not see")
    for place, (name, curves) in enumerate(zip(names, (text_rewards, true_returns), strict=True)):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.spines[["top", "right"]].set_visible(False)
        for curve in curves:
            axes.plot(range(1, len(curve) + 1), curve, color=SERIES_COLOURS[place], alpha=0.55, linewidth=1.2)
        axes.plot(
            range(1, len(curves[0]) + 1), np.mean(curves, axis=0), color=SERIES_COLOURS[place], linewidth=2.6
        )
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_xlabel("generation", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True)
    path.write_bytes(png(figure))


def draw_strips(path: Path, episodes: Sequence[tuple[str, npt.NDArray[np.uint8]]], *, title: str) -> None:
    """Episodes as rows of frames, from the first to the last.

    Args:
        path: The PNG to write.
        episodes: For each a name and its frames, (n, H, W, 3) uint8 with n at least 2.
        title: What stands above.
    """
    figure = Figure(figsize=(1.25 * NUM_SHOWN, len(episodes) + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = figure.subplots(len(episodes), NUM_SHOWN, squeeze=False)
    for row, (name, frames) in zip(grid, episodes, strict=True):
        places = np.linspace(0, len(frames) - 1, NUM_SHOWN).round().astype(int)
        for axes, place in zip(row, places, strict=True):
            axes.imshow(frames[place], interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(name, fontsize=9)
    path.write_bytes(png(figure))
