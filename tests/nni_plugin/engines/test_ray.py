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
    on_ray, ended, _ = run(
        settings(tmp_path / "ray", maxTrialNumber=6), engine="ray", address=cluster.address
    )
    assert ended.status == "DONE", ended.error
    here, _, _ = run(settings(tmp_path / "local", maxTrialNumber=6))
    assert trials(on_ray) == trials(here)


def test_a_machine_without_the_data_is_named_with_the_trial(
    cluster: Cluster, tmp_path: Path
) -> None:
    body = "open('/no/such/data.npz')"
    folder, ended, _ = run(
        settings(tmp_path, body, maxTrialNumber=1), engine="ray", address=cluster.address
    )
    assert ended.status == "DONE", ended.error
    (failed,) = Experiment(folder).log.finished("failed")
    assert "No such file or directory: '/no/such/data.npz' (on " in failed.reason
    (stderr,) = folder.glob("environments/*/trials/t1/trial.stderr")
    assert "FileNotFoundError" in stderr.read_text()


def test_both_nodes_work_and_one_that_dies_costs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    body = LIGHT + "time.sleep(2)\n" + REPORT
    killed: list[int] = []

    def kill(started: Run) -> None:
        finished = len(Experiment(started.folder).log.finished())
        if finished >= 2 and not killed:
            killed.append(1)
            cluster.ray.remove_node(cluster.nodes[1], allow_graceful=False)

    folder, ended, said = run(
        settings(tmp_path, body, maxTrialNumber=6, trialConcurrency=2),
        engine="ray",
        address=cluster.address,
        step=kill,
    )
    assert ended.status == "DONE", ended.error
    assert Experiment(folder).log.counts()["complete"] == 6
    assert any("is gone" in line for line in said), said


def test_a_cluster_that_goes_leaves_a_search_that_can_be_resumed(
    cluster: Cluster, tmp_path: Path
) -> None:
    body = LIGHT + "time.sleep(1 if uid < 3 else 120)\n" + REPORT
    config = settings(tmp_path, body, maxTrialNumber=5)
    gone: list[int] = []

    def kill(started: Run) -> None:
        if not gone and len(Experiment(started.folder).log.finished()) >= 2:
            gone.append(1)
            for _, process in cluster.nodes[0].live_processes():
                os.kill(process.pid, signal.SIGKILL)

    folder, ended, _ = run(config, engine="ray", address=cluster.address, step=kill)
    assert ended.status == "ERROR"
    assert "can't be reached" in str(ended.error)
    assert "ray start" in str(ended.error)
    counts = Experiment(folder).log.counts()
    assert counts["failed"] == 0
    assert counts["running"] == 1
    _, ended, _ = run(settings(tmp_path, maxTrialNumber=5), folder)
    assert ended.status == "DONE"
    assert Experiment(folder).log.counts()["complete"] == 5
