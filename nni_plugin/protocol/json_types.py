"""Names for the plain data that NNI, journals and trials exchange."""

from __future__ import annotations

JsonObject = dict[str, object]
"""A JSON object whose values nobody has checked yet."""

Params = dict[str, object]
"""A trial's parameters, without ``uid``: allele by gene."""

Metrics = dict[str, float]
"""Finite numbers by metric."""

NniSpace = dict[str, dict[str, object]]
"""NNI's search space: ``{gene: {"_type": ..., "_value": [...]}}``."""
