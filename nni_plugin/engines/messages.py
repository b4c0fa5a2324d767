"""What an engine's process and the search tell each other: one JSON object a line."""

from __future__ import annotations

import json
from dataclasses import asdict

from nni_plugin.engines.engine import Ended, Event, Final, Job, Note, Reported
from nni_plugin.protocol.json_types import Settings

__all__ = ["READY", "Lines", "dump_event", "dump_job", "load_event", "load_job"]

_EVENTS: dict[str, type[Reported | Final | Ended | Note]] = {
    kind.__name__: kind for kind in (Reported, Final, Ended, Note)
}


READY: dict[str, object] = {"ready": True}
"""What a process says that has what it needs, and takes trials from now on."""


def dump_event(event: Event) -> dict[str, object]:
    """An event as a JSON object."""
    return {"event": type(event).__name__, **asdict(event)}


def load_event(told: Settings) -> Event:
    """An event of :func:`dump_event`.

    Raises:
        KeyError: it is none.
    """
    fields = {name: value for name, value in told.items() if name != "event"}
    return _EVENTS[told["event"]](**fields)


def dump_job(job: Job) -> dict[str, object]:
    """A job as a JSON object."""
    return asdict(job)


def load_job(told: Settings) -> Job:
    """A job of :func:`dump_job`."""
    return Job(told["id"], told["sequence"], told["params"])


class Lines:
    """Makes messages of the bytes that a pipe gives, in pieces of any length."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Settings]:
        """The messages that are whole by now; lines that are none are left out."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = []
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:  # what a library printed to our stdout
                continue
            if isinstance(message, dict):
                found.append(message)
        return found
