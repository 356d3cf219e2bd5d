"""Published rows, value by value: what is printed beside a measured number is what the papers say."""

from __future__ import annotations

import pytest

from narravid.evaluation.published import PUBLISHED

RETRIEVAL = {  # R@1, R@5, R@10 in percent, median rank
    "msrvtt": {
        "HowTo100M": (7.5, 21.2, 29.6, 38),
        "HowTo100M fine-tuned": (14.9, 40.2, 52.8, 9),
        "MIL-NCE S3D, batch 8192": (9.9, 24.0, 32.4, 29.5),
        "MIL-NCE S3D, batch 512": (8.6, 21.5, 28.6, 36),
        "MIL-NCE S3D, batch 1024": (8.2, 21.5, 29.5, 40),
        "VT-TWINS": (9.4, 23.4, 31.6, None),
    },
    "youcook2": {
        "HowTo100M": (6.1, 17.3, 24.8, 46),
        "HowTo100M fine-tuned": (8.2, 24.5, 35.3, 24),
        "MIL-NCE S3D, batch 8192": (15.1, 38.0, 51.2, 10),
        "MIL-NCE S3D, batch 512": (8.2, 24.6, 36.2, 23),
        "MIL-NCE S3D, batch 1024": (8.8, 24.3, 34.6, 23),
        "VT-TWINS": (9.7, 27.0, 38.8, None),
        "TAN": (20.1, 45.5, 59.5, None),
    },
    "lsmdc": {
        "HowTo100M": (4.0, 9.8, 14.0, 137),
        "HowTo100M fine-tuned": (7.1, 19.6, 27.9, 40),
    },
}
TOP_1 = {
    "ucf101": {"MIL-NCE S3D": 82.7, "MIL-NCE S3D, run again": 82.1, "S3D on HTM-AA": 83.2},
    "hmdb51": {"MIL-NCE S3D": 53.1, "MIL-NCE S3D, run again": 55.2, "S3D on HTM-AA": 56.7},
    "k400": {"MIL-NCE S3D, run again": 55.7, "S3D on HTM-AA": 56.2},
    "ucf101-finetuned": {"CPD": 92.8, "CPD, frozen": 83.7},
    "hmdb51-finetuned": {"CPD": 63.6, "CPD, frozen": 54.7},
}
OTHERS = {
    "crosstask": {
        "HowTo100M": {"crosstask_average_recall": 33.6},
        "MIL-NCE S3D": {"crosstask_average_recall": 40.5},
    },
    "htm-align": {
        "MIL-NCE S3D": {
            "R@1 windows": 34.2,
            "ROC-AUC windows": 73.4,
            "R@1 global": 28.7,
            "ROC-AUC global": 73.3,
        },
        "CLIP ViT-B/32": {"R@1 windows": 23.4, "R@1 global": 17.5},
        "TAN": {"R@1 windows": 49.8, "ROC-AUC windows": 75.1},
        "best of later work": {"R@1 windows": 69.8},
    },
}


def expected_of(benchmark: str) -> dict[str, dict[str, float]]:
    """Shares and ranks by model and measure."""
    if benchmark in RETRIEVAL:
        names = ("R@1", "R@5", "R@10", "MedR")
        rows = {model: dict(zip(names, row, strict=True)) for model, row in RETRIEVAL[benchmark].items()}
    else:
        top_1 = TOP_1.get(benchmark, {})
        rows = OTHERS.get(benchmark) or {model: {"top-1": percent} for model, percent in top_1.items()}
    return {
        model: {
            name: value if name == "MedR" else pytest.approx(value / 100)
            for name, value in row.items()
            if value is not None
        }
        for model, row in rows.items()
    }


@pytest.mark.parametrize("benchmark", [*RETRIEVAL, *TOP_1, *OTHERS])
def test_rows_are_those_of_the_papers(benchmark):
    assert {row.model: row.values for row in PUBLISHED[benchmark]} == expected_of(benchmark)


def test_every_benchmark_is_compared():
    assert PUBLISHED.keys() == {*RETRIEVAL, *TOP_1, *OTHERS}


def test_what_was_measured_otherwise_says_so():
    notes = {(name, row.model): row.note for name, rows in PUBLISHED.items() for row in rows}
    assert "not the same protocol" in notes["youcook2", "TAN"]
    assert "3,350" in notes["youcook2", "MIL-NCE S3D, batch 512"]
    assert "63.8" in notes["hmdb51-finetuned", "CPD"]
    assert "not the same protocol" in notes["htm-align", "best of later work"]
