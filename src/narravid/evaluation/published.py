"""What papers report, printed beside what is measured. Shares in [0, 1], ranks from 1.

Values are keyed by the names of the measures. What was not measured by the benchmark's protocol says so.
"""

from __future__ import annotations

from types import MappingProxyType

from narravid.evaluation.result import PublishedRow

__all__ = ["PUBLISHED"]

HOWTO100M = "Miech et al. 2019, arXiv 1906.03327"
MILNCE = "Miech et al. 2020, arXiv 1912.06430"
MILNCE_RELEASE = "PyTorch release of MIL-NCE"
VTTWINS = "Ko et al. 2022, arXiv 2203.16784"
TAN = "Han et al. 2022, arXiv 2204.02968"
CPD = "Li & Wang 2020, arXiv 2001.05691"
LATER = "papers after Han et al. 2022"

FINE_TUNED = "fine-tuned on this benchmark"


def _retrieval(model: str, percents: tuple[float, ...], source: str, note: str = "") -> PublishedRow:
    """R@1, R@5 and R@10 in percent, and the median rank where it is reported."""
    values = {
        name: round(percent / 100, 4) for name, percent in zip(("R@1", "R@5", "R@10"), percents, strict=False)
    }
    if len(percents) > 3:
        values["MedR"] = percents[3]
    return PublishedRow(model, values, source, note)


def _shares(model: str, percents: dict[str, float], source: str, note: str = "") -> PublishedRow:
    values = {name: round(percent / 100, 4) for name, percent in percents.items()}
    return PublishedRow(model, values, source, note)


PUBLISHED: MappingProxyType[str, tuple[PublishedRow, ...]] = MappingProxyType(
    {
        "msrvtt": (
            _retrieval("HowTo100M", (7.5, 21.2, 29.6, 38), HOWTO100M),
            _retrieval("HowTo100M fine-tuned", (14.9, 40.2, 52.8, 9), HOWTO100M, FINE_TUNED),
            _retrieval("MIL-NCE S3D, batch 8192", (9.9, 24.0, 32.4, 29.5), MILNCE),
            _retrieval("MIL-NCE S3D, batch 512", (8.6, 21.5, 28.6, 36), MILNCE_RELEASE, "trained on TPUs"),
            _retrieval(
                "MIL-NCE S3D, batch 1024", (8.2, 21.5, 29.5, 40), MILNCE_RELEASE, "300 epochs in PyTorch"
            ),
            _retrieval("VT-TWINS", (9.4, 23.4, 31.6), VTTWINS),
        ),
        "youcook2": (
            _retrieval("HowTo100M", (6.1, 17.3, 24.8, 46), HOWTO100M, "another gallery"),
            _retrieval(
                "HowTo100M fine-tuned", (8.2, 24.5, 35.3, 24), HOWTO100M, f"{FINE_TUNED}; another gallery"
            ),
            _retrieval(
                "MIL-NCE S3D, batch 8192", (15.1, 38.0, 51.2, 10), MILNCE, "gallery slightly below 3,350"
            ),
            _retrieval(
                "MIL-NCE S3D, batch 512",
                (8.2, 24.6, 36.2, 23),
                MILNCE_RELEASE,
                "trained on TPUs; gallery of 3,350",
            ),
            _retrieval(
                "MIL-NCE S3D, batch 1024",
                (8.8, 24.3, 34.6, 23),
                MILNCE_RELEASE,
                "300 epochs in PyTorch; gallery of 3,350",
            ),
            _retrieval("VT-TWINS", (9.7, 27.0, 38.8), VTTWINS, "another gallery"),
            _retrieval(
                "TAN", (20.1, 45.5, 59.5), TAN, "not the same protocol: an aligner that sees long context"
            ),
        ),
        "lsmdc": (
            _retrieval("HowTo100M", (4.0, 9.8, 14.0, 137), HOWTO100M),
            _retrieval("HowTo100M fine-tuned", (7.1, 19.6, 27.9, 40), HOWTO100M, FINE_TUNED),
        ),
        "ucf101": (
            _shares("MIL-NCE S3D", {"top-1": 82.7}, MILNCE),
            _shares("MIL-NCE S3D, run again", {"top-1": 82.1}, TAN),
            _shares("S3D on HTM-AA", {"top-1": 83.2}, TAN),
        ),
        "hmdb51": (
            _shares("MIL-NCE S3D", {"top-1": 53.1}, MILNCE),
            _shares("MIL-NCE S3D, run again", {"top-1": 55.2}, TAN),
            _shares("S3D on HTM-AA", {"top-1": 56.7}, TAN),
        ),
        "k400": (
            _shares("MIL-NCE S3D, run again", {"top-1": 55.7}, TAN),
            _shares("S3D on HTM-AA", {"top-1": 56.2}, TAN),
        ),
        "ucf101-finetuned": (
            _shares("CPD", {"top-1": 92.8}, CPD),
            _shares("CPD, frozen", {"top-1": 83.7}, CPD, "only the last layer is trained"),
        ),
        "hmdb51-finetuned": (
            _shares("CPD", {"top-1": 63.6}, CPD, "63.8 in the paper, 63.6 in its release"),
            _shares("CPD, frozen", {"top-1": 54.7}, CPD, "only the last layer is trained"),
        ),
        "crosstask": (
            _shares("HowTo100M", {"crosstask_average_recall": 33.6}, HOWTO100M),
            _shares("MIL-NCE S3D", {"crosstask_average_recall": 40.5}, MILNCE),
        ),
        "htm-align": (
            _shares(
                "MIL-NCE S3D",
                {
                    "R@1 windows": 34.2,
                    "ROC-AUC windows": 73.4,
                    "R@1 global": 28.7,
                    "ROC-AUC global": 73.3,
                },
                TAN,
            ),
            _shares("CLIP ViT-B/32", {"R@1 windows": 23.4, "R@1 global": 17.5}, TAN),
            _shares(
                "TAN", {"R@1 windows": 49.8, "ROC-AUC windows": 75.1}, TAN, "as corrected in its release"
            ),
            _shares("best of later work", {"R@1 windows": 69.8}, LATER, "perhaps not the same protocol"),
        ),
    }
)
