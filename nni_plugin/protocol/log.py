"""The one logger of tuner, assessor and page."""

from __future__ import annotations

import logging

logger = logging.getLogger("nni.joint_ga")
"""NNI writes the loggers below ``nni`` to dispatcher.log, and no others."""
