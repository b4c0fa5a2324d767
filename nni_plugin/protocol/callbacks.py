"""Callbacks of NNI's dispatcher that never leave an experiment running without its tuner.

An exception in a tuner's callback ends NNI's worker thread silently: the experiment stays RUNNING
for ever. A guarded callback reports it to the manager, which ends the experiment with ERROR.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol, TypeVar, cast

logger = logging.getLogger("nni.joint_ga")


class Guarded(Protocol):
    """What ``guarded`` needs of the object whose methods it guards."""

    lock: threading.RLock
    _dispatcher: Any

    def _failed(self, message: str) -> None: ...


F = TypeVar("F", bound=Callable[..., Any])


def guarded(callback: F) -> F:
    """One callback at a time (NNI uses two threads), and no error goes unnoticed."""

    @functools.wraps(callback)
    def wrapper(self: Guarded, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            if self._dispatcher is None:
                self._dispatcher = _calling_dispatcher()
            try:
                return callback(self, *args, **kwargs)
            except Exception as error:  # whatever it is, the manager has to hear of it
                message = f"{type(error).__name__}: {error}"
                logger.error("JointGA ends the experiment: %s\n%s", message, traceback.format_exc())
                self._failed(message)
                _report(self._dispatcher, f"JointGA: {message}\n{traceback.format_exc()}")
                raise

    return cast(F, wrapper)


def _calling_dispatcher() -> Any:
    """NNI's dispatcher, which is on the call stack of each callback; None without NNI."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if hasattr(caller, "report_error") and hasattr(caller, "send"):
            return caller
        frame = frame.f_back
    return None


def _report(dispatcher: Any, message: str) -> None:
    if dispatcher is not None:
        dispatcher.report_error(message)
    elif os.environ.get("SDK_PROCESS") == "dispatcher":
        # Nobody to report to: the manager notices that the process is gone.
        os._exit(1)
