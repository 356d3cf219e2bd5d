"""Names of classes as words, templates from files, means over sentences."""

from __future__ import annotations

import numpy as np
import pytest

from narravid.errors import AnnotationError
from narravid.evaluation.class_prompts import (
    DEFAULT_TEMPLATES,
    class_words,
    mean_by_class,
    prompts_of,
    read_templates,
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("HandstandPushups", "handstand pushups"),
        ("YoYo", "yo yo"),
        ("brush_hair", "brush hair"),
        ("playing TV games", "playing tv games"),
        ("catching or throwing frisbee", "catching or throwing frisbee"),
        ("high-five", "high five"),
        ("TVShow", "tv show"),
        ("  wave ", "wave"),
    ],
)
def test_names_become_words(name, words):
    assert class_words(name) == words


def test_every_class_has_a_sentence_of_each_template():
    assert all(template.count("{}") == 1 for template in DEFAULT_TEMPLATES)
    assert prompts_of(["BrushHair", "wave"], ("{}", "now {} again")) == [
        "brush hair",
        "now brush hair again",
        "wave",
        "now wave again",
    ]


def test_templates_of_ones_own(tmp_path):
    path = tmp_path / "templates.txt"
    path.write_text("we {} here\n\nlook at the {}\n")
    assert read_templates(path) == ("we {} here", "look at the {}")
    assert read_templates(None) == DEFAULT_TEMPLATES
    path.write_text("we {} here\nno place\n")
    with pytest.raises(AnnotationError, match=r"line 2.*must hold \{\} once"):
        read_templates(path)
    path.write_text("\n")
    with pytest.raises(AnnotationError, match="has no template"):
        read_templates(path)


def test_a_class_is_the_mean_of_its_sentences():
    sentences = np.array([[3, 0], [0, 1], [0, 2], [0, 4]], dtype=np.float32)
    np.testing.assert_allclose(mean_by_class(sentences, 2, normalised=False), [[1.5, 0.5], [0, 3]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        mean_by_class(sentences, 2, normalised=True), [[half, half], [0, 1]], rtol=1e-6
    )
