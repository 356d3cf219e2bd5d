"""Vectors of length one, at both ends of float32."""

import pytest
import torch

from narravid.losses.unit_vectors import unit_vectors


def test_directions_stay_and_lengths_become_one():
    vectors = torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(unit_vectors(vectors), vectors / vectors.norm(dim=-1, keepdim=True))


@pytest.mark.parametrize("scale", [1e-11, 1e-6, 1.0, 1e30])
def test_the_scale_does_not_matter(scale):
    vectors = torch.tensor([[3.0, -4.0]])
    torch.testing.assert_close(unit_vectors(scale * vectors), torch.tensor([[0.6, -0.8]]))


@pytest.mark.parametrize("scale", [0.0, 1e-13, 1e-40])
def test_a_vector_without_direction_is_zero_and_takes_no_gradient(scale):
    vectors = torch.tensor([[scale, -scale], [3.0, 4.0]], requires_grad=True)
    units = unit_vectors(vectors)
    units.sum().backward()
    assert units[0].tolist() == [0, 0]
    assert vectors.grad[0].tolist() == [0, 0]
    # The gradient of (x + y) / |(x, y)| at (3, 4).
    torch.testing.assert_close(vectors.grad[1], torch.tensor([4 / 125, -3 / 125]))


def test_gradients_are_exact():
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(unit_vectors, vectors.requires_grad_())


def test_nan_is_not_hidden():
    assert unit_vectors(torch.tensor([[float("nan"), 0.0]])).isnan().any()
