"""Fixture of the tests that run ``joint-ga run``."""

from __future__ import annotations

import pytest

from support.joint_ga_run import Run, config_in


@pytest.fixture
def run(tmp_path):
    started = []

    def start(trials, *options, folder=tmp_path, **settings):
        folder.mkdir(exist_ok=True)
        config_in(folder, trials, **settings)
        started.append(Run(folder, *options))
        return started[-1]

    yield start
    for one in started:
        one.close()
