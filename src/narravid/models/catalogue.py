"""What is said of a published name: its files, where they are said to be, under which licence.

The table itself is in `catalogue_entries`. Nothing here touches the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Address", "Entry", "EntryKind", "PublishedItem"]

EntryKind = Literal["model", "word list", "tokenizer", "word vectors", "features", "annotations"]

AddressKind = Literal["web", "drive_file", "drive_folder", "hugging_face", "page"]
"""`web` gives the file itself, a Google Drive file may ask for a confirmation first; a Drive folder and a
page for people can only be opened in a browser."""


@dataclass(frozen=True, slots=True)
class Address:
    """One place where a file is said to be.

    Attributes:
        location: The address of a `web` file or a `page`; the id of a Drive file or folder; `org/name/file`
            on Hugging Face.
        kind: How to get at it.
        dead_since: Month since which it is known to be dead, as "2024-06"; None where nothing is known.
        note: Who put it there, when that was not the author.
    """

    location: str
    kind: AddressKind = "web"
    dead_since: str | None = None
    note: str = ""

    @property
    def url(self) -> str:
        """The address that a person can open in a browser."""
        if self.kind == "drive_file":
            return f"https://drive.google.com/file/d/{self.location}/view"
        if self.kind == "drive_folder":
            return f"https://drive.google.com/drive/folders/{self.location}"
        if self.kind == "hugging_face":
            repository, file = self.hugging_face_file
            return f"https://huggingface.co/{repository}/blob/main/{file}"
        return self.location

    @property
    def hugging_face_file(self) -> tuple[str, str]:
        """Repository and file of a Hugging Face address."""
        organisation, name, file = self.location.split("/", 2)
        return f"{organisation}/{name}", file

    @property
    def automatic(self) -> bool:
        """Whether a program can fetch it."""
        return self.kind not in ("drive_folder", "page")


@dataclass(frozen=True, slots=True)
class PublishedItem:
    """One published file.

    Attributes:
        file_name: What it is called here.
        addresses: Where it is said to be, in the order in which they are tried.
        num_bytes: Its exact size where that is known; a file of another size is another file.
        approximate_bytes: About how large it is, where only that is known.
        sha256_start: The SHA-256, or its known beginning, in hexadecimal; empty where no publisher gives one.
        members: For a zip archive, the files to take out of it; they are kept in its place.
    """

    file_name: str
    addresses: tuple[Address, ...]
    num_bytes: int | None = None
    approximate_bytes: int | None = None
    sha256_start: str = ""
    members: tuple[str, ...] = ()

    @property
    def kept_names(self) -> tuple[str, ...]:
        """Names of the files that lie in the cache afterwards."""
        return self.members or (self.file_name,)

    @property
    def known_dead(self) -> bool:
        """Whether every address is known to be dead."""
        return all(address.dead_since is not None for address in self.addresses)

    @property
    def by_hand(self) -> bool:
        """Whether only a person can fetch it, in a browser."""
        return not any(address.automatic for address in self.addresses)


@dataclass(frozen=True, slots=True)
class Entry:
    """One published name.

    Attributes:
        name: The name, for `narravid.load` and `narravid download`.
        kind: What it is.
        summary: The same in one line.
        items: Its files; of a model, the checkpoint first.
        licence: SPDX identifier where there is one, and of what: "(code)" if the weights name none.
        citation: Authors, title, venue.
        licence_notice: What must be said before it is downloaded; empty for permissive licences.
        assets: Names of the entries whose files belong beside its own, such as a word list.
        note: What else a user should know.
    """

    name: str
    kind: EntryKind
    summary: str
    items: tuple[PublishedItem, ...]
    licence: str
    citation: str
    licence_notice: str = ""
    assets: tuple[str, ...] = ()
    note: str = ""

    @property
    def known_bytes(self) -> int | None:
        """Size of all files together, exact or about; None where one is not known."""
        sizes = [item.num_bytes or item.approximate_bytes for item in self.items]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def exact_size(self) -> bool:
        """Whether `known_bytes` is exact."""
        return all(item.num_bytes is not None for item in self.items)

    @property
    def known_dead(self) -> bool:
        """Whether one of its files has no address left that is not known to be dead."""
        return any(item.known_dead for item in self.items)

    @property
    def by_hand(self) -> bool:
        """Whether one of its files can only be fetched by a person, in a browser."""
        return any(item.by_hand for item in self.items)
