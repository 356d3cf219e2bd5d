"""How the published programs name the parts of CLIP's transformer block."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["count_blocks", "published_block_key"]

BLOCK_KEY_MAP = {
    "attention.in_projection.": "attn.in_proj_",
    "attention.out_projection.": "attn.out_proj.",
    "attention_norm.": "ln_1.",
    "mlp_norm.": "ln_2.",
    "expand.": "mlp.c_fc.",
    "contract.": "mlp.c_proj.",
}
"""Start of a key of `TransformerBlock` -> start of the published key."""


def published_block_key(key: str) -> str:
    """The published name of a key of `TransformerBlock.state_dict()`."""
    for start, published in BLOCK_KEY_MAP.items():
        if key.startswith(start):
            return published + key.removeprefix(start)
    return key


def count_blocks(keys: Collection[str], prefix: str) -> int:
    """How many blocks a state dict has whose keys begin with `prefix` and a number.

    Args:
        keys: All keys.
        prefix: What stands before the number.

    Returns:
        How many different numbers there are, whatever they are: a gap shows up as missing and unexpected
        keys, and no key of a damaged file makes a network of a billion blocks.
    """
    numbers = {key.removeprefix(prefix).partition(".")[0] for key in keys if key.startswith(prefix)}
    return sum(number.isdecimal() for number in numbers)
