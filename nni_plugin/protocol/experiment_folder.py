"""The folder that NNI makes for an experiment."""

from __future__ import annotations

import os
from pathlib import Path

from nni_plugin.protocol.log import logger

_PRIVATE = 0o700


def make_private() -> None:
    """Closes the experiment's folder to the machine's other users.

    NNI makes it for everybody to read. Outside NNI's dispatcher nothing is done; a folder of
    another owner is left as it is, with a warning.
    """
    if os.environ.get("SDK_PROCESS") != "dispatcher":
        return
    logs, checkpoint = (
        Path(os.environ.get(f"NNI_{name}_DIRECTORY", "")) for name in ("LOG", "CHECKPOINT")
    )
    if logs.name != "log" or logs.parent != checkpoint.parent:
        return
    try:
        logs.parent.chmod(_PRIVATE)
    except OSError as error:
        logger.warning("%s stays open to other users: %s", logs.parent, error)
