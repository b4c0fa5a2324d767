"""The words of a trial's command that are about its supernet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nni_plugin.trial import arguments, main
from nni_plugin.trial_supernet import SupernetChoice
from support.paths import REPOSITORY

TRIAL = ("--task", "evaluators.tasks.digits:build", "--device", "stm32f746")


def test_words_that_do_not_go_together() -> None:
    for words, text in (
        (("--supernet-epochs", "3"), "--supernet-epochs 3 is of the training that"),
        (("--train-supernet", "s.json", "--supernet-epochs", "0"), "must be at least 1"),
    ):
        with pytest.raises(ValueError, match=text):
            SupernetChoice.of(arguments([*TRIAL, *words]))
    assert SupernetChoice.of(arguments(TRIAL)) is None
    words = ("--supernet", "a.pt", "--train-supernet", "s.json", "--supernet-epochs", "3")
    choice = SupernetChoice.of(arguments([*TRIAL, *words]), Path("/there"))
    assert choice == SupernetChoice(Path("/there/a.pt"), Path("/there/s.json"), 3)
    assert choice.settings().epochs == 3


def test_without_a_file_it_is_in_the_cache(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configs = REPOSITORY / "experiment_configs"
    (tmp_path / "params.json").write_text(json.dumps({"conv1.prune": 0.5, "conv1.w_bits": 2}))
    words = [
        *TRIAL, "--network", str(configs / "digits.space.network.json"), "--epochs", "0",
        "--params", str(tmp_path / "params.json"),
        "--train-supernet", str(configs / "digits.space.json"), "--supernet-epochs", "1",
    ]  # fmt: skip
    finals = []
    for said in ("is not there yet: it is trained once, for 1 epochs", "is there already"):
        assert main(words) == 0
        out = capfd.readouterr().out
        assert said in out
        finals.append(json.loads(out.splitlines()[-1]))
    assert finals[0] == finals[1]
    assert finals[0]["inherited_accuracy"] == finals[0]["accuracy"]
