"""Every loss behind one signature: what reaches it, and what is drawn for it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from narravid.batches import NarratedBatch
from narravid.losses import (
    InfoNCELoss,
    MaxMarginRankingLoss,
    MILNCELoss,
    S2DTWLoss,
    TemporalAugmentation,
    pair_costs,
)
from narravid.tasks.contrastive import ContrastiveTask
from narravid.tasks.objectives import (
    MaxMarginConfig,
    ObjectiveConfig,
    S2DTWConfig,
    S2DTWObjective,
    build_objective,
)
from tiny_models import TinyDualEncoder

LOSSES = ("mil-nce", "info-nce", "max-margin", "s2dtw")


def embeddings(generator, num_clips=12, num_candidates=1, dim=5):
    video = torch.randn(num_clips, dim, generator=generator, dtype=torch.float64)
    return video, torch.randn(num_clips, num_candidates, dim, generator=generator, dtype=torch.float64)


def make_batch(num_clips=12, num_candidates=1):
    generator = torch.Generator().manual_seed(1)
    return NarratedBatch(
        torch.randint(0, 256, (num_clips, 3, 2, 8, 8), generator=generator, dtype=torch.uint8),
        torch.randint(0, 12, (num_clips, num_candidates, 5), generator=generator),
        tuple(f"v{index // 4}" for index in range(num_clips)),
        torch.zeros(num_clips, dtype=torch.float64),
    )


def test_each_name_leads_to_its_loss(generator):
    video, text = embeddings(generator)
    own = text[:, 0]
    config = ObjectiveConfig(max_margin=MaxMarginConfig(margin=0.3, hard_negative_rate=0.8))
    expected = {
        "mil-nce": MILNCELoss()(video, text),
        "info-nce": InfoNCELoss(cosine=False, temperature=1.0)(video, own),
        "max-margin": MaxMarginRankingLoss(margin=0.3, hard_negative_rate=0.8, clips_per_video=4)(
            video @ own.T
        ),
        "s2dtw": S2DTWLoss()(video.view(3, 4, 5), own.view(3, 4, 5)),
    }
    for loss in LOSSES:
        objective = build_objective(dataclasses.replace(config, loss=loss), clips_per_video=4)
        torch.testing.assert_close(objective(video, text), expected[loss])


def test_sequences_are_the_clips_of_a_video_in_their_order(generator):
    video, text = embeddings(generator, num_clips=6)
    cost = torch.empty(2, 2, dtype=torch.float64)
    for told in range(2):
        for seen in range(2):
            sentences, clips = text[3 * told : 3 * told + 3, 0], video[3 * seen : 3 * seen + 3]
            cost[told, seen] = pair_costs(clips[None], sentences[None], gamma=0.2, skip_cost=0.1)[0, 0]
    expected = torch.nn.functional.cross_entropy(-cost, torch.arange(2))
    config = ObjectiveConfig(loss="s2dtw", s2dtw=S2DTWConfig(gamma=0.2, skip_cost=0.1))
    torch.testing.assert_close(build_objective(config, clips_per_video=3)(video, text), expected)
    with pytest.raises(ValueError, match="6 clips does not consist of whole videos of 4 clips"):
        build_objective(config, clips_per_video=4)(video, text)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_a_dual_encoder(loss):
    task = ContrastiveTask(
        TinyDualEncoder(embed_dim=16),
        build_objective(ObjectiveConfig(loss=loss), clips_per_video=4),
        similarity="cosine",
        temperature=1.0 if loss == "s2dtw" else 0.2,
    )
    optimizer = torch.optim.Adam(task.parameters(), lr=0.05)
    losses = []
    for step in range(80):
        task.begin_step(step, seed=0)
        optimizer.zero_grad()
        result = task.training_step(make_batch())
        result["loss"].backward()
        optimizer.step()
        losses.append(float(result["loss"].detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_similarity_and_temperature_of_the_training_replace_those_of_the_model():
    model, batch = TinyDualEncoder(temperature=0.5), make_batch()
    objective = build_objective(ObjectiveConfig(loss="info-nce"), clips_per_video=1)
    video, text = model.encode_video(batch.clips), model.encode_tokens(batch.tokens)[:, 0]
    published = ContrastiveTask(model, objective, similarity="cosine", temperature=0.07)(batch)
    torch.testing.assert_close(published["loss"], InfoNCELoss(temperature=0.07)(video, text))
    assert "logit_scale" not in published
    own = ContrastiveTask(model, objective)(batch)
    torch.testing.assert_close(own["loss"], InfoNCELoss(cosine=False, temperature=0.5)(video, text))
    with pytest.raises(ValueError, match="temperature must be positive"):
        ContrastiveTask(model, objective, temperature=0.0)


def test_a_model_that_learns_no_temperature_needs_none():
    class Plain(TinyDualEncoder):
        logit_scale = property(lambda self: (_ for _ in ()).throw(AttributeError("it has none")))

    assert torch.isfinite(ContrastiveTask(Plain(), MILNCELoss())(make_batch())["loss"])


def augmented(**changes) -> ObjectiveConfig:
    return ObjectiveConfig(loss="s2dtw", s2dtw=S2DTWConfig(augmentation=True, sharpness=0.5, **changes))


def test_what_the_augmentation_draws_follows_from_step_and_seed(generator):
    video, text = embeddings(generator)
    objective = build_objective(augmented(), clips_per_video=4)

    def value(step, seed):
        objective.begin_step(step, seed=seed)
        return float(objective(video, text))

    first = value(3, 7)
    others = [value(step, seed) for step, seed in ((4, 7), (3, 8), (7, 3))]
    assert value(3, 7) == first == float(objective(video, text))  # twice in a step, too
    assert first not in others
    objective.eval()
    assert (
        value(3, 7)
        == value(4, 7)
        == pytest.approx(float(S2DTWLoss()(*(t.view(3, 4, 5) for t in (video, text)))))
    )


def test_the_augmentation_reorders_as_the_settings_say(generator):
    video, text = embeddings(generator)
    objective = build_objective(augmented(max_shift=0), clips_per_video=4)
    assert isinstance(objective, S2DTWObjective)
    torch.testing.assert_close(objective(video, text), S2DTWLoss()(video.view(3, 4, 5), text.view(3, 4, 5)))
    drawn = build_objective(augmented(max_shift=1), clips_per_video=4)
    assert drawn.loss.augmentation == TemporalAugmentation(max_shift=1, scale=0.5)


def test_settings_and_samplings_that_make_no_sense_are_refused(generator):
    with pytest.raises(ValueError, match="loss must be one of 'mil-nce', 'info-nce', 'max-margin', 's2dtw'"):
        ObjectiveConfig(loss="nce")
    with pytest.raises(ValueError, match="temperature must be positive"):
        ObjectiveConfig(temperature=0.0)
    with pytest.raises(ValueError, match="margin"):
        MaxMarginConfig(margin=-1.0)
    with pytest.raises(ValueError, match="gamma"):
        S2DTWConfig(gamma=0.0)
    with pytest.raises(ValueError, match="max_shift and sharpness must not be negative"):
        S2DTWConfig(max_shift=-1)
    ObjectiveConfig().check_sampling(clips_per_video=1, num_candidates=5)
    with pytest.raises(ValueError, match="set --data.sampling.num-candidates 1"):
        ObjectiveConfig(loss="info-nce").check_sampling(clips_per_video=1, num_candidates=5)
    with pytest.raises(ValueError, match="s2dtw compares sequences"):
        ObjectiveConfig(loss="s2dtw").check_sampling(clips_per_video=1, num_candidates=1)
    video, text = embeddings(generator, num_candidates=2)
    with pytest.raises(ValueError, match="one caption per clip, got 2 candidates"):
        build_objective(ObjectiveConfig(loss="info-nce"), clips_per_video=1)(video, text)
