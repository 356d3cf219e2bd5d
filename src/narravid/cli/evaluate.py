"""`narravid evaluate BENCHMARK`: measure a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from narravid.bad_items import MAX_BAD_SHARE, TooManyBadItemsError
from narravid.errors import ConfigError
from narravid.evaluation.pairs import RetrievalPair, read_pairs_csv
from narravid.evaluation.report import print_retrieval, write_retrieval
from narravid.evaluation.retrieval import RetrievalResult, evaluate_pairs
from narravid.inference.embedder import Embedder, EmbeddingDtype
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.recipes.devices import pick_device
from narravid.video.watched import WatchedDecoder

__all__ = ["EVALUATE_COMMANDS", "EvaluateRetrieval"]


@dataclass(frozen=True)
class EvaluateRetrieval:
    """Find clips by sentences and sentences by clips, in a list of your own.

    Attributes:
        pairs: CSV file `video_path,text[,start_seconds,end_seconds]`; paths start at its folder.
        model: Model folder, run folder, published checkpoint or name.
        output: JSON file for the result with its protocol card; none is written when absent.
        num_windows: Windows per clip over which its embedding is averaged.
        batch_size: Windows per forward pass.
        device: Where to compute: cpu, cuda, cuda:1, or auto for a GPU when there is one.
        dtype: Arithmetic of the network.
        workers: Decoding processes, which work ahead of the network.
        max_bad_share: Stop when a larger share of the clips cannot be read. What is missing is left out, and
            the result says so. 1 never stops.
    """

    pairs: Path
    model: str
    output: Path | None = None
    num_windows: int = 10
    batch_size: int = 8
    device: str = "cpu"
    dtype: EmbeddingDtype = "float32"
    workers: int = 1
    max_bad_share: float = MAX_BAD_SHARE

    def run(self) -> int:
        """Evaluate, print the table, write the result."""
        if self.output is not None and self.output.is_dir():
            raise ConfigError(f"{self.output} is a folder; the result needs a file")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be from 0 to 1, got {self.max_bad_share}")
        device = pick_device(self.device)
        pairs = read_pairs_csv(self.pairs)
        pairs_sha256 = hashlib.sha256(self.pairs.read_bytes()).hexdigest()
        model = load_pixel_dual_encoder(self.model, device=device)
        embedder = Embedder(model, device=device, dtype=self.dtype, batch_size=self.batch_size)
        result = self._evaluate(embedder, pairs)
        source = {
            "model": self.model,
            "pairs": str(self.pairs),
            "pairs_sha256": pairs_sha256,
        }
        result = replace(result, card=source | result.card)
        print_retrieval(result)
        if self.output is not None:
            write_retrieval(result, self.output)
            print(f"result written to {self.output}")
        return 0

    def _evaluate(self, embedder: Embedder, pairs: Sequence[RetrievalPair]) -> RetrievalResult:
        try:
            with WatchedDecoder(num_workers=self.workers) as decoder:
                return evaluate_pairs(
                    embedder,
                    pairs,
                    num_windows=self.num_windows,
                    decoder=decoder,
                    max_bad_share=self.max_bad_share,
                )
        except TooManyBadItemsError as error:
            raise TooManyBadItemsError(
                f"{error}. Bring the videos back, or let more be missing (--max-bad-share); the numbers are "
                "then of a smaller gallery"
            ) from error


EVALUATE_COMMANDS: dict[str, type[EvaluateRetrieval]] = {"retrieval": EvaluateRetrieval}
