"""A data set of your own: `python examples/new_dataset.py NOTES.csv RUN`.

The notes have a format that Narravid does not know, one line for each: `file;second;words`. All that is
needed are videos with captions; sampling, decoding, batches, bad files and resume follow from that.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from narravid.bad_items import BadItems
from narravid.data.corpus import NarratedVideo
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.narrated_config import EvaluationConfig
from narravid.text.captions import Caption, CaptionTrack
from narravid.types import Span

SECONDS_PER_NOTE = 3.0


@dataclass(frozen=True)
class NotesRecipe(MILNCERecipe):
    """MIL-NCE on videos with notes; `data.captions` names the file of notes, beside which the videos lie."""

    name: ClassVar[str] = "notes"

    def find_data(self, bad: BadItems) -> Sequence[NarratedVideo]:
        """The videos that there are notes for, by name; those that are not there count as bad."""
        captions = defaultdict(list)
        with self.data.captions.open(encoding="utf-8", newline="") as file:
            for name, second, words in csv.reader(file, delimiter=";"):
                captions[name].append(Caption(words, Span(float(second), float(second) + SECONDS_PER_NOTE)))
        videos = []
        for name, notes in sorted(captions.items()):
            path = self.data.captions.parent / name
            if path.is_file():
                videos.append(NarratedVideo(path, CaptionTrack(tuple(notes)), path.stem))
            else:
                bad.add(path, "there are notes for it, but no such video")
        return videos


if __name__ == "__main__":
    recipe = NotesRecipe.presets()["tiny"]()
    data = replace(recipe.data, root=".", captions=Path(sys.argv[1]))
    replace(recipe, data=data, evaluation=EvaluationConfig()).train(Path(sys.argv[2]))
