"""Published checkpoints of every family: recognised by their keys, opened as models.

What a family's keys are called, and which settings its weights were made for, lies in its own file
`checkpoints_*`; reading files lies in `checkpoints_files`.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from narravid.errors import CheckpointError
from narravid.models.checkpoints_cpd import CPD_CLASSIFIER_FAMILY, CPD_FAMILY
from narravid.models.checkpoints_files import PublishedFamily, PublishedFile, open_published
from narravid.models.checkpoints_howto100m import HOWTO100M_FAMILY
from narravid.models.checkpoints_resnet2d import RESNET2D_FAMILY
from narravid.models.checkpoints_resnext import RESNEXT_FAMILY
from narravid.models.checkpoints_s3d import S3D_ALIGNED_FAMILY, S3D_FAMILY
from narravid.models.checkpoints_tan import TAN_FAMILY
from narravid.models.checkpoints_viclip import VICLIP_FAMILY

__all__ = ["PUBLISHED_FAMILIES", "family_of_file", "load_published"]

PUBLISHED_FAMILIES: tuple[PublishedFamily, ...] = (
    S3D_FAMILY,
    S3D_ALIGNED_FAMILY,
    HOWTO100M_FAMILY,
    CPD_FAMILY,
    CPD_CLASSIFIER_FAMILY,
    RESNET2D_FAMILY,
    RESNEXT_FAMILY,
    VICLIP_FAMILY,
    TAN_FAMILY,
)


def family_of_file(file: PublishedFile) -> PublishedFamily:
    """The family that knows a file's keys.

    Raises:
        CheckpointError: If none does; names the keys that the file begins with and the families known.
    """
    for family in PUBLISHED_FAMILIES:
        if family.recognises(file.tensors):
            return family
    found = ", ".join(list(file.tensors)[:5])
    known = "; ".join(family.name for family in PUBLISHED_FAMILIES)
    raise CheckpointError(
        file.path, f"not a checkpoint of a known family ({known}): its keys begin with {found}"
    )


def load_published(path: Path, vocabulary_path: Path | None = None) -> nn.Module:
    """The model of a published checkpoint, on the CPU and in evaluation mode.

    Args:
        path: The checkpoint file.
        vocabulary_path: Its word list or tokenizer file; by default the published one in the same folder.

    Returns:
        The model.

    Raises:
        CheckpointError: If the file is unreadable, of no known family, incomplete or without its word list.
        AnnotationError: If the word list is unreadable.
    """
    file = open_published(path, vocabulary_path)
    return family_of_file(file).build(file)
