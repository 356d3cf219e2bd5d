"""Sentences for classes of which only a name is known, such as `ApplyEyeMakeup` or `brush_hair`.

A class is compared with the mean over several sentences, as by Radford et al. 2021, arXiv 2103.00020, section
3.1.4. Networks trained on narration hear people say what they do, so the sentences are about doing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narravid.annotation_files import read_lines
from narravid.errors import AnnotationError

__all__ = ["DEFAULT_TEMPLATES", "class_words", "mean_by_class", "prompts_of", "read_templates"]

DEFAULT_TEMPLATES = (
    "{}",
    "a person is {}",
    "a video of {}",
    "a video of a person doing {}",
    "someone doing {}",
    "this is how to do {}",
)
"""The place of the name is `{}`."""

PLACE = "{}"
WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

FloatArray = npt.NDArray[np.float32]


def class_words(name: str) -> str:
    """The name of a class as words in lower case.

    >>> class_words("ApplyEyeMakeup"), class_words("brush_hair"), class_words("YoYo"), class_words("TaiChi")
    ('apply eye makeup', 'brush hair', 'yo yo', 'tai chi')
    >>> class_words("playing TV-games")
    'playing tv games'
    """
    words = re.sub(r"[\s_\-./]+", " ", WORD_STARTS.sub(" ", name))
    return words.strip().lower()


def read_templates(path: Path | None) -> tuple[str, ...]:
    """Sentences into which the words of a class are put.

    Args:
        path: A text file with one a line, the place of the words being `{}`; None for the default ones.

    Raises:
        AnnotationError: If the file cannot be read, is empty, or a line has not exactly one place.
    """
    if path is None:
        return DEFAULT_TEMPLATES
    templates = []
    for line, template in read_lines(path):
        if template.count(PLACE) != 1:
            raise AnnotationError(path, f"must hold {PLACE} once, got {template!r}", line=line)
        templates.append(template)
    if not templates:
        raise AnnotationError(path, "has no template")
    return tuple(templates)


def prompts_of(labels: Sequence[str], templates: Sequence[str]) -> list[str]:
    """The sentences of all classes, class by class.

    >>> prompts_of(["PlayingCello", "Punch"], ["{}", "a video of {}"])
    ['playing cello', 'a video of playing cello', 'punch', 'a video of punch']
    """
    return [template.replace(PLACE, class_words(label)) for label in labels for template in templates]


def mean_by_class(sentences: FloatArray, num_classes: int, *, normalised: bool) -> FloatArray:
    """One vector for each class: the mean over its sentences.

    Args:
        sentences: (C · P, D) float32, class by class.
        num_classes: C.
        normalised: Whether vectors are compared by cosine: they are brought to length 1 before and after.

    Returns:
        (C, D) float32.
    """
    vectors = sentences.reshape(num_classes, -1, sentences.shape[1])
    if normalised:
        vectors = vectors / _lengths(vectors)
    means = vectors.mean(axis=1)
    result: FloatArray = means / _lengths(means) if normalised else means
    return result


def _lengths(vectors: FloatArray) -> FloatArray:
    lengths: FloatArray = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return lengths
