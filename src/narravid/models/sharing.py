"""Giving models away: a model folder with a card, on disk or on Hugging Face."""

from __future__ import annotations

import tempfile
from pathlib import Path

from narravid.errors import NarravidError
from narravid.models.hub import save_model
from narravid.models.model_card import model_card
from narravid.protocols import Model

__all__ = ["push_to_hub", "save_pretrained"]


def save_pretrained(model: Model, folder: str | Path, *, licence: str | None = None) -> Path:
    """Write a model folder with a README.md that says what the model is; `narravid.load` opens it.

    Args:
        model: The model.
        folder: The folder to make; a model folder that is there is replaced.
        licence: SPDX identifier of the licence of the weights, such as "apache-2.0"; None leaves it open.

    Returns:
        The folder.

    Raises:
        ValueError: If other files are in the way, or the model is of no family that a folder can hold.
    """
    path = Path(folder).expanduser()
    save_model(model, path, readme=model_card(model, licence=licence))
    return path


def push_to_hub(
    model: Model,
    repository: str,
    *,
    licence: str | None = None,
    private: bool = False,
    revision: str | None = None,
    message: str = "Upload a Narravid model",
    token: str | None = None,
) -> str:
    """Put a model folder with a card on Hugging Face; `narravid.load("hf:organisation/name")` opens it.

    Args:
        model: The model.
        repository: "organisation/name"; made if there is none.
        licence: As for `save_pretrained`.
        private: Whether a repository that is made now can be seen by its owner only.
        revision: Branch; by default the main one.
        message: What the commit says.
        token: Access token; by default that of `hf auth login`.

    Returns:
        Address of the commit.

    Raises:
        NarravidError: If Hugging Face does not take it; says why.
        ValueError: If the model is of no family that a folder can hold.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        # First, so that a fault of the model leaves no empty repository.
        save_model(model, folder, readme=model_card(model, licence=licence, repository=repository))
        api = HfApi(token=token)
        try:
            named = api.create_repo(repository, private=private, exist_ok=True).repo_id
            commit = api.upload_folder(
                repo_id=named, folder_path=folder, revision=revision, commit_message=message
            )
        except Exception as error:  # the errors of its HTTP library are not ours to know
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise NarravidError(f"{repository} could not be put on Hugging Face: {reason}") from error
    return str(commit.commit_url)
