"""The alignment task: what it feeds the loss, random positions, the moving average, and that it learns."""

from __future__ import annotations

import pytest
import torch

from models.small_aligners import FEATURE_DIM, small_aligner
from narravid.batches import WindowBatch
from narravid.losses import AlignmentLogits, AlignmentWindows, TemporalAlignmentConfig, TemporalAlignmentLoss
from narravid.tasks.alignment import AlignmentTask


def make_windows(num_windows: int = 3, *, num_sentences: int = 3, num_seconds: int = 8) -> WindowBatch:
    generator = torch.Generator().manual_seed(3)
    text_mask = torch.ones(num_windows, num_sentences, dtype=torch.bool)
    text_mask[-1, 1:] = False
    feature_mask = torch.ones(num_windows, num_seconds, dtype=torch.bool)
    feature_mask[0, -2:] = False
    positives = torch.zeros(num_windows, num_sentences, num_seconds, dtype=torch.bool)
    for sentence in range(num_sentences):
        positives[:, sentence, 2 * sentence : 2 * sentence + 2] = True
    positions = torch.rand(num_windows, num_sentences, 2, generator=generator)
    return WindowBatch(
        features=torch.randn(num_windows, num_seconds, FEATURE_DIM, generator=generator),
        feature_mask=feature_mask,
        tokens=torch.randint(0, 7, (num_windows, num_sentences, 5), generator=generator),
        text_mask=text_mask,
        positives=positives & text_mask[..., None],
        text_positions=positions.sort(dim=2).values,
        video_ids=tuple(map(str, range(num_windows))),
    )


def windows_of(batch: WindowBatch) -> AlignmentWindows:
    return AlignmentWindows(batch.positives, batch.feature_mask, batch.text_mask, batch.text_positions)


def task_of(*, seed: int = 5, momentum: float | None = None, **config: object) -> AlignmentTask:
    loss = TemporalAlignmentLoss(TemporalAlignmentConfig(**config))
    return AlignmentTask(small_aligner(seed=seed), loss, random_positions=False, momentum=momentum)


def test_the_loss_is_that_of_the_aligner_and_the_windows():
    batch = make_windows()
    task = task_of(use_alignability_head=True)
    output = task.model(
        batch.features,
        task.model.encode_tokens(batch.tokens),
        feature_mask=batch.feature_mask,
        text_mask=batch.text_mask,
    )
    logits = AlignmentLogits(output.dual, output.joint, output.alignability_joint)
    expected = task.loss.parts(logits, windows_of(batch)).as_dict()
    values = task.training_step(batch)
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(values[name], value)
    assert values["loss"].requires_grad


def test_embedding_in_pieces_is_embedding_at_once():
    batch = make_windows()
    task = task_of(use_alignability_head=True, agreement="keep", momentum=0.9)
    whole = task.embed(batch)
    assert len(whole) == 9
    pieces = [task.embed(piece) for piece in batch.split(2)]
    for tensor, parts in zip(whole, zip(*pieces, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(parts), tensor, rtol=1e-5, atol=1e-6)


def test_the_moving_average_judges_where_sentences_belong():
    batch = make_windows(4)
    task = task_of(agreement="keep", loss_threshold=0.5, momentum=0.5)
    with torch.no_grad():
        for parameter in task.network.target.parameters():
            parameter.copy_(
                parameter + torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            )
    outputs = []
    for network in (task.network.online, task.network.target):
        output = network(
            batch.features,
            task.model.encode_tokens(batch.tokens),
            feature_mask=batch.feature_mask,
            text_mask=batch.text_mask,
        )
        outputs.append(AlignmentLogits(output.dual, output.joint))
    expected = task.loss.parts(outputs[0], windows_of(batch), target_logits=outputs[1]).as_dict()
    values = task.training_step(batch)
    for name in ("loss", "confident_share", "kept_share"):
        torch.testing.assert_close(values[name], expected[name])
    alone = task.loss.parts(outputs[0], windows_of(batch)).as_dict()
    assert not torch.allclose(alone["loss"], values["loss"])
    values["loss"].backward()
    assert all(parameter.grad is None for parameter in task.network.target.parameters())


def test_the_average_moves_after_each_step():
    task = task_of(momentum=0.75)
    weight, average = (network.encoders.video_projection.weight for network in task.network.children())
    before = average.clone()
    with torch.no_grad():
        weight += 1
    assert torch.equal(average, before)
    task.end_step()
    torch.testing.assert_close(average, before + 0.25)
    assert {key.split(".")[1] for key in task.state_dict()} == {"online", "target"}
    task_of().end_step()


def test_positions_follow_from_seed_and_step_alone():
    batch = make_windows()
    loss = TemporalAlignmentLoss()
    task = AlignmentTask(small_aligner(text_positions=True), loss)

    def seconds(step: int, seed: int) -> torch.Tensor:
        task.begin_step(step, seed=seed)
        return task.embed(batch)[2].detach()

    first = seconds(0, 1)
    others = [seconds(step, 1) for step in range(1, 9)]
    assert any(not torch.allclose(first, other) for other in others)
    assert torch.equal(seconds(0, 1), first)
    # Fewer places for sentences change nothing for an item: another process may have the longer ones.
    task.begin_step(3, seed=1)
    wide, narrow = make_windows(), make_windows().split(2)[1]
    cut = WindowBatch(
        narrow.features,
        narrow.feature_mask,
        narrow.tokens[:, :1],
        narrow.text_mask[:, :1],
        narrow.positives[:, :1],
        narrow.text_positions[:, :1],
        narrow.video_ids,
    )
    torch.testing.assert_close(task.embed(cut)[2], task.embed(wide)[2][2:], rtol=1e-5, atol=1e-6)


def test_a_head_that_is_not_there_is_refused():
    loss = TemporalAlignmentLoss(TemporalAlignmentConfig(use_alignability_head=True))
    with pytest.raises(ValueError, match="the aligner has none; give it one with alignability_head"):
        AlignmentTask(small_aligner(alignability_head=False), loss)


def test_training_lowers_the_loss():
    batch = make_windows(4, num_sentences=4)
    task = task_of()
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = task.training_step(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
