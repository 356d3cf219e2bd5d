from __future__ import annotations

import numpy as np
import pytest
import torch

from narravid.errors import CheckpointError
from narravid.recipes.word_vectors import load_word_vectors
from narravid.text.words import Vocabulary

WORDS = Vocabulary(["a", "b", "c"])
TABLE = torch.arange(12, dtype=torch.float32).reshape(4, 3)


def test_tables_with_and_without_a_padding_row_are_read_from_both_kinds_of_file(tmp_path):
    np.save(tmp_path / "with.npy", TABLE.numpy())
    torch.save(TABLE.double(), tmp_path / "with.pth")
    torch.save(TABLE[1:], tmp_path / "without.pth", _use_new_zipfile_serialization=False)
    for name in ("with.npy", "with.pth"):
        table = load_word_vectors(tmp_path / name, WORDS)
        assert table.dtype == torch.float32
        assert torch.equal(table, TABLE)
    table = load_word_vectors(tmp_path / "without.pth", WORDS)
    assert torch.equal(table[1:], TABLE[1:])
    assert not table[0].any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE[:2], "2 word vectors do not fit a vocabulary of 3 words"),
        (TABLE.long(), "2-D table of floats"),
        (TABLE[0], "2-D table of floats"),
        (TABLE / 0, "NaN or infinity"),
        ({"weight": TABLE}, "one tensor, got dict"),
    ],
    ids=["rows", "integers", "one row", "infinite", "dictionary"],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "vectors.pth")
    with pytest.raises(CheckpointError, match=message):
        load_word_vectors(tmp_path / "vectors.pth", WORDS)


@pytest.mark.parametrize("name", ["vectors.npy", "vectors.pth"])
def test_absent_damaged_and_malicious_files_are_refused(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(CheckpointError, match="no such file"):
        load_word_vectors(path, WORDS)
    for junk in (b"", b"junk", bytes(range(256)) * 4):
        path.write_bytes(junk)
        with pytest.raises(CheckpointError, match="not a file of word vectors"):
            load_word_vectors(path, WORDS)
    np.save(tmp_path / "objects.npy", np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(CheckpointError, match="not a file of word vectors"):
        load_word_vectors(tmp_path / "objects.npy", WORDS)
