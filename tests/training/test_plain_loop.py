"""The trainer's steps give the losses of a loop written by hand over 3-D convolutions."""

from __future__ import annotations

import copy

import pytest
import torch

from models.conv3d_s3d import conv3d_s3d
from models.small_models import WORDS, small_config
from narravid.batches import NarratedBatch
from narravid.losses.mil_nce import MILNCELoss
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.tasks.contrastive import ContrastiveTask
from narravid.text.words import Vocabulary
from narravid.training import read_log
from narravid.training.config import TrainerConfig, TrainingData
from narravid.training.optim_config import OptimConfig
from narravid.training.trainer import Trainer

NUM_STEPS = 5


def make_batches(generator: torch.Generator) -> list[NarratedBatch]:
    return [
        NarratedBatch(
            torch.randint(0, 256, (4, 3, 4, 32, 32), generator=generator, dtype=torch.uint8),
            torch.randint(0, len(WORDS) + 1, (4, 3, 5), generator=generator),
            ("a", "b", "c", "d"),
            torch.zeros(4, dtype=torch.float64),
        )
        for _ in range(NUM_STEPS)
    ]


def losses_by_hand(model: S3DDualEncoder, batches: list[NarratedBatch], learning_rate: float) -> list[float]:
    """What a loop gives that does nothing for speed."""
    dtype = model.video.fc.weight.dtype
    mean, std = (
        torch.tensor(values, dtype=dtype).view(1, 3, 1, 1, 1)
        for values in (model.clip_spec.mean, model.clip_spec.std)
    )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=learning_rate)
    losses = []
    for batch in batches:
        # The trainer's network makes float32 of bytes, whatever its weights are.
        unit = (batch.clips.float() / 255).to(dtype)
        optimizer.zero_grad()
        video = conv3d_s3d(model.video, (unit - mean) / std).float()
        text = model.text(batch.tokens.flatten(0, 1)).view(4, 3, -1).float()
        loss = MILNCELoss()(video, text)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


# In float32 the rate must be small: Adam's first steps have the sign of the gradient and hardly its size,
# which turns rounding into steps of the whole rate.
@pytest.mark.parametrize(
    ("dtype", "learning_rate", "tolerance"),
    [(torch.float32, 1e-5, 1e-4), (torch.float64, 1e-3, 1e-6)],
    ids=["float32", "float64"],
)
def test_losses_are_those_of_a_plain_loop(tmp_path, dtype, learning_rate, tolerance, generator):
    torch.manual_seed(1)
    model = S3DDualEncoder(small_config(), Vocabulary(WORDS)).to(dtype).train()
    batches = make_batches(generator)
    expected = losses_by_hand(copy.deepcopy(model), batches, learning_rate)
    Trainer(
        ContrastiveTask(model, MILNCELoss()),
        OptimConfig(name="adam", lr=learning_rate, schedule="constant", warmup_steps=0),
        config=TrainerConfig(num_steps=NUM_STEPS, log_every_steps=1, trackers=()),
        data=TrainingData(lambda epoch, start: batches[start:], steps_per_epoch=NUM_STEPS),
        run=tmp_path / "run",
    ).fit()
    losses = [entry["loss"] for entry in read_log(tmp_path / "run") if entry["event"] == "train"]
    assert losses == pytest.approx(expected, abs=tolerance)
