"""What a log shows while a search runs: a line for each trial that ends."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

from rich.console import Console

from nni_plugin.cli.progress import _Progress
from nni_plugin.study.trial import FinalTrial
from support.final_search import next_trial, result, search

PLANNED = 30


def test_trainings_to_the_end_are_running_and_get_a_line_too(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    progress = _Progress(tmp_path, PLANNED, 0)
    out = io.StringIO()
    console = Console(file=out, width=200)
    ends = 0
    with closing(search(folder)) as study:
        for number in range(1, PLANNED + 1):
            trial = next_trial(study, PLANNED)
            progress.refresh(out.write)
            assert f"{number - 1 - ends}/{PLANNED} complete, 1 running" in progress.line()
            study.tell(trial.uid, result(trial.params))
            ends += isinstance(trial, FinalTrial)
            for _ in range(2):
                progress.refresh(out.write)
                progress.print_if_new(console)
    lines = out.getvalue().splitlines()
    assert len(lines) == PLANNED
    assert f"{ends} trained to the end" in lines[-1]
    assert ends == 8
