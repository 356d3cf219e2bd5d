"""The pre-norm transformer of CLIP, used by the temporal aligner and by ViCLIP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["QuickGELU", "SelfAttention", "Transformer", "TransformerBlock"]

MLP_RATIO = 4
"""How many times wider the hidden layer of a block is than its tokens."""


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), the approximation of GELU that CLIP was trained with."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return inputs * torch.sigmoid(1.702 * inputs)


class SelfAttention(nn.Module):
    """Multi-head self-attention whose queries, keys and values come from one projection, in this order.

    Args:
        dim: D, size of a token.
        num_heads: How many heads share it.

    Raises:
        ValueError: If the heads do not divide the size.
    """

    def __init__(self, dim: int, *, num_heads: int) -> None:
        super().__init__()
        if dim < 1 or num_heads < 1 or dim % num_heads:
            raise ValueError(f"num_heads must divide dim, got {num_heads} heads for {dim}")
        self.num_heads = num_heads
        self.in_projection = nn.Linear(dim, 3 * dim)
        self.out_projection = nn.Linear(dim, dim)

    def forward(
        self, tokens: torch.Tensor, *, key_mask: torch.Tensor | None = None, causal: bool = False
    ) -> torch.Tensor:
        """Attend from every token to every real one.

        Args:
            tokens: (B, L, D).
            key_mask: (B, L) bool, False where a token is padding and must not be attended to; None when all
                are real. A sample needs at least one real token.
            causal: Let a token attend to itself and earlier ones only.

        Returns:
            (B, L, D); rows of padding are computed like any other.
        """
        batch, length, dim = tokens.shape
        heads = self.in_projection(tokens).view(batch, length, 3, self.num_heads, dim // self.num_heads)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        mask = None if key_mask is None else key_mask[:, None, None, :]
        if mask is not None and causal:  # the kernel takes one or the other
            earlier = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
            mask, causal = mask & earlier, False
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal)
        projected: torch.Tensor = self.out_projection(attended.transpose(1, 2).reshape(batch, length, dim))
        return projected


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, arXiv
    2103.00020, section 2.4.

    Args:
        dim: D, size of a token.
        num_heads: Attention heads.
    """

    def __init__(self, dim: int, *, num_heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, num_heads=num_heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, MLP_RATIO * dim)
        self.activation = QuickGELU()
        self.contract = nn.Linear(MLP_RATIO * dim, dim)

    def forward(
        self, tokens: torch.Tensor, *, key_mask: torch.Tensor | None = None, causal: bool = False
    ) -> torch.Tensor:
        """(B, L, D) to (B, L, D); the masks are those of `SelfAttention`."""
        return self.with_normalised(tokens, key_mask=key_mask, causal=causal)[0]

    def with_normalised(
        self, tokens: torch.Tensor, *, key_mask: torch.Tensor | None = None, causal: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The block's output and its normalised input, which attention sees; both (B, L, D)."""
        normalised = self.attention_norm(tokens)
        tokens = tokens + self.attention(normalised, key_mask=key_mask, causal=causal)
        return tokens + self.contract(self.activation(self.expand(self.mlp_norm(tokens)))), normalised


class Transformer(nn.Module):
    """A stack of blocks without a final norm, which its users put where they need it.

    Starts from CLIP's initial values: normal weights, the ones that end a residual branch scaled down by the
    number of branches.

    Args:
        dim: D, size of a token.
        num_layers: How many blocks; 0 leaves the tokens as they are.
        num_heads: Attention heads of each.
    """

    def __init__(self, dim: int, *, num_layers: int, num_heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([TransformerBlock(dim, num_heads=num_heads) for _ in range(num_layers)])
        inner_std = dim**-0.5
        residual_std = inner_std * (2 * max(num_layers, 1)) ** -0.5
        for block in self._blocks():
            nn.init.normal_(block.attention.in_projection.weight, std=inner_std)
            nn.init.zeros_(block.attention.in_projection.bias)
            nn.init.normal_(block.attention.out_projection.weight, std=residual_std)
            nn.init.zeros_(block.attention.out_projection.bias)
            nn.init.normal_(block.expand.weight, std=(2 * dim) ** -0.5)
            nn.init.normal_(block.contract.weight, std=residual_std)

    def forward(
        self, tokens: torch.Tensor, *, key_mask: torch.Tensor | None = None, causal: bool = False
    ) -> torch.Tensor:
        """(B, L, D) to (B, L, D), the last block's output; the masks are those of `SelfAttention`."""
        for block in self.blocks:
            tokens = block(tokens, key_mask=key_mask, causal=causal)
        return tokens

    def layer_outputs(
        self, tokens: torch.Tensor, *, final_norm: nn.Module, key_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What every block gives, as the next one sees it.

        Args:
            tokens: (B, L, D).
            final_norm: Stands for the norm of the next block behind the last one.
            key_mask: (B, L) bool as for `SelfAttention`.

        Returns:
            (B, layers, L, D): the normalised inputs of blocks 2 to the last, then the final norm's output. A
            stack without blocks has one layer, the tokens as they came.
        """
        if not self.blocks:
            return tokens.unsqueeze(1)
        outputs: list[torch.Tensor] = []
        for block in self._blocks():
            tokens, normalised = block.with_normalised(tokens, key_mask=key_mask)
            outputs.append(normalised)
        return torch.stack([*outputs[1:], final_norm(tokens)], dim=1)

    def _blocks(self) -> list[TransformerBlock]:
        return [block for block in self.blocks if isinstance(block, TransformerBlock)]
