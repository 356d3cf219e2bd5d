"""The README of a shared model folder: what the model is, what it wants to see, how to open it."""

from __future__ import annotations

from narravid.models.facts import model_facts
from narravid.models.registry import family_of
from narravid.protocols import Model

__all__ = ["model_card"]

OPEN_LICENCE = "other"


def model_card(model: Model, *, licence: str | None = None, repository: str | None = None) -> str:
    """The card of a model, in Markdown with the header that Hugging Face reads.

    Args:
        model: The model.
        licence: SPDX identifier of the licence of the weights; None says that none is stated.
        repository: "organisation/name" on Hugging Face, if it is going there.

    Returns:
        The text.

    Raises:
        ValueError: If the model is of no family that a folder can hold.
    """
    family, _ = family_of(model)
    rows = "\n".join(f"| {name} | {value} |" for name, value in _facts(model, family).items())
    opened_as = f"hf:{repository}" if repository else "path/of/this/folder"
    stated = (
        f"The weights are under the licence {licence}."
        if licence
        else "No licence is stated for these weights; weights that come from a published checkpoint keep its "
        "licence."
    )
    return f"""---
library_name: narravid
license: {(licence or OPEN_LICENCE).lower()}
tags:
- narravid
- video-text
---

# {type(model).__name__}

A model for Narravid, a Python library that learns from narrated video and searches it by meaning.

```python
import narravid

model = narravid.load("{opened_as}")
```

| | |
| --- | --- |
{rows}

`config.json` holds its whole configuration, `model.safetensors` its weights. {stated}
"""


def _facts(model: Model, family: str) -> dict[str, str]:
    facts: dict[str, object] = {"family": family}
    for name, value in model_facts(model).items():
        facts |= value if isinstance(value, dict) else {name: value}
    return {name.replace("_", " "): _text(value) for name, value in facts.items()}


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
