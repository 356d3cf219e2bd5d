"""Heat maps of three sizes from invented scores: `python examples/score_heat_maps.py docs`.

They show what `narravid score` draws for 2 x 2, 12 x 8 and 60 x 40 trajectories and prompts.
"""

import sys
from pathlib import Path

import numpy as np

from narravid.evaluation.trajectory_pictures import score_heat_map

SIZES = ((2, 2), (12, 8), (60, 40))
ACTIONS = ("opens", "closes", "pushes", "lifts", "turns", "slides", "presses", "drops")
THINGS = ("the drawer", "a red cup", "the cabinet door", "the green button", "a wooden block")
LONG = (
    "a robot arm reaches over the table, takes hold of the handle of the upper drawer with two fingers and "
    "pulls it until the drawer is wide open"
)
PLACES = ("kitchen", "laboratory", "simulation")


def scores_of(num_rows: int, num_columns: int) -> np.ndarray:
    """(V, P) cosines as a model might give them: some rows and columns higher, some pairs too."""
    generator = np.random.default_rng(0)
    scores = generator.normal(0.12, 0.03, (num_rows, num_columns))
    scores += generator.normal(0, 0.03, (num_rows, 1)) + generator.normal(0, 0.03, (1, num_columns))
    scores[np.arange(num_rows), np.arange(num_rows) % num_columns] += 0.12
    return scores


def main(folder: Path) -> None:
    """Draw all sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = [f"a robot arm {action} {thing}" for thing in THINGS for action in ACTIONS]
    for num_rows, num_columns in SIZES:
        columns = [*prompts[: num_columns - 1], LONG]
        rows = [f"{PLACES[number % 3]}_episode_{number:04d}" for number in range(num_rows)]
        title = f"{num_rows} trajectories, {num_columns} prompts (invented scores)"
        data = score_heat_map(scores_of(num_rows, num_columns), rows, columns, title=title)
        (folder / f"scores_{num_rows}x{num_columns}.png").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
