"""Model folders on Hugging Face: `hf:organisation/name`, or `hf:organisation/name@revision`."""

from __future__ import annotations

from pathlib import Path

from narravid.errors import CheckpointError
from narravid.text.byte_pairs import MERGES_FILE
from narravid.text.word_pieces import PIECES_FILE
from narravid.text.words import VOCABULARY_FILE

__all__ = ["HUGGING_FACE_PREFIX", "fetch_model_folder"]

HUGGING_FACE_PREFIX = "hf:"
MODEL_FILES = ["config.json", "model.safetensors", VOCABULARY_FILE, PIECES_FILE, MERGES_FILE]
"""All that a model folder may hold and a reader wants; the many files of other models are not fetched."""


def fetch_model_folder(reference: str) -> Path:
    """Bring a model folder into Hugging Face's own cache; without a connection, the one that is there counts.

    Args:
        reference: `hf:organisation/name`, with `@` and a branch, tag or commit behind it if need be.

    Returns:
        The folder.

    Raises:
        CheckpointError: If there is no such repository, or it cannot be reached; says what Hugging Face says.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    repository, _, revision = reference.removeprefix(HUGGING_FACE_PREFIX).partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise CheckpointError(reference, "expected hf:organisation/name or hf:organisation/name@revision")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=MODEL_FILES))
    except GatedRepoError as error:
        raise CheckpointError(
            reference, "its owner asks for an account: accept the terms on its page, then run `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            reference, "no such repository on Hugging Face, or a private one: then run `hf auth login`"
        ) from error
    except HFValidationError as error:
        raise CheckpointError(reference, _one_line(error)) from error
    except Exception as error:  # the errors of its HTTP library are not ours to know
        raise CheckpointError(reference, f"cannot be fetched: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
