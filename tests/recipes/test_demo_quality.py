"""The demo as `make demo` runs it: it must learn, not only run."""

from pathlib import Path

import pytest

from narravid.recipes.demo import DemoRecipe


@pytest.mark.slow
def test_the_demo_learns_from_narration_alone(tmp_path: Path) -> None:
    metrics = DemoRecipe(seed=3, control=False).run(tmp_path).metrics
    retrieval = metrics["retrieval"]
    assert retrieval["gallery_size"] >= 100
    assert retrieval["trained"]["MedR"] <= 8
    assert retrieval["trained"]["R@10"] >= 0.6
    assert retrieval["untrained"]["R@10"] < 0.2  # chance is 0.083; an untrained network differs by luck
    assert sum(query["correct"] for query in metrics["queries"]) >= 5
    chance = metrics["attributes"]["chance"]
    assert metrics["attributes"]["trained"]["colour"] > 3 * chance["colour"]
    assert metrics["attributes"]["trained"]["motion"] > 2 * chance["motion"]
