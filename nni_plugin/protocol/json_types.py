"""Names for the plain data that NNI, configs, journals and trials exchange."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, object]
"""A JSON object whose values nobody has checked yet."""

Params = dict[str, object]
"""A trial's parameters, without ``uid``: allele by gene."""

Metrics = dict[str, float]
"""Finite numbers by metric."""

NniSpace = dict[str, dict[str, Any]]
"""NNI's search space: ``{gene: {"_type": ..., "_value": [...]}}``."""

Settings = dict[str, Any]
"""An experiment's config, nested as YAML and NNI hold it; NNI says what it may contain."""
