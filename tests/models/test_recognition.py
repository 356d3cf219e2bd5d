"""Every published list of keys is of exactly one family."""

from __future__ import annotations

import pytest
import torch

from fidelity.fill import GOLDEN, published_entries, s3d_entries
from models.plain_resnet2d import resnet_shapes
from narravid.models.checkpoints import PUBLISHED_FAMILIES
from narravid.models.checkpoints_howto100m import HOWTO100M_FAMILY
from narravid.models.checkpoints_resnet2d import RESNET2D_FAMILY
from narravid.models.checkpoints_s3d import S3D_ALIGNED_FAMILY, S3D_FAMILY

# Towers of which the golden numbers were made alone; they are no files that anyone published.
PARTS = {path.stem for path in (GOLDEN / "keys").glob("viclip_*_small*.json")}
KEY_LISTS = sorted({path.stem for path in (GOLDEN / "keys").glob("*.json")} - PARTS)


def shapes(entries: list[tuple[str, tuple[int, ...], str]]) -> dict[str, torch.Tensor]:
    """Tensors without content, the prefix of parallel training removed as when a file is opened."""
    return {key.removeprefix("module."): torch.empty(shape, device="meta") for key, shape, _ in entries}


def names_of_families(tensors: dict[str, torch.Tensor]) -> list[str]:
    return [family.name for family in PUBLISHED_FAMILIES if family.recognises(tensors)]


@pytest.mark.parametrize("name", KEY_LISTS)
def test_every_key_list_is_of_one_family(name):
    assert len(names_of_families(shapes(published_entries(name)))) == 1


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("howto100m_net", HOWTO100M_FAMILY),
        ("howto100m_net_small_sentence24", HOWTO100M_FAMILY),
        ("tan_e2e", S3D_ALIGNED_FAMILY),
        ("tan_e2e_batchnorm", S3D_ALIGNED_FAMILY),
    ],
)
def test_the_family_of_a_key_list(name, family):
    assert names_of_families(shapes(published_entries(name))) == [family.name]


@pytest.mark.parametrize("name", ["s3d_howto100m", "milnce_s3d", "milnce_s3d_space_to_depth", "vt_twins_s3d"])
def test_s3d_with_either_stem(name):
    assert names_of_families(shapes(s3d_entries(name))) == [S3D_FAMILY.name]


def test_resnets_in_two_dimensions_are_not_those_in_three():
    flat = resnet_shapes((3, 8, 36, 3), (256, 512, 1024, 2048), stem_dim=64, num_classes=1000)
    tensors = {key: torch.empty(shape, device="meta") for key, shape in flat}
    assert names_of_families(tensors) == [RESNET2D_FAMILY.name]
    deep = {key: tensor[:, :, None] if tensor.ndim == 4 else tensor for key, tensor in tensors.items()}
    assert RESNET2D_FAMILY.name not in names_of_families(deep)


def test_names_of_families_are_different():
    names = [family.name for family in PUBLISHED_FAMILIES]
    assert len(set(names)) == len(names)
