"""Callbacks of NNI's dispatcher that never leave an experiment running without its tuner.

An exception in a tuner's callback ends NNI's worker thread silently: the experiment stays RUNNING
for ever. A guarded callback reports it to the manager, which ends the experiment with ERROR.
"""

from __future__ import annotations

import functools
import os
import threading
import traceback
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from nni_plugin.protocol.dispatcher import Dispatcher, running_dispatcher
from nni_plugin.protocol.log import logger


class Guarded(Protocol):
    """What ``guarded`` needs of the object whose methods it guards."""

    lock: threading.RLock
    _dispatcher: Dispatcher | None
    """Whom errors are reported to; None for NNI's dispatcher of this process."""

    def _failed(self, message: str) -> None: ...


_REPORTED = "NNI's manager was told"

Callback = TypeVar("Callback", bound=Callable[..., object])


def guarded(callback: Callback) -> Callback:
    """One callback at a time (NNI uses two threads), and no error goes unnoticed."""

    @functools.wraps(callback)
    def wrapper(self: Guarded, *args: object, **kwargs: object) -> object:
        with self.lock:
            try:
                return callback(self, *args, **kwargs)
            except Exception as error:  # whatever it is, the manager has to hear of it
                report_failure(self, error)
                raise

    return cast(Callback, wrapper)


def report_failure(failed: Guarded, error: Exception) -> None:
    """Ends the experiment because of an error, unless it was reported before.

    Args:
        failed: the tuner or assessor that the error came up in.
        error: as caught.
    """
    if _REPORTED in getattr(error, "__notes__", ()):
        return
    message = f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    logger.error("JointGA ends the experiment: %s\n%s", message, trace)
    error.add_note(_REPORTED)
    dispatcher = failed._dispatcher or running_dispatcher()
    # The manager first: what failed may be the disk, which the journal is on, too.
    if dispatcher is not None:
        dispatcher.report_error(f"JointGA: {message}\n{trace}")
    try:
        failed._failed(message)
    except Exception as second:
        logger.error("the journal can't say why the experiment ended: %s", second)
    if dispatcher is None and os.environ.get("SDK_PROCESS") == "dispatcher":
        # Nobody to report to: the manager notices that the process is gone.
        os._exit(1)
