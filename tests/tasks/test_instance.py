"""CPD's pre-training task: its noise, its memory, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from models.small_cpd import small_cpd
from narravid.losses import MemoryBank, MemoryBankNCELoss
from narravid.models.frozen_batch_norm import freeze_batch_norm
from narravid.tasks.instance import InstanceTask
from tasks.clip_jobs import NUM_SAMPLES, WHOLE, captioned_batch, instance_task


def memories(task: InstanceTask) -> torch.Tensor:
    return torch.cat([task.loss.bank.video_memory, task.loss.bank.text_memory]).clone()


def test_the_loss_is_that_of_the_bank_with_noise_of_the_step():
    task, batch = instance_task(), captioned_batch(WHOLE, step=0)
    task.begin_step(4, seed=9)
    values = task.training_step(batch)
    bank = MemoryBank(NUM_SAMPLES, 6, generator=torch.Generator().manual_seed(0)).double()
    criterion = MemoryBankNCELoss(bank, temperature=0.2)
    again = instance_task()
    again.begin_step(4, seed=9)
    negatives = criterion.draw_negatives(6, num_negatives=5, generator=again._noise)
    video, text = task.embed(batch)
    expected = criterion.parts(video, text, batch.indices, negatives=negatives)
    for name in ("loss", "video_positive", "video_negative", "text_positive", "text_negative"):
        torch.testing.assert_close(values[name], getattr(expected, name), rtol=1e-12, atol=0)
        assert values[name].requires_grad == (name == "loss")


def test_the_noise_of_a_step_follows_from_seed_and_step_alone():
    batch = captioned_batch(WHOLE, step=0)

    def loss(step: int, seed: int, task: InstanceTask | None = None) -> float:
        task = task or instance_task()
        task.begin_step(step, seed=seed)
        return task.training_step(batch)["loss"].item()

    used = instance_task()
    loss(7, 1, used)
    assert loss(2, 1, used) == loss(2, 1)
    assert len({loss(2, 1), loss(3, 1), loss(2, 2), loss(1, 2)}) == 4


def test_the_memory_changes_at_the_end_of_a_step_and_only_of_what_was_in_the_batch():
    task, batch = instance_task(), captioned_batch(WHOLE, step=0)
    before = memories(task)
    task.training_step(batch)
    assert torch.equal(memories(task), before)
    assert task.loss.bank.video_normaliser.item() == -1
    task.end_step()
    changed = (memories(task) != before).any(dim=1).view(2, NUM_SAMPLES)
    assert changed.any(dim=0).nonzero().flatten().tolist() == sorted(set(batch.indices.tolist()))
    assert torch.equal(changed[0], changed[1])
    assert task.loss.bank.video_normaliser.item() > 0
    after = memories(task)
    task.end_step()
    assert torch.equal(memories(task), after)


def test_a_step_that_failed_leaves_no_trace():
    task = instance_task()
    before = memories(task)
    task.training_step(captioned_batch(WHOLE, step=0))
    task.begin_step(1, seed=0)  # without end_step: the weights were not moved either
    task.end_step()
    assert torch.equal(memories(task), before)
    task.eval()
    task.training_step(captioned_batch(WHOLE, step=0))
    task.end_step()
    assert torch.equal(memories(task), before)


def test_embedding_piece_by_piece_gives_the_same_gradients_and_memory():
    batch = captioned_batch(WHOLE, step=1)
    whole, pieces = instance_task(), instance_task()
    whole.training_step(batch)["loss"].backward()
    whole.end_step()
    parts = [pieces.embed(piece) for piece in batch.split(4)]
    joined = tuple(torch.cat(part) for part in zip(*parts, strict=True))
    pieces.objective(joined, batch)["loss"].backward()
    pieces.end_step()
    for (name, one), (_, other) in zip(whole.named_parameters(), pieces.named_parameters(), strict=True):
        assert (one.grad - other.grad).norm() <= 1e-9 * max(float(one.grad.norm()), 1e-9), name
    torch.testing.assert_close(memories(pieces), memories(whole), rtol=1e-12, atol=1e-14)


def test_pieces_that_are_scored_one_by_one_see_one_memory_and_change_it_once():
    batch = captioned_batch(WHOLE, step=2)
    scored_apart, scored_together = instance_task(), instance_task()
    before = memories(scored_apart)
    for piece in batch.split(2):
        scored_apart.training_step(piece)
        assert torch.equal(memories(scored_apart), before)
    scored_apart.end_step()
    scored_together.training_step(batch)
    scored_together.end_step()
    # The embeddings are the same; a sample that came twice keeps its last one and moves once.
    torch.testing.assert_close(memories(scored_apart), memories(scored_together), rtol=1e-9, atol=1e-12)


def test_the_state_holds_the_memory_and_training_goes_on_from_it():
    first, other = instance_task(), instance_task()
    for step in range(2):
        first.begin_step(step, seed=0)
        first.training_step(captioned_batch(WHOLE, step=step))
        first.end_step()
    other.load_state_dict(first.state_dict())
    for task in (first, other):
        task.begin_step(2, seed=0)
    batch = captioned_batch(WHOLE, step=2)
    assert torch.equal(first.training_step(batch)["loss"], other.training_step(batch)["loss"])


def test_the_loss_falls_when_it_is_trained_on():
    model = small_cpd()
    freeze_batch_norm(model)
    bank = MemoryBank(6, 6, generator=torch.Generator().manual_seed(0))
    task = InstanceTask(model, bank, num_negatives=4)
    task.loss.train()
    batch = captioned_batch(WHOLE, step=0)
    batch.indices[:] = torch.arange(6)
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    losses = []
    for step in range(12):
        task.begin_step(step, seed=0)
        optimizer.zero_grad()
        loss = task.training_step(batch)["loss"]
        loss.backward()
        optimizer.step()
        task.end_step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_what_does_not_fit_is_refused():
    bank = MemoryBank(4, 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="memory bank is 5 wide, the model's embeddings 6"):
        InstanceTask(small_cpd(), bank)
    with pytest.raises(ValueError, match="Linear cannot be trained by discrimination: it has no"):
        InstanceTask(torch.nn.Linear(1, 1), bank)
    with pytest.raises(ValueError, match="num_negatives must be at least 1, got 0"):
        InstanceTask(small_cpd(), bank, num_negatives=0)
