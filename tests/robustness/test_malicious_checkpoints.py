"""Files that would run code in a careless reader: each is refused by name, and nothing in it runs."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import tarfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import narravid
from narravid.cli.main import main
from narravid.errors import AnnotationError, CheckpointError
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_reading import read_checkpoint
from narravid.text.words import Vocabulary


class Shell:
    """Runs a command when it is unpickled carelessly."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.marker}'",)


class Opener(Shell):
    """Makes a file through `open`."""

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.marker), "w")


class Evaluator(Shell):
    """Runs Python."""

    def __reduce__(self) -> tuple[object, ...]:
        return eval, (f"__import__('pathlib').Path({str(self.marker)!r}).touch()",)


def as_zip(content: object, path: Path) -> None:
    torch.save(content, path)


def as_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def as_pickle(protocol: int) -> Callable[[object, Path], None]:
    def write(content: object, path: Path) -> None:
        path.write_bytes(pickle.dumps(content, protocol=protocol))

    return write


def as_tar(content: object, path: Path) -> None:
    """PyTorch's first format: a tar of pickles."""
    parts = {"sys_info": {}, "pickle": content, "storages": 0, "tensors": 0}
    with tarfile.open(path, "w") as file:
        for name, part in parts.items():
            data = pickle.dumps(part, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))


WRITERS = {"zip": as_zip, "legacy": as_legacy, "tar": as_tar} | {
    f"pickle protocol {protocol}": as_pickle(protocol) for protocol in (0, 1, 2, 3, 4, 5)
}


def read_carelessly(container: str, path: Path) -> None:
    """What a trusting reader does with the file."""
    if container == "tar":
        with tarfile.open(path) as file:
            result = pickle.loads(file.extractfile("pickle").read())
    elif container.startswith("pickle"):
        result = pickle.loads(path.read_bytes())
    else:
        result = torch.load(path, weights_only=False)
    if isinstance(result["conv1.conv1.weight"], io.IOBase):
        result["conv1.conv1.weight"].close()


@pytest.mark.parametrize("payload", [Shell, Opener, Evaluator])
@pytest.mark.parametrize("container", WRITERS)
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, container, payload):
    marker, path = tmp_path / "it ran", tmp_path / "weights.pth"
    WRITERS[container]({"conv1.conv1.weight": payload(marker), "fc.weight": 1.0}, path)
    for load in (load_published, narravid.load):
        with pytest.raises(CheckpointError, match="refused: .*nothing") as caught:
            load(path)
        assert "weights_only" not in str(caught.value)
        assert not marker.exists()
    read_carelessly(container, path)
    assert marker.exists()


@pytest.mark.parametrize("container", [name for name in WRITERS if name not in ("tar", "pickle protocol 0")])
@pytest.mark.parametrize(
    ("payload", "name"), [(Shell, r"(posix|nt)\.system"), (Opener, r"\bopen"), (Evaluator, r"\beval")]
)
def test_the_refusal_names_what_the_file_wanted(tmp_path, container, payload, name):
    path = tmp_path / "weights.pth"
    WRITERS[container]({"a": payload(tmp_path / "marker")}, path)
    with pytest.raises(CheckpointError, match=f"it wants [^;]*{name}"):
        load_published(path)


def test_notes_of_other_programs_are_refused_with_a_remedy(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "options": argparse.Namespace(lr=0.1)}, path)
    with pytest.raises(CheckpointError, match=r"it wants argparse\.Namespace.*torch\.save\({'state_dict'"):
        load_published(path)


def test_a_script_module_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch announces the end of TorchScript
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(CheckpointError, match="refused: a TorchScript file"):
        load_published(path)


def test_code_beside_a_checkpoint_is_not_run(tmp_path):
    marker = tmp_path / "it ran"
    words = np.empty(2, dtype=object)
    words[:] = ["add", Shell(marker)]
    np.save(tmp_path / "s3d_dict.npy", words, allow_pickle=True)
    with pytest.raises(AnnotationError, match=r"s3d_dict\.npy"):
        Vocabulary.load(tmp_path / "s3d_dict.npy")
    (tmp_path / "dict.npy").write_bytes(pickle.dumps(Shell(marker)))
    with pytest.raises(AnnotationError, match=r"dict\.npy"):
        Vocabulary.load(tmp_path / "dict.npy")
    assert not marker.exists()


def test_the_command_line_refuses_in_one_line(tmp_path, capsys):
    path = tmp_path / "weights.pth"
    as_zip({"a": Shell(tmp_path / "it ran")}, path)
    for words in (["info", str(path)], ["convert", str(path), "--output", str(tmp_path / "model")]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "refused" in said
    assert not (tmp_path / "it ran").exists()
    assert not (tmp_path / "model").exists()


NUMBERS = [np.float64(3.25), np.float32(-0.5), np.float16(2), np.int64(-7), np.uint8(200), np.bool_(True)]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.dtype.name)
@pytest.mark.parametrize("module", ["numpy._core.multiarray", "numpy.core.multiarray"])
@pytest.mark.parametrize("legacy", [False, True])
def test_numpy_numbers_among_the_notes_become_plain_ones(tmp_path, number, module, legacy):
    path = tmp_path / "weights.pth"
    content = {"state_dict": {"a": torch.ones(2)}, "best_acc": number}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    assert b"numpy._core.multiarray\nscalar" in data
    path.write_bytes(_renamed(data, module) if legacy else data)
    allowed = set(torch.serialization.get_safe_globals())
    read = read_checkpoint(path)["best_acc"]
    assert read == number.item()
    assert type(read) is type(number.item())
    assert set(torch.serialization.get_safe_globals()) == allowed


def _renamed(data: bytes, module: str) -> bytes:
    return data.replace(b"numpy._core.multiarray\nscalar", f"{module}\nscalar".encode())


@pytest.mark.parametrize(
    "value", [np.str_("word"), np.complex64(1j), np.datetime64("2024-06-01"), np.zeros(2), np.dtype("O")]
)
def test_other_numpy_objects_are_refused(tmp_path, value):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {"a": torch.ones(2)}, "note": [value, np.float64(1)]}, path)
    if isinstance(value, np.dtype):  # an inert name, which nobody looks at
        assert list(read_checkpoint(path)) == ["state_dict", "note"]
        return
    with pytest.raises(CheckpointError, match="refused"):
        read_checkpoint(path)


def test_a_number_of_the_wrong_length_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"best": np.float64(1)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"\x02\x00\x00\x00f8", b"\x02\x00\x00\x00f4"))
    with pytest.raises(CheckpointError, match="8 bytes for a NumPy number of type f4"):
        read_checkpoint(path)


def test_a_tensor_that_repeats_itself_is_refused_before_it_fills_the_memory(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"conv1.conv1.weight": torch.zeros(1).expand(10**15)}, path)
    with pytest.raises(CheckpointError, match="claims 4,000,000,000,000,000 bytes, the file holds 4 of them"):
        load_published(path)


def test_many_tensors_of_the_same_numbers_are_refused_before_they_fill_the_memory(tmp_path):
    path = tmp_path / "weights.pth"
    shared = torch.zeros(100_000)
    torch.save({f"layer{number}": shared for number in range(50)}, path)
    with pytest.raises(CheckpointError, match="claim 20,000,000 bytes together, the file holds 4"):
        load_published(path)


def test_empty_tensors_are_refused_whatever_they_claim(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"conv1.conv1.weight": torch.zeros(10**15, 0)}, path)
    with pytest.raises(CheckpointError, match=r"is \(1000000000000000, 0\): there are no numbers in it"):
        load_published(path)


def test_compressed_parts_are_refused_before_they_fill_the_memory(tmp_path):
    whole, path = tmp_path / "whole.pth", tmp_path / "weights.pth"
    torch.save({"conv1.conv1.weight": torch.zeros(5)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, bytes(10**8) if name.endswith("data.pkl") else source.read(name))
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    with pytest.raises(
        CheckpointError, match=r"refused: a zip archive with compressed parts \(whole/data\.pkl"
    ):
        load_published(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_an_archive_around_a_checkpoint_is_refused(tmp_path):
    inner, path = tmp_path / "inner.pth", tmp_path / "weights.pth"
    as_zip({"a": Shell(tmp_path / "it ran")}, inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "inner.pth")
    with pytest.raises(CheckpointError, match="not a readable PyTorch file"):
        load_published(path)
    assert not (tmp_path / "it ran").exists()


def test_tensors_that_are_not_ordinary_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    for tensor in (torch.eye(2).to_sparse(), torch.zeros(2, device="meta")):
        torch.save({"conv1.conv1.weight": tensor}, path)
        with pytest.raises(CheckpointError, match="no ordinary tensor"):
            load_published(path)


def test_every_byte_may_be_wrong(tmp_path):
    """A flipped byte gives a result or a CheckpointError, and nothing else."""
    path = tmp_path / "whole.pth"
    torch.save({"state_dict": {"a": torch.arange(4.0)}, "best_acc": np.float64(1)}, path)
    content = path.read_bytes()
    broken = tmp_path / "broken.pth"
    num_refused = 0
    for position in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[position] ^= 0xFF
        broken.write_bytes(flipped)
        try:
            read_checkpoint(broken)
        except CheckpointError:
            num_refused += 1
    assert num_refused > 20
