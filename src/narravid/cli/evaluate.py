"""`narravid evaluate BENCHMARK`: measure a model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from narravid.errors import ConfigError
from narravid.evaluation.pairs import read_pairs_csv
from narravid.evaluation.report import print_retrieval, write_retrieval
from narravid.evaluation.retrieval import evaluate_retrieval
from narravid.inference.embedder import EmbeddingDtype
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
    """

    pairs: Path
    model: str
    output: Path | None = None
    num_windows: int = 10
    batch_size: int = 8
    device: str = "cpu"
    dtype: EmbeddingDtype = "float32"
    workers: int = 1

    def run(self) -> int:
        """Evaluate, print the table, write the result."""
        if self.output is not None and self.output.is_dir():
            raise ConfigError(f"{self.output} is a folder; the result needs a file")
        device = pick_device(self.device)
        pairs = read_pairs_csv(self.pairs)
        pairs_sha256 = hashlib.sha256(self.pairs.read_bytes()).hexdigest()
        model = load_pixel_dual_encoder(self.model, device=device)
        with WatchedDecoder(num_workers=self.workers) as decoder:
            result = evaluate_retrieval(
                model,
                pairs,
                num_windows=self.num_windows,
                device=device,
                dtype=self.dtype,
                batch_size=self.batch_size,
                decoder=decoder,
            )
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


EVALUATE_COMMANDS: dict[str, type[EvaluateRetrieval]] = {"retrieval": EvaluateRetrieval}
