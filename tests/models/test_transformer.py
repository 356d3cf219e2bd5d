"""The transformer against PyTorch's own layers, its masks, and the outputs of its layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from narravid.models.transformer import QuickGELU, SelfAttention, Transformer, TransformerBlock

DIM, HEADS = 16, 4


@pytest.fixture
def transformer() -> Transformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = Transformer(DIM, num_layers=3, num_heads=HEADS)
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.4)
    return made


@pytest.fixture
def tokens(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(2, 7, DIM, generator=generator)


def key_mask() -> torch.Tensor:
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[0, 5:] = False
    mask[1, 2] = False
    return mask


def torch_layer(block: TransformerBlock) -> nn.TransformerEncoderLayer:
    """PyTorch's pre-norm layer with the weights of a block."""
    layer = nn.TransformerEncoderLayer(
        DIM, HEADS, 4 * DIM, dropout=0.0, activation=QuickGELU(), batch_first=True, norm_first=True
    )
    pairs = {
        "self_attn.in_proj_": block.attention.in_projection,
        "self_attn.out_proj.": block.attention.out_projection,
        "norm1.": block.attention_norm,
        "norm2.": block.mlp_norm,
        "linear1.": block.expand,
        "linear2.": block.contract,
    }
    layer.load_state_dict(
        {start + name: tensor for start, part in pairs.items() for name, tensor in part.state_dict().items()}
    )
    return layer.train()  # without dropout the same as evaluation, and never the fused kernel


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_every_block_is_pytorchs_pre_norm_layer(transformer, tokens, masked, causal):
    mask = key_mask() if masked else None
    expected = tokens
    for block in transformer.blocks:
        expected = torch_layer(block)(
            expected,
            src_key_padding_mask=None if mask is None else ~mask,
            src_mask=torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None,
        )
    actual = transformer(tokens, key_mask=mask, causal=causal)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)  # float32 in another order


def test_padding_has_no_say(transformer, tokens, generator):
    mask = key_mask()
    other = torch.where(mask[..., None], tokens, 100 * torch.randn(2, 7, DIM, generator=generator))
    with torch.inference_mode():
        first, second = transformer(tokens, key_mask=mask), transformer(other, key_mask=mask)
    assert torch.equal(first[mask], second[mask])
    assert not torch.allclose(first[mask], transformer(tokens)[mask])


def test_a_causal_token_does_not_see_later_ones(transformer, tokens):
    with torch.inference_mode():
        whole = transformer(tokens, causal=True)
        torch.testing.assert_close(
            transformer(tokens[:, :4], causal=True), whole[:, :4], rtol=1e-5, atol=1e-5
        )


def test_layer_outputs_are_what_the_next_block_sees(transformer, tokens):
    final_norm = nn.LayerNorm(DIM)
    outputs = transformer.layer_outputs(tokens, final_norm=final_norm, key_mask=key_mask())
    assert outputs.shape == (2, 3, 7, DIM)
    first = transformer.blocks[0](tokens, key_mask=key_mask())
    torch.testing.assert_close(outputs[:, 0], transformer.blocks[1].attention_norm(first))
    torch.testing.assert_close(outputs[:, -1], final_norm(transformer(tokens, key_mask=key_mask())))


def test_without_blocks_the_tokens_are_the_only_layer(tokens):
    empty = Transformer(DIM, num_layers=0, num_heads=HEADS)
    assert torch.equal(empty.layer_outputs(tokens, final_norm=nn.LayerNorm(DIM)), tokens[:, None])
    assert empty(tokens) is tokens


def test_gradients_are_exact(generator):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        small = Transformer(4, num_layers=2, num_heads=2).double()
    tokens = torch.randn(1, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    assert torch.autograd.gradcheck(lambda t: small(t, key_mask=mask), (tokens,))


def test_quick_gelu():
    values = torch.tensor([-2.0, 0.0, 1.0])
    expected = torch.tensor([-2 / (1 + torch.e ** (2 * 1.702)), 0.0, 1 / (1 + torch.e**-1.702)])
    torch.testing.assert_close(QuickGELU()(values), expected)


def test_initial_values_shrink_with_depth():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        block = Transformer(256, num_layers=8, num_heads=4).blocks[0]
    spread = {
        "attention.in_projection.weight": 256**-0.5,
        "attention.out_projection.weight": 256**-0.5 / 4,
        "expand.weight": 512**-0.5,
        "contract.weight": 256**-0.5 / 4,
    }
    for name, std in spread.items():
        assert block.get_parameter(name).std().item() == pytest.approx(std, rel=0.02)
    assert not block.attention.in_projection.bias.any()
    assert not block.attention.out_projection.bias.any()


@pytest.mark.parametrize(("dim", "heads"), [(10, 4), (8, 0), (0, 1)])
def test_heads_must_divide_the_size(dim, heads):
    with pytest.raises(ValueError, match=f"{heads} heads for {dim}"):
        SelfAttention(dim, num_heads=heads)
