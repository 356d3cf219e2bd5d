"""Steps of CPD's two tasks, in one process and in each of two whose shares differ in size."""

from __future__ import annotations

import torch

from models.small_cpd import PIECES, small_classifier, small_cpd
from narravid import distributed
from narravid.batches import CaptionedBatch, LabelledBatch
from narravid.losses import MemoryBank
from narravid.models.cpd import CPDDualEncoder
from narravid.models.resnet3d import ResNet3DConfig
from narravid.models.video_classifier import CPDClassifierConfig
from narravid.tasks.classification import ClassificationTask
from narravid.tasks.instance import InstanceTask
from narravid.tasks.task import Task

NUM_CLIPS, NUM_SAMPLES, NUM_STEPS = 6, 9, 3
WHOLE = slice(0, NUM_CLIPS)
SHARES = {0: slice(0, 4), 1: slice(4, 6)}


def captioned_batch(share: slice, *, step: int) -> CaptionedBatch:
    generator = torch.Generator().manual_seed(step)
    clips = torch.randint(0, 256, (NUM_CLIPS, 3, 2, 16, 16), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(1, len(PIECES), (NUM_CLIPS, 5), generator=generator)
    indices = torch.randint(NUM_SAMPLES, (NUM_CLIPS,), generator=generator)  # some come twice
    return CaptionedBatch(
        clips[share],
        tokens[share],
        indices[share],
        tuple("abcdef")[share],
        torch.zeros(NUM_CLIPS, dtype=torch.float64)[share],
    )


def labelled_batch(share: slice, *, step: int) -> LabelledBatch:
    captioned = captioned_batch(share, step=step)
    return LabelledBatch(captioned.clips, captioned.indices % 7, captioned.video_ids, captioned.start_seconds)


def instance_task(model: CPDDualEncoder | None = None) -> InstanceTask:
    """In double precision; the network is in evaluation mode, the memory is not."""
    bank = MemoryBank(NUM_SAMPLES, 6, generator=torch.Generator().manual_seed(0)).double()
    task = InstanceTask(model or small_cpd().double(), bank, num_negatives=5, temperature=0.2)
    task.loss.train()
    return task


def classification_task(*, frozen_trunk: bool = False) -> ClassificationTask:
    config = CPDClassifierConfig(7, video=ResNet3DConfig(depth=10, stem_channels=4), dropout=0.0)
    return ClassificationTask(small_classifier(config).double(), frozen_trunk=frozen_trunk)


def train(task: Task, batches: list[CaptionedBatch] | list[LabelledBatch]) -> dict[str, torch.Tensor]:
    """Everything that steps of gradient descent give, and the state that they leave."""
    results = {}
    for step, batch in enumerate(batches):
        task.zero_grad()
        task.begin_step(step, seed=3)
        values = task.training_step(batch)
        values["loss"].backward()
        distributed.average_gradients(task.parameters())
        results |= {f"{name} {step}": value.detach() for name, value in values.items()}
        results |= {
            f"gradient {name} {step}": parameter.grad.clone()
            for name, parameter in task.named_parameters()
            if parameter.grad is not None
        }
        task.end_step()
        with torch.no_grad():
            for parameter in task.parameters():
                if parameter.grad is not None:
                    parameter -= 0.05 * parameter.grad
    return results | {f"state {name}": value.clone() for name, value in task.state_dict().items()}


def run_share(share: slice) -> dict[str, dict[str, torch.Tensor]]:
    captioned = [captioned_batch(share, step=step) for step in range(NUM_STEPS)]
    labelled = [labelled_batch(share, step=step) for step in range(NUM_STEPS)]
    return {
        "instance": train(instance_task(), captioned),
        "classification": train(classification_task(), labelled),
        "frozen": train(classification_task(frozen_trunk=True), labelled),
    }


def run_own_share() -> dict[str, dict[str, torch.Tensor]]:
    return run_share(SHARES[distributed.rank()])
