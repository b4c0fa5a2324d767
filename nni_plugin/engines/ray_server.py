"""Between a search and a Ray cluster: ``python -m nni_plugin.engines.ray_server``.

It speaks the messages of ``trial_server``, and hands each trial to an actor on some machine. The
actors are this process's own: they end when it does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nni_plugin.engines.engine import Ended, EngineError, Event, Note
from nni_plugin.engines.messages import READY, Lines, dump_event, load_event
from nni_plugin.engines.ray_engine import packed
from nni_plugin.engines.ray_worker import RayWorker, Said
from nni_plugin.engines.trial_files import stderr_of, stdout_of
from nni_plugin.protocol.json_types import Settings

__all__ = ["RayBridge", "main"]

_LOOK_S = 0.02
_EVENTS_S = 2.0
_TOLD_AFTER_S = 20.0
_LEAVE_S = 3.0
_RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"
_RECONNECT_S = "15"
"""Ray waits a minute for a head that is gone."""
_AGAIN_S = 0.5

Handle = Any
"""Of an actor or of an answer to come: Ray's types say nothing of either."""


@dataclass
class _Place:
    """An actor, ready or not, with the trial that it runs."""

    actor: Handle
    ready: Handle
    node: str = ""
    job: str = ""
    events: Handle = None


@dataclass
class RayBridge:
    """Keeps as many actors as trials may run, and gives each that is free the next trial.

    Args:
        told: see ``ray_engine``.

    Raises:
        EngineError: the cluster can't be reached.
    """

    told: Settings
    _places: list[_Place] = field(default_factory=list)
    _waiting: deque[Settings] = field(default_factory=deque)
    _limits: dict[str, object] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)
    _is_told: bool = False

    def __post_init__(self) -> None:
        import ray

        address = self.told["address"]
        named = address or os.environ.get("RAY_ADDRESS") or "a cluster of this machine"
        try:
            _wait_for(str(address or os.environ.get("RAY_ADDRESS") or ""))
            ray.init(address=address, log_to_driver=False, include_dashboard=_dashboard(address))
        # Whatever Ray raises: what a user must hear is the same.
        except Exception as error:
            raise EngineError(
                f"the Ray cluster at {named} can't be reached ({_first_line(error)}): start it "
                "(`ray start --head`, then `ray start --address HOST:PORT` on the others), or "
                "give its --address"
            ) from error
        trial = self.told["trial"]
        code = Path(trial["code"])
        self._archive = ray.put(packed(code) if code.is_dir() else None)
        actor: Handle = ray.remote(num_cpus=1, num_gpus=self.told["gpus"] or None)(RayWorker)
        self._make: Callable[[], Handle] = lambda: actor.remote(
            trial, self._archive, self.told["threads"]
        )
        self._places = [self._place() for _ in range(self.told["workers"])]

    def _place(self) -> _Place:
        actor: Handle = self._make()
        return _Place(actor, actor.node.remote())

    def obey(self, message: Settings) -> list[Event]:
        """Takes a message of the search."""
        if message["do"] == "start":
            self._waiting.append(message["job"])
            # The search counts a chromosome's trials by their folders.
            (Path(self.told["trial"]["trials"]) / message["job"]["id"]).mkdir(
                parents=True, exist_ok=True
            )
        elif message["do"] == "limit":
            self._limits = dict(message["limits"])
        elif message["do"] == "stop":
            for place in self._places:
                if place.job == message["job"]:
                    place.actor.stop.remote(place.job)
        return []

    def look(self) -> list[Event]:
        """What has happened since the last look."""
        events = [event for place in list(self._places) for event in self._look_at(place)]
        for place in self._places:
            if self._waiting and place.ready is None and not place.job:
                self._give(place, self._waiting.popleft())
        late = time.monotonic() > self._since + _TOLD_AFTER_S
        if late and not self._is_told and all(place.ready for place in self._places):
            self._is_told = True
            events.append(Note("Waiting for a free CPU of the Ray cluster."))
        return events

    def _give(self, place: _Place, job: Settings) -> None:
        place.job = job["id"]
        place.actor.start.remote(job, self._limits)
        place.events = place.actor.events.remote(_EVENTS_S)

    def _look_at(self, place: _Place) -> list[Event]:
        import ray

        wanted = place.ready or place.events
        if wanted is None:
            return []
        done, _ = ray.wait([wanted], timeout=0)
        if not done:
            return []
        try:
            answer = ray.get(wanted)
        except ray.exceptions.RayError as error:
            return self._lost(place, error)
        if place.ready is not None:
            place.node, place.ready = str(answer), None
            return []
        told, said = answer
        return self._happened(place, [load_event(event) for event in told], said)

    def _happened(self, place: _Place, told: list[Event], said: list[Said]) -> list[Event]:
        for one in said:
            self._keep(one)
        events: list[Event] = []
        for event in told:
            if isinstance(event, Ended):
                reason = event.reason
                if reason is not None and not event.is_lost:
                    reason = f"{reason} (on {place.node})"
                event = Ended(event.job, reason, event.is_lost, place.node)
                place.job = ""
            events.append(event)
        place.events = place.actor.events.remote(_EVENTS_S) if place.job else None
        return events

    def _keep(self, said: Said) -> None:
        """What a trial wrote lies where a trial of this machine leaves it."""
        folder = Path(self.told["trial"]["trials"]) / said.job
        with contextlib.suppress(OSError):
            stdout_of(folder).write_bytes(said.stdout)
            stderr_of(folder).write_bytes(said.stderr)

    def _lost(self, place: _Place, error: Exception) -> list[Event]:
        """An actor that is gone, with its machine or alone; another takes its place."""
        self._places[self._places.index(place)] = self._place()
        where = f" on {place.node}" if place.node else ""
        reason = f"the Ray worker{where} is gone ({_first_line(error)})"
        if place.ready is not None and "ModuleNotFoundError" in str(error):
            raise EngineError(
                f"a machine of the cluster lacks nni-joint-ga ({_first_line(error)}): install the "
                "same version on each"
            ) from error
        if not place.job:
            return [Note(f"{reason[0].upper()}{reason[1:]}: another takes its place.")]
        return [Ended(place.job, reason, is_lost=True, node=place.node)]

    def close(self) -> None:
        """Ends the actors, which end their trials."""
        import ray

        leaving = [place.actor.close.remote() for place in self._places if place.ready is None]
        with contextlib.suppress(ray.exceptions.RayError):
            ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE_S) if leaving else None
        for place in self._places:
            ray.kill(place.actor)
        ray.shutdown()


def _wait_for(address: str) -> None:
    """Waits until somebody listens at ``HOST:PORT``, so long as Ray does; other words mean nothing.

    Ray would end this process if nobody did, after three times as long.

    Raises:
        OSError: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    deadline = time.monotonic() + float(os.environ.get(_RECONNECT, _RECONNECT_S))
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_LEAVE_S).close()
            return
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_AGAIN_S)


def _dashboard(address: str | None) -> bool | None:
    """None where there is a cluster: it has its own, or has not."""
    return False if address is None and not os.environ.get("RAY_ADDRESS") else None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]


def serve(commands: int, answers: int) -> None:
    """Serves until ``commands`` closes, or the cluster is gone."""
    lines, bridge = Lines(), None

    def answer(messages: list[dict[str, object]]) -> None:
        text = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
        while text:
            text = text[os.write(answers, text) :]

    try:
        while True:
            ready, _, _ = select.select([commands], [], [], _LOOK_S)
            events: list[Event] = []
            if ready:
                data = os.read(commands, 1 << 16)
                if not data:
                    return
                for message in lines.feed(data):
                    if message["do"] == "open":
                        bridge = RayBridge(message["settings"])
                        answer([READY])
                    elif bridge is not None:
                        events += bridge.obey(message)
            if bridge is not None:
                events += bridge.look()
            answer([dump_event(event) for event in events])
    except (EngineError, ValueError) as error:
        answer([{"error": str(error)}])
    finally:
        if bridge is not None:
            bridge.close()


def main() -> None:
    """Serves on stdin and stdout; what else would print to stdout prints to stderr."""
    commands, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    os.environ.setdefault(_RECONNECT, _RECONNECT_S)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(commands, answers)


if __name__ == "__main__":
    main()
