"""The contrastive task: what it feeds the loss, by hand, and that training with it learns."""

import pytest
import torch
from torch import nn

from narravid.batches import NarratedBatch
from narravid.losses import MILNCELoss
from narravid.tasks.contrastive import ContrastiveTask
from tiny_models import TinyDualEncoder


def make_batch(num_clips=6, num_candidates=2, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return NarratedBatch(
        torch.randint(0, 256, (num_clips, 3, 2, 8, 8), generator=generator, dtype=torch.uint8),
        torch.randint(0, 12, (num_clips, num_candidates, 5), generator=generator),
        tuple(f"v{index}" for index in range(num_clips)),
        torch.zeros(num_clips, dtype=torch.float64),
    )


def test_dot_product_models_reach_the_loss_as_they_are():
    model, batch = TinyDualEncoder(), make_batch()
    result = ContrastiveTask(model, MILNCELoss()).training_step(batch)
    expected = MILNCELoss()(model.encode_video(batch.clips), model.encode_tokens(batch.tokens))
    assert result.keys() == {"loss", "positive_share"}
    assert torch.equal(result["loss"], expected)
    assert result["loss"].requires_grad


def test_cosine_models_are_normalised_and_scaled():
    model, batch = TinyDualEncoder(similarity="cosine", temperature=0.1), make_batch()
    result = ContrastiveTask(model, MILNCELoss()).training_step(batch)
    video, text = model.encode_video(batch.clips), model.encode_tokens(batch.tokens)
    video = video / video.norm(dim=-1, keepdim=True)
    text = text / text.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(result["loss"], MILNCELoss()(10 * video, text))
    assert float(result["logit_scale"]) == pytest.approx(10)
    assert not result["logit_scale"].requires_grad


def test_the_learned_scale_gets_its_gradient():
    model = TinyDualEncoder(similarity="cosine", temperature=0.1)
    task = ContrastiveTask(model, MILNCELoss())
    task.training_step(make_batch())["loss"].backward()
    step = 1e-3
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            model.log_scale += sign * step
            losses.append(float(task.training_step(make_batch())["loss"]))
            model.log_scale -= sign * step
    assert float(model.log_scale.grad) == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-2)


def test_positive_share_counts_clips_whose_best_caption_is_their_own():
    class Fixed(nn.Module):
        similarity, logit_scale = "dot", None

        def encode_video(self, clips):
            return torch.eye(4)

        def encode_tokens(self, tokens):
            own = torch.eye(4)[:, None].repeat(1, 2, 1)
            own[:, 0] = 0  # one candidate of each clip says nothing
            own[3, 1] = torch.tensor([0.0, 0.0, 9.0, 0.5])  # the best one for clip 2 belongs to clip 3
            return own

    result = ContrastiveTask(Fixed(), MILNCELoss()).training_step(make_batch(num_clips=4))
    assert float(result["positive_share"]) == 0.75


def test_calling_the_task_is_a_training_step():
    task, batch = ContrastiveTask(TinyDualEncoder(), MILNCELoss()), make_batch()
    assert torch.equal(task(batch)["loss"], task.training_step(batch)["loss"])


def test_training_lowers_the_loss_and_finds_the_captions():
    model = TinyDualEncoder(similarity="cosine", temperature=0.2, embed_dim=16)
    task, batch = ContrastiveTask(model, MILNCELoss()), make_batch()
    optimizer = torch.optim.Adam(task.parameters(), lr=0.05)
    first = task.training_step(batch)
    for _ in range(150):
        optimizer.zero_grad()
        task.training_step(batch)["loss"].backward()
        optimizer.step()
    last = task.training_step(batch)
    assert float(last["loss"].detach()) < float(first["loss"].detach()) / 2
    assert float(last["positive_share"]) == 1


def test_a_model_without_the_needed_parts_is_refused():
    with pytest.raises(
        ValueError, match=r"Linear cannot be trained contrastively: it has no \['similarity', "
    ):
        ContrastiveTask(nn.Linear(2, 2), MILNCELoss())
