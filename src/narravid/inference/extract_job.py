"""Everything that an extracting process must know, so that any process anywhere makes the same files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from narravid.errors import CheckpointError
from narravid.inference.claims import CLAIM_TIMEOUT_SECONDS, Claims
from narravid.inference.clip_encoder import Backend, ClipEncoder, EmbeddingDtype
from narravid.inference.extract_item import ItemExtractor, StoredType, settings_of
from narravid.inference.extract_plan import ExtractionPlan
from narravid.inference.extract_store import FeatureStore, FileStore
from narravid.inference.extract_video import VideoExtractor
from narravid.models.kinds import load_feature_extractor
from narravid.protocols import FeatureExtractor, PixelDualEncoder
from narravid.video.watched import WatchedDecoder

__all__ = ["ExtractionJob", "load_extractor", "open_worker"]

SHORT_NAMES = {
    "resnet-152": "resnet152-imagenet",
    "resnext-101": "resnext101-kinetics",
    "s3d": "s3d-howto100m",
}
"""What the published extractors are called for short, and their names in the catalogue."""


@dataclass(frozen=True)
class ExtractionJob:
    """What is made, of which model, how.

    Attributes:
        model: Model folder, published checkpoint or name; every process loads it from there.
        plan: The windows.
        output_folder: Folder of a table; None where features go into files of their own.
        stored: In which type features are kept.
        device: Where to compute, such as "cpu" or "cuda".
        dtype: Arithmetic of the network.
        backend: What computes the network.
        batch_size: Windows per forward pass.
        overwrite: Whether features of other settings give way.
        claim_timeout_seconds: When a claim that was not touched may be taken over.
        weights_hash: That of the model that is meant; None takes whatever is there.
    """

    model: str
    plan: ExtractionPlan
    output_folder: Path | None = None
    stored: StoredType = "float16"
    device: str = "cpu"
    dtype: EmbeddingDtype = "float32"
    backend: Backend = "torch"
    batch_size: int = 8
    overwrite: bool = False
    claim_timeout_seconds: float = CLAIM_TIMEOUT_SECONDS
    weights_hash: str | None = None


def load_extractor(name_or_path: str, *, device: str = "cpu") -> PixelDualEncoder | FeatureExtractor:
    """Open a model that turns clips into features.

    Args:
        name_or_path: As for `hub.load`, or short: "resnet-152", "resnext-101", "s3d". What lies at that path
            goes before a name.
        device: Where to put the weights.

    Raises:
        CheckpointError: As `hub.load`, or if the model is of another kind.
    """
    is_path = Path(name_or_path).expanduser().exists()
    name = name_or_path if is_path else SHORT_NAMES.get(name_or_path, name_or_path)
    return load_feature_extractor(name, device=device)


@contextmanager
def open_worker(
    job: ExtractionJob, decoder: WatchedDecoder, *, model: PixelDualEncoder | FeatureExtractor | None = None
) -> Iterator[ItemExtractor]:
    """What extracts the videos of a job in this process, while the block runs.

    Args:
        job: What is made.
        decoder: Reads the videos.
        model: The model of the job if it is loaded already.

    Raises:
        CheckpointError: If the model is not the one that is meant.
        ValueError: If the model has no such output, or there is a table of other features.
    """
    model = model or load_extractor(job.model, device=job.device)
    if job.weights_hash not in (None, model.weights_hash):
        raise CheckpointError(job.model, "is another model here than where the run was started")
    encoder = ClipEncoder(
        model, output=job.plan.layer, device=job.device, dtype=job.dtype, backend=job.backend
    )
    with (
        _open_store(job, dim=encoder.dim) as store,
        Claims(job.claim_timeout_seconds) as claims,
        VideoExtractor(encoder, decoder, job.plan, batch_size=job.batch_size) as extractor,
    ):
        yield ItemExtractor(
            extractor,
            store,
            claims,
            settings=settings_of(encoder, job.plan, job.stored),
            model_name=job.model,
            overwrite=job.overwrite,
        )


@contextmanager
def _open_store(job: ExtractionJob, *, dim: int) -> Iterator[FeatureStore]:
    if job.output_folder is None:
        yield FileStore()
        return
    from narravid.inference.extract_table import TableStore  # it brings threads, which do not go with forks

    table = TableStore(job.output_folder, dim=dim, dtype=job.stored)
    yield table
    table.close()
