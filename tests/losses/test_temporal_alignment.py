"""The loss of the temporal aligner: naive loops, exact gradients, padding, and all that may be missing."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses.naive_alignment import (
    naive_agreement,
    naive_best_scores,
    naive_branch,
    naive_head,
    naive_kept,
)
from narravid.config import from_dict, to_dict
from narravid.losses import (
    AlignmentLogits,
    AlignmentWindows,
    TemporalAlignmentConfig,
    TemporalAlignmentLoss,
    window_mask,
)
from narravid.losses.temporal_alignment import _masked_logsumexp

AGREEMENTS = (None, "keep", "keep-joint", "intersection", "union")
CONFIGS = [
    TemporalAlignmentConfig(
        loss_threshold=threshold,
        agreement=agreement,
        use_alignability_head=has_head,
        alignability_layer=-1,
        optim_policy=policy,
        count_padded_seconds=padded,
    )
    for threshold, agreement, (has_head, policy), padded in itertools.product(
        (0.0, 0.5),
        AGREEMENTS,
        ((False, "default"), (True, "default"), (True, "bce")),
        (True, False),
    )
]


def name_of(value):
    """Short name of a setting for the list of tests: what differs from the default."""
    if not isinstance(value, TemporalAlignmentConfig):
        return None
    default = TemporalAlignmentConfig()
    changed = {name: setting for name, setting in vars(value).items() if setting != getattr(default, name)}
    changed.pop("alignability_layer")
    return ",".join(f"{name}={setting}" for name, setting in changed.items()) or "default"


def draw_batch(num_videos=2, num_layers=2, num_seconds=6, num_texts=3, *, seed=0, dtype=torch.float64):
    """(logits, windows, twin) with padding, one text without a positive second, and positions."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    shape = (num_videos, num_layers, num_seconds, num_videos, num_texts)
    common = normal(*shape)
    dual, joint, twin_dual, twin_joint = ((common + 0.4 * normal(*shape)).tanh() / 3 for _ in range(4))
    head = normal(num_videos, num_layers, num_texts)
    start = torch.rand(num_videos, num_texts, generator=generator) * num_seconds * 0.8
    length = 1 + torch.rand(num_videos, num_texts, generator=generator) * num_seconds / 2
    length[0, -1] = 0
    video_mask = torch.ones(num_videos, num_seconds, dtype=torch.bool)
    video_mask[-1, int(num_seconds * 0.7) + 1 :] = False
    text_mask = torch.rand(num_videos, num_texts, generator=generator) < 0.8
    text_mask[:, 0] = True
    positions = torch.rand(num_videos, num_texts, 2, generator=generator).sort(dim=2).values
    windows = AlignmentWindows(
        window_mask(start, start + length, num_seconds=num_seconds), video_mask, text_mask, positions
    )
    return AlignmentLogits(dual, joint, head), windows, AlignmentLogits(twin_dual, twin_joint)


def track(logits):
    """The same with gradients, and the list of what takes them."""
    leaves = [
        getattr(logits, name).detach().clone().requires_grad_() for name in ("dual", "joint", "alignability")
    ]
    return AlignmentLogits(*leaves), leaves


def assert_finite(parts, leaves):
    gradients = torch.autograd.grad(parts.loss, leaves, allow_unused=True)
    assert bool(torch.isfinite(parts.loss))
    for gradient in gradients:
        assert gradient is None or bool(gradient.isfinite().all())


def naive_parts(config, logits, windows, twin):
    """The loss and some parts, put together from the naive pieces."""
    dual, joint = logits.dual / config.temperature, logits.joint / config.temperature
    num_videos = len(dual)
    positives = windows.positives & windows.text_mask[..., None]
    if config.agreement is not None:
        source = logits if twin is None else twin
        within = [
            torch.stack([branch[v, -1, :, v] for v in range(num_videos)]) / config.temperature
            for branch in (source.dual, source.joint)
        ]
        positives, _ = naive_agreement(
            *within,
            positives,
            windows.video_mask,
            windows.text_mask,
            config.agreement,
            config.temperature,
        )
    seconds = torch.ones_like(windows.video_mask)
    if not config.count_padded_seconds:
        seconds = windows.video_mask
    hidden = ~seconds[:, None, :, None, None]
    scores = tuple(
        naive_best_scores(branch.masked_fill(hidden, -math.inf), windows.text_mask)
        for branch in (dual, joint)
    )
    kept = torch.zeros_like(windows.text_mask)
    kept[windows.text_mask] = torch.tensor(
        naive_kept(scores, config.loss_threshold)
        if config.loss_threshold
        else [True] * int(windows.text_mask.sum())
    )
    branches = [naive_branch(branch, positives, windows.text_mask, kept, seconds) for branch in (dual, joint)]
    loss = sum(branches) / 2
    if config.use_alignability_head:
        middles = windows.text_positions.mean(dim=2)[windows.text_mask].tolist()
        head = logits.alignability[:, config.alignability_layer][windows.text_mask].tolist()
        head_loss, _ = naive_head(head, scores, middles)
        loss = head_loss if config.optim_policy == "bce" else loss + head_loss
    return loss, branches


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_equals_the_naive_loop(config):
    for seed, with_twin in ((0, True), (1, False)):
        logits, windows, twin = draw_batch(seed=seed)
        twin = twin if with_twin else None
        parts = TemporalAlignmentLoss(config).parts(logits, windows, target_logits=twin)
        loss, branches = naive_parts(config, logits, windows, twin)
        assert float(parts.loss) == pytest.approx(loss, rel=1e-9)
        assert [float(parts.dual), float(parts.joint)] == pytest.approx(branches, rel=1e-9)


@given(
    num_videos=st.integers(1, 3),
    num_layers=st.integers(1, 2),
    num_seconds=st.integers(3, 6),
    num_texts=st.integers(1, 3),
    config=st.sampled_from(CONFIGS),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60)
def test_equals_the_naive_loop_at_all_sizes(num_videos, num_layers, num_seconds, num_texts, config, seed):
    logits, windows, twin = draw_batch(num_videos, num_layers, num_seconds, num_texts, seed=seed)
    loss, _ = naive_parts(config, logits, windows, twin)
    result = TemporalAlignmentLoss(config)(logits, windows, target_logits=twin)
    assert float(result) == pytest.approx(loss, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("config", CONFIGS[:: len(CONFIGS) // 12], ids=name_of)
def test_gradients_are_exact(config):
    # The twin decides the targets; what the threshold and the labels decide is constant near these draws.
    logits, windows, twin = draw_batch(2, 1, 4, 2, seed=3)
    criterion = TemporalAlignmentLoss(config)
    _, leaves = track(logits)
    assert torch.autograd.gradcheck(
        lambda *given_logits: criterion(AlignmentLogits(*given_logits), windows, target_logits=twin), leaves
    )


def test_branches_may_have_different_numbers_of_layers():
    logits, windows, _ = draw_batch(num_layers=3)
    logits = AlignmentLogits(logits.dual[:, :1], logits.joint)
    parts = TemporalAlignmentLoss().parts(logits, windows)
    _, branches = naive_parts(TemporalAlignmentConfig(), logits, windows, None)
    assert [float(parts.dual), float(parts.joint)] == pytest.approx(branches, rel=1e-9)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_order_of_videos_does_not_matter(config):
    logits, windows, twin = draw_batch(3, 2, 6, 3, seed=2)
    order = torch.tensor([2, 0, 1])

    def shuffled(pair):
        head = None if pair.alignability is None else pair.alignability[order]
        return AlignmentLogits(pair.dual[order][:, :, :, order], pair.joint[order][:, :, :, order], head)

    fields = [getattr(windows, field.name)[order] for field in dataclasses.fields(windows)]
    criterion = TemporalAlignmentLoss(config)
    torch.testing.assert_close(
        criterion(shuffled(logits), AlignmentWindows(*fields), target_logits=shuffled(twin)),
        criterion(logits, windows, target_logits=twin),
    )


@pytest.mark.parametrize("has_head", [False, True])
def test_order_of_texts_does_not_matter_without_agreement(has_head):
    logits, windows, _ = draw_batch(seed=2)
    order = torch.tensor([2, 0, 1])
    mixed = AlignmentLogits(
        logits.dual[..., order], logits.joint[..., order], logits.alignability[..., order]
    )
    mixed_windows = AlignmentWindows(
        windows.positives[:, order],
        windows.video_mask,
        windows.text_mask[:, order],
        windows.text_positions[:, order],
    )
    config = TemporalAlignmentConfig(loss_threshold=0.5, use_alignability_head=has_head, alignability_layer=1)
    criterion = TemporalAlignmentLoss(config)
    torch.testing.assert_close(criterion(mixed, mixed_windows), criterion(logits, windows))


def test_only_cosine_over_temperature_matters():
    logits, windows, _ = draw_batch()
    doubled = AlignmentLogits(2 * logits.dual, 2 * logits.joint)
    config = TemporalAlignmentConfig(loss_threshold=0.5)
    torch.testing.assert_close(
        TemporalAlignmentLoss(dataclasses.replace(config, temperature=0.14))(doubled, windows),
        TemporalAlignmentLoss(config)(logits, windows),
    )


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_padded_texts_change_nothing_and_take_no_gradient(config):
    logits, windows, twin = draw_batch(seed=4)
    windows.text_mask[1, 1:] = False
    criterion = TemporalAlignmentLoss(config)
    given_logits, leaves = track(logits)
    loss = criterion(given_logits, windows, target_logits=twin)
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    for gradient in gradients[:2]:
        assert gradient is None or gradient[:, :, :, ~windows.text_mask].abs().sum() == 0
    if config.use_alignability_head:
        assert gradients[2].transpose(1, 2)[~windows.text_mask].abs().sum() == 0

    for pair in (logits, twin):
        pair.dual[:, :, :, ~windows.text_mask] = 9
        pair.joint[:, :, :, ~windows.text_mask] = -9
    logits.alignability[1, :, 1:] = 100
    windows.positives[1, 1:] = True
    windows.text_positions[1, 1:] = 0
    torch.testing.assert_close(criterion(logits, windows, target_logits=twin), loss.detach())


@pytest.mark.parametrize("config", [c for c in CONFIGS if not c.count_padded_seconds], ids=name_of)
def test_padded_seconds_change_nothing_unless_they_count(config):
    logits, windows, twin = draw_batch(seed=5)
    hidden = ~windows.video_mask
    assert hidden.any()
    criterion = TemporalAlignmentLoss(config)
    before = criterion(logits, windows, target_logits=twin)
    for branch in (logits.dual, logits.joint, twin.dual, twin.joint):
        branch.transpose(1, 2)[hidden] = 9
    torch.testing.assert_close(criterion(logits, windows, target_logits=twin), before)


def test_a_video_of_padding_alone_ranks_nobody():
    logits, windows, _ = draw_batch(seed=5)
    windows.text_mask[:] = True
    windows.video_mask[0] = False
    config = TemporalAlignmentConfig(
        loss_threshold=0.5, use_alignability_head=True, alignability_layer=0, count_padded_seconds=False
    )
    parts = TemporalAlignmentLoss(config).parts(logits, windows)
    # Two of the three texts of the other video are at or above the middle one.
    assert float(parts.kept_share) == pytest.approx(2 / 3)
    before = float(parts.loss)
    logits.dual[0], logits.alignability[0] = 9, 9
    assert float(TemporalAlignmentLoss(config)(logits, windows)) == pytest.approx(before)


def test_seconds_without_positives_have_a_finite_logsumexp_that_nothing_uses():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    mask = torch.tensor([[True, False], [False, False]])
    result = _masked_logsumexp(values, mask, dim=1)
    assert bool(result.isfinite().all())
    assert float(result[0].detach()) == 1
    result.sum().backward()
    assert bool(values.grad.isfinite().all())
    assert values.grad[0].tolist() == [1, 0]


def test_padded_seconds_count_by_default():
    logits, windows, _ = draw_batch(seed=5)
    counted, uncounted = (
        TemporalAlignmentLoss(TemporalAlignmentConfig(count_padded_seconds=choice))(logits, windows)
        for choice in (True, False)
    )
    assert torch.equal(TemporalAlignmentLoss()(logits, windows), counted)
    assert float(counted) > float(uncounted)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
@pytest.mark.parametrize("with_twin", [False, True])
def test_inputs_are_not_written_to(config, with_twin):
    logits, windows, twin = draw_batch(seed=6)
    tensors = [getattr(owner, f.name) for owner in (logits, windows, twin) for f in dataclasses.fields(owner)]
    copies = [None if tensor is None else tensor.clone() for tensor in tensors]
    TemporalAlignmentLoss(config)(logits, windows, target_logits=twin if with_twin else None)
    for tensor, copy in zip(tensors, copies, strict=True):
        assert tensor is copy is None or torch.equal(tensor, copy)


def test_the_twin_takes_no_gradient():
    logits, windows, twin = draw_batch()
    twin.dual.requires_grad_()
    logits.dual.requires_grad_()
    config = TemporalAlignmentConfig(agreement="keep", loss_threshold=0.5)
    TemporalAlignmentLoss(config)(logits, windows, target_logits=twin).backward()
    assert twin.dual.grad is None
    assert logits.dual.grad.abs().sum() > 0


def without_positives(windows):
    return dataclasses.replace(windows, positives=torch.zeros_like(windows.positives))


def with_no_text(windows):
    return dataclasses.replace(windows, text_mask=torch.zeros_like(windows.text_mask))


def with_one_text(windows):
    mask = torch.zeros_like(windows.text_mask)
    mask[0, 0] = True
    return dataclasses.replace(windows, text_mask=mask)


@pytest.mark.parametrize("config", [c for c in CONFIGS if c.optim_policy == "default"], ids=name_of)
@pytest.mark.parametrize("change", [without_positives, with_no_text, with_one_text])
def test_what_has_nothing_to_average_contributes_nothing(config, change):
    logits, windows, twin = draw_batch(seed=7)
    # Without positions, since a text at an end of the video would be decided on its own.
    windows = change(dataclasses.replace(windows, text_positions=None))
    given_logits, leaves = track(logits)
    parts = TemporalAlignmentLoss(config).parts(given_logits, windows, target_logits=twin)
    assert_finite(parts, leaves)
    if change is with_no_text or (change is with_one_text and config.loss_threshold > 0):
        assert float(parts.loss.detach()) == 0
        gradients = torch.autograd.grad(
            TemporalAlignmentLoss(config)(given_logits, windows, target_logits=twin),
            leaves,
            allow_unused=True,
        )
        assert all(gradient is None or gradient.abs().sum() == 0 for gradient in gradients)
    if change is without_positives and config.agreement is None:
        assert float(parts.dual.detach()) == float(parts.joint.detach()) == 0


def test_a_text_without_a_positive_second_keeps_its_place_in_the_threshold():
    # Text 2 of video 0 has no second. It is ranked with the others, is kept or not, and has no term.
    logits, windows, _ = draw_batch(seed=8)
    windows.text_mask[:] = True
    assert not windows.positives[0, 2].any()
    config = TemporalAlignmentConfig(loss_threshold=0.5)
    logits.dual[0, -1, 0, 0, 2] = logits.joint[0, -1, 0, 0, 2] = 5.0
    parts = TemporalAlignmentLoss(config).parts(logits, windows)
    loss, _ = naive_parts(config, logits, windows, None)
    assert float(parts.loss) == pytest.approx(loss, rel=1e-9)
    assert float(parts.kept_share) == pytest.approx(3 / 6)


def test_a_thousand_awkward_batches_give_finite_losses_and_gradients():
    largest = 0.9999e4 * 0.07
    for seed in range(1000):
        sizes = (1 + seed % 2, 1 + seed % 3, 1 + seed % 5, 1 + seed % 4)
        logits, windows, twin = draw_batch(*sizes, seed=seed, dtype=torch.float32)
        generator = torch.Generator().manual_seed(seed)
        windows.text_mask[:] = torch.rand(windows.text_mask.shape, generator=generator) < 0.7
        windows.video_mask[:] = torch.rand(windows.video_mask.shape, generator=generator) < 0.7
        if seed % 7 == 0:
            windows = dataclasses.replace(windows, text_positions=None)
        kind = seed // 3 % 5
        if kind:
            for branch in (logits.dual, logits.joint, twin.dual, twin.joint):
                branch.copy_(
                    {
                        1: torch.zeros_like(branch),
                        2: torch.full_like(branch, -0.3),
                        3: largest * branch.sign(),
                        4: largest * (3 * branch).clamp(-1, 1),
                    }[kind]
                )
            logits.alignability.copy_({1: 0.0, 2: 0.5}.get(kind, 1e4 * logits.alignability.sign()))
        config = CONFIGS[seed % len(CONFIGS)]
        given_logits, leaves = track(logits)
        parts = TemporalAlignmentLoss(config).parts(
            given_logits, windows, target_logits=twin if seed % 2 else None
        )
        assert_finite(parts, leaves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_float32(dtype):
    logits, windows, twin = draw_batch()

    def cast(pair, to):
        head = None if pair.alignability is None else pair.alignability.to(to)
        return AlignmentLogits(pair.dual.to(to), pair.joint.to(to), head)

    logits, twin = cast(logits, dtype), cast(twin, dtype)
    config = TemporalAlignmentConfig(
        agreement="keep", loss_threshold=0.5, use_alignability_head=True, alignability_layer=1
    )
    criterion = TemporalAlignmentLoss(config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = criterion(logits, windows, target_logits=twin)
    assert result.dtype == torch.float32
    full = criterion(cast(logits, torch.float32), windows, target_logits=cast(twin, torch.float32))
    assert torch.equal(result, full)
    assert criterion(cast(logits, torch.float64), windows).dtype == torch.float64


def test_parts_that_are_off_are_left_out_of_the_log():
    logits, windows, twin = draw_batch()
    logits.dual.requires_grad_()
    plain = TemporalAlignmentLoss().parts(logits, windows).as_dict()
    assert plain.keys() == {"loss", "dual", "joint", "dual_all", "joint_all"}
    assert torch.equal(plain["dual"], plain["dual_all"])
    config = TemporalAlignmentConfig(
        agreement="keep", loss_threshold=0.5, use_alignability_head=True, alignability_layer=1
    )
    everything = TemporalAlignmentLoss(config).parts(logits, windows, target_logits=twin).as_dict()
    assert everything.keys() == plain.keys() | {
        "alignability",
        "alignability_accuracy",
        "confident_share",
        "kept_share",
    }
    assert [name for name, value in everything.items() if value.requires_grad] == ["loss"]
    torch.testing.assert_close(
        everything["loss"].detach(),
        (everything["dual"] + everything["joint"]) / 2 + everything["alignability"],
    )


def test_the_head_alone_trains_nothing_else():
    logits, leaves = track(draw_batch(seed=1)[0])
    _, windows, _ = draw_batch(seed=1)
    config = TemporalAlignmentConfig(use_alignability_head=True, alignability_layer=0, optim_policy="bce")
    loss = TemporalAlignmentLoss(config)(logits, windows)
    dual, joint, head = torch.autograd.grad(loss, leaves, allow_unused=True)
    assert dual is None
    assert joint is None
    assert head[:, 0].abs().sum() > 0
    assert head[:, 1].abs().sum() == 0


@pytest.mark.parametrize("layer", [2, -3])
def test_a_layer_that_does_not_exist_is_named(layer):
    logits, windows, _ = draw_batch()
    config = TemporalAlignmentConfig(use_alignability_head=True, alignability_layer=layer)
    with pytest.raises(ValueError, match=f"alignability_layer={layer} does not exist.* 2 layers, 0 to 1"):
        TemporalAlignmentLoss(config)(logits, windows)


def test_a_head_that_is_missing_is_named():
    _, windows, twin = draw_batch()
    with pytest.raises(ValueError, match="use_alignability_head needs logits.alignability, which is None"):
        TemporalAlignmentLoss(TemporalAlignmentConfig(use_alignability_head=True))(twin, windows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"temperature": math.nan}, "temperature must be positive, got nan"),
        ({"loss_threshold": 1.0}, r"loss_threshold must lie in \[0, 1\), got 1.0"),
        ({"loss_threshold": -0.1}, r"loss_threshold must lie in \[0, 1\), got -0.1"),
        ({"agreement": "i"}, "agreement must be None, 'keep', .* got 'i'"),
        ({"optim_policy": "ce"}, "optim_policy must be one of 'default', 'bce', got 'ce'"),
        ({"optim_policy": "bce"}, "set use_alignability_head"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        TemporalAlignmentConfig(**changes)


@pytest.mark.parametrize("config", [TemporalAlignmentConfig(), CONFIGS[-1]])
def test_settings_are_saved_and_read_back(config):
    assert from_dict(TemporalAlignmentConfig, to_dict(config), source="test") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positives": torch.ones(2, 3)}, r"positives must be \(B, N, T\) and not empty, got \(2, 3\)"),
        ({"positives": torch.ones(2, 3, 0)}, r"positives must be \(B, N, T\) and not empty"),
        ({"positives": torch.ones(2, 3, 6)}, r"positives must be \(2, 3, 6\) bool, got .* torch.float32"),
        (
            {"video_mask": torch.ones(2, 5, dtype=torch.bool)},
            r"video_mask must be \(2, 6\) bool, got \(2, 5\)",
        ),
        ({"text_mask": torch.ones(3, 2, dtype=torch.bool)}, r"text_mask must be \(2, 3\) bool, got \(3, 2\)"),
        ({"text_positions": torch.ones(2, 3)}, r"text_positions must be \(2, 3, 2\), got \(2, 3\)"),
    ],
)
def test_wrong_windows_are_named(changes, message):
    logits, windows, _ = draw_batch()
    with pytest.raises(ValueError, match=message):
        TemporalAlignmentLoss()(logits, dataclasses.replace(windows, **changes))


@pytest.mark.parametrize("name", ["dual", "joint"])
@pytest.mark.parametrize("shape", [(2, 6, 2, 3), (2, 0, 6, 2, 3), (2, 2, 5, 2, 3), (2, 2, 6, 3, 3)])
def test_wrong_logits_are_named(name, shape):
    logits, windows, twin = draw_batch()
    wrong = dataclasses.replace(logits, **{name: torch.zeros(shape)})
    with pytest.raises(ValueError, match=rf"^{name} logits must be \(B, S, T, B, N\) = .* got"):
        TemporalAlignmentLoss()(wrong, windows)
    with pytest.raises(ValueError, match=rf"^target {name} logits must be"):
        TemporalAlignmentLoss()(logits, windows, target_logits=dataclasses.replace(wrong, alignability=None))
    assert twin.alignability is None


def test_wrong_head_logits_are_named():
    logits, windows, _ = draw_batch()
    wrong = dataclasses.replace(logits, alignability=torch.zeros(2, 2, 3, 1))
    config = TemporalAlignmentConfig(use_alignability_head=True, alignability_layer=0)
    with pytest.raises(ValueError, match=r"alignability logits must be \(B, S, N\) = \(2, 2, 3\), got"):
        TemporalAlignmentLoss(config)(wrong, windows)


@pytest.mark.parametrize("name", ["dual", "joint", "alignability"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -2e4])
def test_logits_out_of_range_are_refused_at_padding_too(name, value):
    logits, windows, _ = draw_batch()
    windows.text_mask[1, 2] = False
    getattr(logits, name)[1, ..., 2] = value
    config = TemporalAlignmentConfig(use_alignability_head=True, alignability_layer=0)
    with pytest.raises(ValueError, match=f"^{name} logits must lie within ±10000"):
        TemporalAlignmentLoss(config)(logits, windows)
