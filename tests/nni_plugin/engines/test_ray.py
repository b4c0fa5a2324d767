"""The engine ``ray`` on a real cluster of two nodes, both on this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nni_plugin.engines.run import Run
from nni_plugin.results.experiment import Experiment
from support.engine_runs import LIGHT, REPORT, run, settings

pytest.importorskip(
    "ray", reason="Ray is not installed: pip install 'nni-joint-ga[ray]'", exc_type=ImportError
)

pytestmark = pytest.mark.slow


@dataclass
class Cluster:
    """Two nodes with a CPU each."""

    ray: Any
    nodes: list[Any]

    @property
    def address(self) -> str:
        return str(self.ray.address)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One for all tests, which stand in the order in which they take it apart."""
    from ray.cluster_utils import Cluster as RayCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr("ray._private.node.time", _SlowClock())
        ray = RayCluster()
        try:
            nodes = [ray.add_node(num_cpus=1, include_dashboard=False), ray.add_node(num_cpus=1)]
            yield Cluster(ray, nodes)
        finally:
            ray.shutdown()


class _SlowClock:
    """Ray gives a node's start half a minute, which a busy machine does not keep."""

    def monotonic(self) -> float:
        return time.monotonic() / 4

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def trials(folder: Path) -> list[tuple[int, dict[str, object], dict[str, float]]]:
    return [(t.uid, t.params, t.metrics) for t in Experiment(folder).log.finished("complete")]


def test_a_cluster_gives_the_same_search(cluster: Cluster, tmp_path: Path) -> None:
    """One of its trials misses its data: that is told with the name of the machine."""
    body = LIGHT + "if uid == 3: open('/no/such/data.npz')\n" + REPORT
    on_ray, ended, _ = run(
        settings(tmp_path / "ray", body, maxTrialNumber=6), engine="ray", address=cluster.address
    )
    assert ended.status == "DONE", ended.error
    here, _, _ = run(settings(tmp_path / "local", body, maxTrialNumber=6))
    assert trials(on_ray) == trials(here)
    assert len(trials(here)) == 5
    (failed,) = Experiment(on_ray).log.finished("failed")
    assert "No such file or directory: '/no/such/data.npz' (on " in failed.reason
    (stderr,) = on_ray.glob("environments/*/trials/t3/trial.stderr")
    assert "FileNotFoundError" in stderr.read_text()


def test_a_node_that_dies_costs_nothing_and_a_cluster_that_goes_can_be_resumed(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "8")
    body = LIGHT + "time.sleep(1)\n" + REPORT
    config = settings(tmp_path, body, maxTrialNumber=40, trialConcurrency=2)
    gone: list[str] = []

    def kill(started: Run) -> None:
        finished = {trial.uid for trial in Experiment(started.folder).log.finished()}
        if not gone and len(finished) >= 2:
            gone.append("node")
            cluster.ray.remove_node(cluster.nodes[1], allow_graceful=False)
        elif gone == ["node"] and finished >= {1, 2, 3, 4}:  # one of these was lost and ran again
            gone.append("cluster")
            for _, process in cluster.nodes[0].live_processes():
                os.kill(process.pid, signal.SIGKILL)

    folder, ended, said = run(config, engine="ray", address=cluster.address, step=kill)
    assert gone == ["node", "cluster"]
    assert any("is gone" in line for line in said), said
    assert ended.status == "ERROR"
    assert "can't be reached" in str(ended.error)
    assert "ray start" in str(ended.error)
    counts = Experiment(folder).log.counts()
    assert counts["failed"] == 0
    assert counts["running"] in (1, 2)
    done = counts["complete"]
    assert done >= 4
    _, ended, _ = run(settings(tmp_path, maxTrialNumber=done + 3), folder)
    assert ended.status == "DONE"
    assert Experiment(folder).log.counts()["complete"] == done + 3
