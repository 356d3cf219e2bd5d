"""`narravid index VIDEOS... --model M --index DIR`: make videos searchable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from narravid.bad_items import BAD_ITEMS_NAME, MAX_BAD_SHARE, TooManyBadItemsError
from narravid.inference.clip_encoder import Backend
from narravid.inference.embedder import Embedder, EmbeddingDtype
from narravid.inference.index import VideoIndex
from narravid.inference.index_folder import has_info
from narravid.inference.indexing import IndexReport
from narravid.inference.video_files import FoundFiles, find_video_files
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.recipes.devices import pick_device
from narravid.video.watched import WatchedDecoder

__all__ = ["Index"]

EXIT_NOTHING_INDEXED = 1
MAX_NAMES_PER_SUFFIX = 20


@dataclass(frozen=True)
class Index:
    """Cut videos into overlapping clips, embed them and add them to an index.

    Only files that are new or changed (size or time of change) are read; run it again at any time, also after
    it was killed. Files that cannot be read are listed with the reason, and stay in INDEX/bad_items.csv until
    they are mended. Exit status: 0, or 1 when nothing could be indexed.

    Attributes:
        videos: Files (any suffix) and folders (searched to the bottom for files with a video's suffix).
        model: Model folder, run folder, published checkpoint or name that makes the vectors.
        index: Folder of the index; made when it is not there.
        prune: Also remove the clips of files that are gone, below the given VIDEOS only.
        device: Where to compute: cpu, cuda, cuda:1, or auto for a GPU when there is one.
        dtype: Arithmetic of the network; bfloat16 gains where the processor has instructions for it.
        backend: What computes the network on clips: torch, or openvino or onnxruntime (the extra `fast`),
            which convert it once and compute on the CPU.
        batch_size: Clips per forward pass.
        workers: Videos that are decoded at once, each in a process of its own.
        max_bad_share: Stop when a larger share of the files is bad; judged only where there are a thousand or
            more, because of fewer the good ones are soon indexed. 1 never stops.
    """

    videos: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="VIDEOS")]
    model: str
    index: Path
    prune: bool = False
    device: str = "cpu"
    dtype: EmbeddingDtype = "float32"
    backend: Backend = "torch"
    batch_size: int = 8
    workers: int = 1
    max_bad_share: float = MAX_BAD_SHARE

    def run(self) -> int:
        """Index, and say what was done."""
        if not self.videos:
            raise ValueError("name at least one video file or folder")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be from 0 to 1, got {self.max_bad_share}")
        found = find_video_files(self.videos)
        report = self._add(found) if found.videos else IndexReport(failed=found.problems)
        removed = self._prune()
        _print_report(report, removed)
        if has_info(self.index):
            index = VideoIndex.open(self.index)
            print(f"{self.index} holds {index.num_clips:,} clips of {len(index.files()):,} videos")
            if report.failed or report.partial:
                print(f"what is bad is listed in {self.index / BAD_ITEMS_NAME} until it is mended")
        return 0 if report.num_indexed or removed else EXIT_NOTHING_INDEXED

    def _add(self, found: FoundFiles) -> IndexReport:
        device = pick_device(self.device)
        model = load_pixel_dual_encoder(self.model, device=device)
        index = VideoIndex.open_or_create(self.index, model, model_path=self.model)
        embedder = Embedder(
            model, device=device, dtype=self.dtype, batch_size=self.batch_size, backend=self.backend
        )
        try:
            with WatchedDecoder(num_workers=self.workers) as decoder:
                return index.add(
                    found,
                    embedder,
                    decoder=decoder,
                    num_workers=self.workers,
                    max_bad_share=self.max_bad_share,
                )
        except TooManyBadItemsError as error:
            raise TooManyBadItemsError(
                f"{error}. All are listed in {self.index / BAD_ITEMS_NAME}; mend them, or let more be bad "
                "(--max-bad-share). What is finished stays in the index"
            ) from error

    def _prune(self) -> list[str]:
        if not self.prune or not has_info(self.index):
            return []
        return VideoIndex.open(self.index).prune(self.videos)


def _print_report(report: IndexReport, removed: Sequence[str]) -> None:
    for path, reason in report.failed:
        print(f"not indexed: {path}: {reason}")
    for path, reason in report.partial:
        print(f"indexed in part: {path}: {reason}")
    _print_passed_over(report.passed_over)
    for path in removed:
        print(f"removed: {path}")
    parts = [f"{len(report.added):,} added", f"{len(report.updated):,} updated"]
    parts += [f"{report.num_unchanged:,} unchanged", f"{len(report.failed):,} not indexed"]
    parts += [f"{len(removed):,} removed"] if removed else []
    parts += [f"{report.num_repeated:,} named more than once"] if report.num_repeated else []
    print(f"{', '.join(parts)}; {report.num_clips:,} clips written")


def _print_passed_over(paths: Sequence[str]) -> None:
    """One line for each suffix: a folder of transcripts has hundreds of such files."""
    by_suffix: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_suffix[Path(path).suffix].append(path)
    for suffix, names in sorted(by_suffix.items()):
        more = f" and {len(names) - MAX_NAMES_PER_SUFFIX:,} more" if len(names) > MAX_NAMES_PER_SUFFIX else ""
        kind = f"{suffix} is no video suffix" if suffix else "no suffix"
        listed = ", ".join(names[:MAX_NAMES_PER_SUFFIX])
        print(f"not indexed: {listed}{more}: {kind}; name a file itself to try it")
