"""The classification task: its loss by hand, frozen trunks, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from narravid.batches import LabelledBatch
from narravid.tasks.classification import ClassificationTask
from tasks.clip_jobs import WHOLE, classification_task, labelled_batch


class ColourClassifier(nn.Module):
    """Scores of three classes are the mean red, green and blue of a clip, over 255, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.video = nn.Identity()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.float().mean(dim=(2, 3, 4)) / 255

    def classify_features(self, features: torch.Tensor) -> torch.Tensor:
        return features * self.weight


def coloured(*colours: tuple[int, int, int], labels: list[int]) -> LabelledBatch:
    clips = torch.tensor(colours, dtype=torch.uint8)[:, :, None, None, None].expand(-1, 3, 2, 2, 2)
    number = len(colours)
    return LabelledBatch(
        clips, torch.tensor(labels), ("v",) * number, torch.zeros(number, dtype=torch.float64)
    )


def test_the_loss_is_the_mean_cross_entropy_and_top1_the_share_of_right_clips():
    batch = coloured((255, 0, 0), (0, 255, 0), (0, 255, 0), labels=[0, 1, 2])
    values = ClassificationTask(ColourClassifier()).training_step(batch)
    total = math.log(math.e + 2)
    assert values["loss"].item() == pytest.approx(((total - 1) * 2 + total) / 3)
    assert values["top1"].item() == pytest.approx(2 / 3)
    assert values["loss"].requires_grad
    assert not values["top1"].requires_grad


def test_a_frozen_trunk_takes_no_gradient_and_keeps_its_statistics():
    task = classification_task(frozen_trunk=True).train()
    before = {name: value.clone() for name, value in task.state_dict().items()}
    task.training_step(labelled_batch(WHOLE, step=0))["loss"].backward()
    trained = [name for name, parameter in task.named_parameters() if parameter.requires_grad]
    assert trained == ["model.classifier.weight", "model.classifier.bias"]
    assert all(task.get_parameter(name).grad is not None for name in trained)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert task.training
    assert task.model.dropout.training
    assert not any(module.training for module in task.model.video.modules())
    assert task.eval().train().model.video.training is False


def test_a_trunk_that_is_fine_tuned_learns_with_its_statistics():
    task = classification_task().train()
    mean = task.model.video.bn1.running_mean.clone()
    task.training_step(labelled_batch(WHOLE, step=0))["loss"].backward()
    assert not torch.equal(task.model.video.bn1.running_mean, mean)
    assert all(parameter.grad is not None for parameter in task.parameters())


def test_embedding_piece_by_piece_gives_the_same_gradients():
    batch = labelled_batch(WHOLE, step=0)
    whole, pieces = classification_task().eval(), classification_task().eval()
    whole.training_step(batch)["loss"].backward()
    scores = torch.cat([pieces.embed(piece)[0] for piece in batch.split(4)])
    pieces.objective((scores,), batch)["loss"].backward()
    for (name, one), (_, other) in zip(whole.named_parameters(), pieces.named_parameters(), strict=True):
        assert (one.grad - other.grad).norm() <= 1e-9 * max(float(one.grad.norm()), 1e-9), name


def test_a_model_that_cannot_classify_is_refused():
    with pytest.raises(ValueError, match=r"Linear cannot be trained to classify"):
        ClassificationTask(nn.Linear(1, 1))
