"""Optional libraries: imported when a feature is used, with a message that says how to install them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from narravid.errors import MissingExtraError

__all__ = ["import_extra"]

REPORTERS = {"openvino": "openvino_telemetry"}
"""Through which package a library tells its maker that it is in use; without it, it keeps silent."""


def import_extra(module: str, *, extra: str | None, feature: str) -> ModuleType:
    """Import a library that not every installation has.

    One that would report its use over the network is kept from it, unless it was imported before.

    Args:
        module: Its name, such as "transformers".
        extra: The extra of Narravid that brings it; None where the user installs it by its own name.
        feature: What it is needed for; completes "... needs ...".

    Returns:
        The module.

    Raises:
        MissingExtraError: If it is not installed; says what to install.
    """
    reporter = REPORTERS.get(module)
    if reporter is not None and module not in sys.modules:
        sys.modules.setdefault(reporter, None)  # type: ignore[arg-type]  # None is how Python is told of absence
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # it is there and broken: what it lacks is no extra of ours
        raise MissingExtraError(feature, module, extra) from error
