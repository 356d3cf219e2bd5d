"""CPD's noise contrast and memory bank: naive loops, exact gradients, and a state that never surprises."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses import memory_bank_jobs
from losses.awkward_inputs import assert_finite, awkward_set
from narravid.losses import MemoryBank, MemoryBankNCELoss, noise_contrastive_terms
from processes import run_in_processes

SIDES = ("video", "text")


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make_bank(num_samples=9, dim=4, *, seed=0, momentum=0.5):
    generator = torch.Generator().manual_seed(seed)
    return MemoryBank(num_samples, dim, generator=generator, momentum=momentum)


def naive_terms(scores, noise_probability):
    """Gutmann's formula with plain exponentials; `noise_probability` by row and column."""
    num_negatives = len(scores[0]) - 1
    positive = negative = 0.0
    for row, chances in zip(scores, noise_probability, strict=True):
        for column, (score, chance) in enumerate(zip(row, chances, strict=True)):
            noise = num_negatives * chance
            model = math.exp(score)
            if column == 0:
                positive -= math.log(model / (model + noise + 1e-7))
            else:
                negative -= math.log(noise / (model + noise + 1e-7))
    return positive / len(scores), negative / len(scores)


@given(size=st.integers(1, 5), num_negatives=st.integers(1, 6), seed=st.integers(0, 10_000))
@settings(max_examples=40)
def test_terms_equal_the_naive_loop(size, num_negatives, seed):
    scores = 3 * draw(size, 1 + num_negatives, seed=seed)
    chances = torch.rand(scores.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    chances = 0.01 + 0.9 * chances
    for probability, spread in ((0.03, torch.full_like(scores, 0.03)), (chances, chances)):
        terms = noise_contrastive_terms(scores, noise_probability=probability)
        expected = naive_terms(scores.tolist(), spread.tolist())
        assert [float(term) for term in terms] == pytest.approx(expected, rel=1e-9)


def test_gradients_of_the_terms_are_exact():
    scores = draw(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: noise_contrastive_terms(s, noise_probability=0.1), scores)


def test_order_of_rows_and_of_noise_does_not_matter():
    scores = draw(4, 6)
    expected = noise_contrastive_terms(scores, noise_probability=0.1)
    shuffled = scores[torch.tensor([2, 0, 3, 1])][:, torch.tensor([0, 4, 2, 5, 1, 3])]
    torch.testing.assert_close(noise_contrastive_terms(shuffled, noise_probability=0.1), expected)


def test_scaling_model_and_noise_alike_does_not_matter():
    # But for the 1e-7 beside the noise, whose share is that of the tolerance.
    scores = draw(4, 6)
    expected = noise_contrastive_terms(scores, noise_probability=0.1)
    scaled = noise_contrastive_terms(scores + math.log(4), noise_probability=0.4)
    torch.testing.assert_close(scaled, expected, rtol=1e-5, atol=1e-5)


def test_a_thousand_awkward_scores_give_finite_terms_and_gradients():
    for seed in range(1000):
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(1 + seed % 3, 2 + seed // 3 % 4, generator=generator)
        scores = scores * (1.0, 0.0, 30.0, 1e4)[seed % 4]
        scores = (scores.sign() * 1e4 if seed % 5 == 0 else scores.clamp(-1e4, 1e4)).requires_grad_()
        for term in noise_contrastive_terms(scores, noise_probability=(1e-6, 0.5, 1.0)[seed % 3]):
            assert_finite(term, scores)


@pytest.mark.parametrize("shape", [(0, 3), (3, 1), (3,)])
def test_scores_without_rows_or_noise_are_named(shape):
    with pytest.raises(ValueError, match=r"scores must be \(B, 1 \+ K\) with B, K >= 1, got"):
        noise_contrastive_terms(torch.zeros(shape), noise_probability=0.1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.1e4])
def test_scores_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="scores of samples and noise must lie within ±10000"):
        noise_contrastive_terms(torch.tensor([[0.0, value]]), noise_probability=0.1)


def naive_step(state, video, text, indices, negatives, *, temperature, momentum, noise_weights=None):
    """One step on lists of plain vectors; returns the loss and changes `state`."""
    num_samples = len(state["video"])
    weights = [1.0] * num_samples if noise_weights is None else noise_weights.tolist()
    new = {
        side: [row / row.norm() for row in rows]
        for side, rows in (("video", video.double()), ("text", text.double()))
    }
    loss = 0.0
    for side, other in (SIDES, SIDES[::-1]):
        outputs, chances = [], []
        for row, index, drawn in zip(new[side], indices.tolist(), negatives.tolist(), strict=True):
            picked = [index, *drawn]
            outputs.append([float((state[other][k] * row).sum()) / temperature for k in picked])
            chances.append([weights[k] / sum(weights) for k in picked])
        if state[f"Z_{side}"] < 0:
            values = [math.exp(value) for row in outputs for value in row]
            state[f"Z_{side}"] = sum(values) / len(values) * num_samples
        scores = [[value - math.log(state[f"Z_{side}"]) for value in row] for row in outputs]
        loss += sum(naive_terms(scores, chances))
    for side in SIDES:
        old = [row.clone() for row in state[side]]
        for row, index in zip(new[side], indices.tolist(), strict=True):
            mixed = momentum * old[index] + (1 - momentum) * row
            state[side][index] = mixed / mixed.norm()
    return loss


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("momentum", [0.5, 0.0, 0.9])
def test_three_steps_equal_the_naive_loop(weighted, momentum):
    bank = make_bank(momentum=momentum).double()
    noise_weights = draw(9, seed=5).abs() + 0.1 if weighted else None
    criterion = MemoryBankNCELoss(bank, temperature=0.3, noise_weights=noise_weights)
    state = {side: list(bank.memory(side).clone()) for side in SIDES} | {"Z_video": -1.0, "Z_text": -1.0}
    noise = torch.Generator().manual_seed(8)
    for step in range(3):
        video, text = draw(2, 3, 4, seed=step)
        # Sample 2 comes twice: its last row is the one that is remembered.
        indices = torch.tensor([2, step + 3, 2])
        negatives = criterion.draw_negatives(3, num_negatives=5, generator=noise)
        loss = criterion(video, text, indices, negatives=negatives)
        expected = naive_step(
            state,
            video,
            text,
            indices,
            negatives,
            temperature=0.3,
            momentum=momentum,
            noise_weights=noise_weights,
        )
        assert float(loss) == pytest.approx(expected, rel=1e-6)  # Z passes through float32 numbers
        for side in SIDES:
            assert float(bank.normaliser(side)) == pytest.approx(state[f"Z_{side}"], rel=1e-6)
            torch.testing.assert_close(bank.memory(side), torch.stack(state[side]), rtol=1e-9, atol=1e-9)


def test_gradients_are_exact():
    criterion = MemoryBankNCELoss(make_bank(), temperature=0.3)
    indices, negatives = torch.tensor([1, 4]), torch.tensor([[0, 1, 7], [8, 8, 2]])
    criterion(*draw(2, 2, 4), indices, negatives=negatives)
    criterion.eval()
    video, text = (tensor.requires_grad_() for tensor in draw(2, 2, 4, seed=3).unbind())
    assert torch.autograd.gradcheck(lambda v, t: criterion(v, t, indices, negatives=negatives), (video, text))


def test_updating_the_bank_leaves_the_gradient_of_the_step_alone():
    video, text = (tensor.requires_grad_() for tensor in draw(2, 2, 4, dtype=torch.float32).unbind())
    indices, negatives = torch.tensor([1, 4]), torch.tensor([[0, 1, 7], [4, 8, 2]])
    gradients = []
    for training in (True, False):
        criterion = MemoryBankNCELoss(make_bank()).train(training)
        loss = criterion(video, text, indices, negatives=negatives)
        gradients.append(torch.autograd.grad(loss, (video, text)))
    for trained, evaluated in zip(*gradients, strict=True):
        assert torch.equal(trained, evaluated)
        assert trained.abs().sum() > 0


def test_the_bank_starts_within_its_bounds_and_by_its_seed():
    bank = make_bank(500, 12)
    bound = 1 / math.sqrt(12 / 3)
    for side in SIDES:
        memory = bank.memory(side)
        assert memory.dtype == torch.float32
        assert float(memory.abs().max()) <= bound
        # The mean square of a uniform number is a third of that of its bound.
        assert float(memory.square().mean()) == pytest.approx(bound**2 / 3, rel=0.05)
        assert bank.normaliser(side).tolist() == [-1.0]
    assert not torch.equal(bank.video_memory, bank.text_memory)
    assert torch.equal(bank.text_memory, make_bank(500, 12).text_memory)
    assert not torch.equal(bank.text_memory, make_bank(500, 12, seed=1).text_memory)
    assert bank.num_samples == 500


def test_the_normalisers_are_set_once_and_survive_a_resume():
    indices, negatives = torch.tensor([1, 4]), torch.tensor([[0, 1, 7], [8, 8, 2]])
    criterion = MemoryBankNCELoss(make_bank())
    criterion(*draw(2, 2, 4, seed=1), indices, negatives=negatives)
    first = [criterion.bank.normaliser(side).clone() for side in SIDES]
    assert all(float(value) > 0 for value in first)

    resumed = MemoryBankNCELoss(make_bank(seed=9))
    resumed.load_state_dict(criterion.state_dict())
    losses = [module(*draw(2, 2, 4, seed=2), indices, negatives=negatives) for module in (criterion, resumed)]
    assert torch.equal(*losses)
    for side, value in zip(SIDES, first, strict=True):
        assert torch.equal(resumed.bank.normaliser(side), value)
    for name, value in criterion.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_set_normaliser_is_not_even_rounded_again():
    # exp(log(Z)) is not Z for most of these.
    bank = make_bank()
    for value in torch.linspace(3, 5000, 50):
        for side in SIDES:
            bank.normaliser(side).fill_(value)
            log_normaliser = bank.log_normaliser(side, torch.zeros(1, 2))
            assert float(log_normaliser) == pytest.approx(math.log(value))
            bank.keep_normaliser(side, log_normaliser)
            assert float(bank.normaliser(side)) == float(value)


def test_the_state_is_four_buffers():
    shapes = {name: tuple(value.shape) for name, value in make_bank(9, 4).state_dict().items()}
    assert shapes == {
        "video_memory": (9, 4),
        "text_memory": (9, 4),
        "video_normaliser": (1,),
        "text_normaliser": (1,),
    }


def test_evaluation_changes_nothing():
    criterion = MemoryBankNCELoss(make_bank()).eval()
    before = {name: value.clone() for name, value in criterion.state_dict().items()}
    loss = criterion(*draw(2, 2, 4), torch.tensor([1, 4]), negatives=torch.tensor([[0, 1, 7], [8, 8, 2]]))
    assert bool(torch.isfinite(loss))
    for name, value in criterion.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_refused_batch_changes_nothing():
    criterion = MemoryBankNCELoss(make_bank())
    before = {name: value.clone() for name, value in criterion.state_dict().items()}
    video, text = draw(2, 2, 4).unbind()
    text[1, 0] = math.nan
    with pytest.raises(ValueError, match="cosines with the memory of videos over the temperature must lie"):
        criterion(video, text, torch.tensor([1, 4]), negatives=torch.tensor([[0], [8]]))
    for name, value in criterion.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_an_embedding_that_cancels_its_memory_leaves_a_zero_that_recovers():
    bank = make_bank()
    row, third = torch.tensor([[0.0, 1.0, 0.0, 0.0]]), torch.tensor([3])
    for memory in (bank.video_memory, bank.text_memory):
        memory[3] = row[0]
    bank.update(-row, row, third)
    assert bank.video_memory[3].tolist() == [0, 0, 0, 0]
    assert bank.text_memory[3].tolist() == row[0].tolist()
    bank.update(-row, row, third)
    assert bank.video_memory[3].tolist() == (-row[0]).tolist()


def test_the_last_of_repeated_indices_wins():
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        bank = make_bank(momentum=0.0)
        rows = torch.eye(4)[order]
        untouched = bank.video_memory[[0, 1, 2, 3, 4, 6, 7]].clone()
        bank.update(rows, -rows, torch.tensor([5, 8, 5, 5]))
        assert torch.equal(bank.video_memory[5], rows[3])
        assert torch.equal(bank.video_memory[8], rows[1])
        assert torch.equal(bank.text_memory[5], -rows[3])
        assert torch.equal(bank.video_memory[[0, 1, 2, 3, 4, 6, 7]], untouched)


@pytest.mark.slow
def test_a_thousand_awkward_batches_give_finite_losses_gradients_and_memories():
    criterion = MemoryBankNCELoss(make_bank(7, 3))
    generator = torch.Generator().manual_seed(0)
    for seed in range(1000):
        size = 1 + seed // 8 % 3
        video, text = awkward_set(seed, (size, 3), (size, 3))
        indices = torch.randint(7, (size,), generator=generator)
        negatives = criterion.draw_negatives(size, num_negatives=1 + seed % 4, generator=generator)
        assert_finite(criterion(video, text, indices, negatives=negatives), video, text)
    assert all(bool(value.isfinite().all()) for value in criterion.state_dict().values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_float32(dtype):
    video, text = (tensor.to(dtype) for tensor in draw(2, 2, 4))
    given_rest = torch.tensor([1, 4]), {"negatives": torch.tensor([[0, 1], [8, 2]])}
    criterion = MemoryBankNCELoss(make_bank()).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = criterion(video, text, given_rest[0], **given_rest[1])
    assert result.dtype == torch.float32
    assert torch.equal(result, criterion(video.float(), text.float(), given_rest[0], **given_rest[1]))


def test_uniform_negatives_reach_every_sample_alike(generator):
    criterion = MemoryBankNCELoss(make_bank(5))
    drawn = criterion.draw_negatives(100, num_negatives=200, generator=generator)
    assert drawn.shape == (100, 200)
    shares = drawn.flatten().bincount(minlength=5) / 20_000
    # Four standard deviations of a share of one fifth among 20,000 draws.
    torch.testing.assert_close(shares, torch.full((5,), 0.2), rtol=0, atol=0.0114)


def test_weighted_negatives_follow_their_weights(generator):
    weights = torch.tensor([1.0, 2, 3, 4, 10])
    criterion = MemoryBankNCELoss(make_bank(5), noise_weights=weights)
    drawn = criterion.draw_negatives(100, num_negatives=200, generator=generator)
    shares = drawn.flatten().bincount(minlength=5) / 20_000
    torch.testing.assert_close(shares, weights / 20, rtol=0, atol=0.0142)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    return run_in_processes(memory_bank_jobs.train_steps, tmp_path_factory.mktemp("memory_bank"))


def test_two_processes_equal_one_with_the_global_batch(two_processes):
    # float64, so that nothing but the order of a few sums can differ.
    whole = memory_bank_jobs.train_steps()
    joined = {
        name: torch.cat([result[name] for result in two_processes]) for name in whole if "gradient" in name
    }
    for name, value in whole.items():
        if name in joined:
            torch.testing.assert_close(joined[name], value, rtol=1e-9, atol=1e-12, msg=name)
            assert value.abs().sum() > 0
        else:
            for result in two_processes:
                torch.testing.assert_close(result[name], value, rtol=1e-9, atol=1e-12, msg=name)


def test_a_deferred_loss_changes_its_state_when_told_as_if_all_pieces_had_been_one_batch():
    video, text = draw(5, 4, seed=1), draw(5, 4, seed=2)
    indices = torch.tensor([3, 1, 8, 3, 0])
    negatives = torch.arange(20).view(5, 4) % 9
    whole = MemoryBankNCELoss(make_bank().double(), temperature=0.2)
    pieces = MemoryBankNCELoss(make_bank().double(), temperature=0.2, deferred=True)
    start = {name: value.clone() for name, value in pieces.state_dict().items()}
    whole(video, text, indices, negatives=negatives)
    for rows in (slice(0, 2), slice(2, 5)):
        pieces(video[rows], text[rows], indices[rows], negatives=negatives[rows])
    assert all(torch.equal(value, start[name]) for name, value in pieces.state_dict().items())
    pieces.remember()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(pieces.state_dict()[name], value, rtol=1e-12, atol=1e-14, msg=name)
    pieces(video, text, indices, negatives=negatives)
    pieces.forget()
    pieces.remember()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(pieces.state_dict()[name], value, rtol=1e-12, atol=1e-14, msg=name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples and embed_dim must be at least 1, got 0 and 4"),
        ({"dim": 0}, "num_samples and embed_dim must be at least 1, got 9 and 0"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"momentum": -0.1}, r"momentum must lie in \[0, 1\), got -0.1"),
    ],
)
def test_wrong_banks_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_bank(**arguments)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_no_divisor_is_named(temperature):
    with pytest.raises(ValueError, match=f"temperature must be positive, got {temperature}"):
        MemoryBankNCELoss(make_bank(), temperature=temperature)


@pytest.mark.parametrize("weights", [torch.ones(8), torch.tensor([0.0] + [1.0] * 8)])
def test_noise_weights_must_cover_every_sample(weights):
    with pytest.raises(ValueError, match=r"noise_weights must be \(9,\) and above 0"):
        MemoryBankNCELoss(make_bank(), noise_weights=weights)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_normaliser_beyond_float32_is_refused_and_not_kept(sign):
    criterion = MemoryBankNCELoss(make_bank(num_samples=2), temperature=1e-3)
    criterion.bank.text_memory[1] = criterion.bank.text_memory[0]
    rows = sign * criterion.bank.text_memory
    with pytest.raises(ValueError, match=r"the normaliser of video scores would be e\^.* raise the temp"):
        criterion(rows, rows, torch.tensor([0, 1]), negatives=torch.tensor([[1], [0]]))
    assert criterion.bank.video_normaliser.tolist() == [-1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video": torch.zeros(2, 5)}, r"video and text must both be \(B, 4\)"),
        ({"text": torch.zeros(3, 4)}, r"video and text must both be \(B, 4\)"),
        ({"video": torch.zeros(0, 4), "text": torch.zeros(0, 4)}, r"must both be \(B, 4\) with B >= 1"),
        ({"indices": torch.tensor([1])}, r"indices must be \(2,\) and negatives \(2, K\), got \(1,\)"),
        ({"negatives": torch.tensor([1, 2])}, r"negatives \(2, K\), got \(2,\) and \(2,\)"),
        ({"negatives": torch.zeros(3, 2, dtype=torch.int64)}, r"negatives \(2, K\), got \(2,\) and \(3, 2\)"),
        ({"negatives": torch.zeros(2, 0, dtype=torch.int64)}, "negatives must be int64 and not empty"),
        ({"negatives": torch.zeros(2, 3)}, "negatives must be int64 and not empty, got torch.float32"),
        ({"indices": torch.tensor([1.0, 2.0])}, "indices must be int64 and not empty, got torch.float32"),
        ({"indices": torch.tensor([1, 9])}, r"indices must lie in \[0, 9\), got 1 to 9"),
        ({"negatives": torch.tensor([[0], [-1]])}, r"negatives must lie in \[0, 9\), got -1 to 0"),
    ],
)
def test_what_does_not_fit_the_bank_is_named(change, message):
    batch = {
        "video": torch.ones(2, 4),
        "text": torch.ones(2, 4),
        "indices": torch.tensor([0, 1]),
        "negatives": torch.tensor([[0], [1]]),
    } | change
    with pytest.raises(ValueError, match=message):
        MemoryBankNCELoss(make_bank())(
            batch["video"], batch["text"], batch["indices"], negatives=batch["negatives"]
        )
