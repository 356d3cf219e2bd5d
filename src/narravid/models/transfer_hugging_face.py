"""Single files on Hugging Face, through its own library: it knows tokens, gates, mirrors and offline mode."""

from __future__ import annotations

import shutil
from pathlib import Path

from narravid.models.transfer import AddressError

__all__ = ["fetch_hugging_face_file"]


def fetch_hugging_face_file(repository: str, file_name: str, part: Path) -> None:
    """Fetch one file of a model repository; a broken download is gone on with by the next call.

    Args:
        repository: "organisation/name".
        file_name: The file in it.
        part: Where to put the file.

    Raises:
        AddressError: If the repository does not give it; says so if it asks for an account.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    workspace = part.with_name(part.name + ".folder")
    try:
        fetched = hf_hub_download(repository, file_name, local_dir=workspace)
    except GatedRepoError as error:
        raise AddressError(
            "its owner asks for an account: accept the terms on its page, then run `hf auth login`"
        ) from error
    except Exception as error:  # the errors of its HTTP library are not ours to know
        raise AddressError(" ".join(str(error).split())[:300] or type(error).__name__) from error
    Path(fetched).replace(part)
    shutil.rmtree(workspace)
