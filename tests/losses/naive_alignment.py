"""The rules of the temporal aligner's loss once more, entry by entry on plain numbers."""

from __future__ import annotations

import math
import statistics

import torch

PADDED = -6e4


def quantile(values: list[float], share: float) -> float:
    """With linear interpolation between the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def softmax(values: list[float]) -> list[float]:
    highest = max(values)
    exponentials = [math.exp(value - highest) for value in values]
    return [value / math.fsum(exponentials) for value in exponentials]


def logsumexp(values: list[float]) -> float:
    highest = max(values)
    return highest + math.log(math.fsum(math.exp(value - highest) for value in values))


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def naive_windows(
    logits: torch.Tensor, durations: list[int], temperature: float
) -> tuple[list[set[int]], list[float]]:
    """Best window and mean logit over it of each text of one video; `logits` (T, N), padding filled."""
    num_seconds, num_texts = logits.shape
    belongs = [softmax(row) for row in logits.tolist()]
    windows, means = [], []
    for text in range(num_texts):
        chances = softmax([belongs[second][text] / temperature for second in range(num_seconds)])
        best, best_mean = set(), -1.0
        for start in range(num_seconds - durations[text] + 1):
            window = set(range(start, start + durations[text])) - {0, num_seconds - 1}
            if window and mean([chances[second] for second in sorted(window)]) > best_mean:
                best, best_mean = window, mean([chances[second] for second in sorted(window)])
        windows.append(best)
        means.append(mean([float(logits[second, text]) for second in sorted(best)]))
    return windows, means


def naive_agreement(
    dual: torch.Tensor,
    joint: torch.Tensor,
    positives: torch.Tensor,
    video_mask: torch.Tensor,
    text_mask: torch.Tensor,
    agreement: str,
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(positives (B, N, T), confident (B, N)) after agreement; logits (B, T, N)."""
    num_videos, num_texts, _ = positives.shape
    places = [(v, n) for v in range(num_videos) for n in range(num_texts) if text_mask[v, n]]
    found = []
    for branch in (dual, joint):
        windows, means = {}, {}
        for video in range(num_videos):
            logits = branch[video].clone()
            logits[~video_mask[video]] = PADDED
            logits[:, ~text_mask[video]] = PADDED
            durations = [max(int(positives[video, text].sum()), 1) for text in range(num_texts)]
            for text, (window, value) in enumerate(
                zip(*naive_windows(logits, durations, temperature), strict=True)
            ):
                windows[video, text], means[video, text] = window, value
        found.append((windows, means, quantile([means[place] for place in places], 0.3)))
    target = torch.zeros_like(positives)
    confident = torch.zeros_like(text_mask)
    for video in range(num_videos):
        taken: set[int] = set()
        for text in range(num_texts):
            if not text_mask[video, text]:
                continue
            place = video, text
            original = set(positives[place].nonzero().flatten().tolist())
            dual_window, joint_window = (windows[place] for windows, _, _ in found)
            union, intersection = dual_window | joint_window, dual_window & joint_window
            agree = len(intersection) >= 0.5 * len(union)
            confident[place] = agree and all(means[place] >= lowest for _, means, lowest in found)
            moved = {
                "keep": union if agree else original,
                "keep-joint": joint_window if agree else original,
                "intersection": intersection if confident[place] else set(),
                "union": union if confident[place] else set(),
            }[agreement]
            free = moved - taken
            taken |= moved
            target[video, text, sorted(free or original)] = True
    return target, confident


def naive_branch(
    logits: torch.Tensor,
    positives: torch.Tensor,
    text_mask: torch.Tensor,
    kept: torch.Tensor,
    seconds: torch.Tensor,
) -> float:
    """Contrastive loss of one branch; logits (B, S, T, B, N); `seconds` (B, T) are those that count."""
    num_videos, num_layers, num_seconds, _, num_texts = logits.shape
    columns = [(v, n) for v in range(num_videos) for n in range(num_texts) if text_mask[v, n]]
    rows = [(v, t) for v in range(num_videos) for t in range(num_seconds) if seconds[v, t]]
    row_terms, column_terms = [], []
    for layer in range(num_layers):

        def at(row: tuple[int, int], column: tuple[int, int], layer: int = layer) -> float:
            return float(logits[row[0], layer, row[1], column[0], column[1]])

        def belongs(row: tuple[int, int], column: tuple[int, int]) -> bool:
            return row[0] == column[0] and bool(positives[column[0], column[1], row[1]])

        for row in rows:
            own = [column for column in columns if belongs(row, column)]
            if any(kept[column] for column in own):
                everything = logsumexp([at(row, column) for column in columns])
                row_terms.append(everything - logsumexp([at(row, column) for column in own]))
        for column in columns:
            own_rows = [row for row in rows if belongs(row, column)]
            if own_rows and kept[column]:
                everything = logsumexp([at(row, column) for row in rows])
                column_terms.append(everything - logsumexp([at(row, column) for row in own_rows]))
    return (mean(row_terms) + mean(column_terms)) / 2


def naive_best_scores(logits: torch.Tensor, text_mask: torch.Tensor) -> list[float]:
    """Highest logit over time of each real text, last layer, own video."""
    return [float(logits[video, -1, :, video, text].max()) for video, text in text_mask.nonzero().tolist()]


def naive_kept(scores: tuple[list[float], list[float]], share: float) -> list[bool]:
    """Which texts a threshold keeps."""
    if len(scores[0]) < 2:
        return [False] * len(scores[0])
    totals = [0.0] * len(scores[0])
    for values in scores:
        middle, deviation = statistics.mean(values), statistics.stdev(values)
        totals = [total - (value - middle) / deviation for total, value in zip(totals, values, strict=True)]
    return [total <= quantile(totals, share) for total in totals]


def naive_head(
    head: list[float], scores: tuple[list[float], list[float]], middles: list[float] | None
) -> tuple[float, float]:
    """(loss, accuracy) of the alignability head over the real texts."""
    medians = [statistics.median(values) for values in scores]
    labelled = []
    for text, logit in enumerate(head):
        above = [values[text] > median for values, median in zip(scores, medians, strict=True)]
        below = [values[text] < median for values, median in zip(scores, medians, strict=True)]
        if middles is not None and not 0.2 <= middles[text] <= 0.8:
            labelled.append((logit, False))
        elif all(above) or all(below):
            labelled.append((logit, all(above)))
    positives = sum(label for _, label in labelled)
    if not positives:
        return 0.0, math.nan
    weight = len(labelled) / positives - 1
    losses = [
        weight * math.log1p(math.exp(-logit)) if label else math.log1p(math.exp(logit))
        for logit, label in labelled
    ]
    return mean(losses), mean([float((logit > 0) == label) for logit, label in labelled])
