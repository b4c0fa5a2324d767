"""The tutorials, followed as they are written."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import hardware
from nni_plugin import JointGATuner
from nni_plugin.local_run import search
from nni_plugin.results.experiment import Experiment
from nni_plugin.search_space import for_network
from nni_plugin.setup.config_check import check_config
from support.paths import DATA, REPOSITORY


def blocks(page, language):
    text = (REPOSITORY / "docs" / "guide" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def joint_ga(command, folder, **environment):
    words = shlex.split(command)
    assert words[0] == "joint-ga"
    done = subprocess.run(
        [sys.executable, "-m", "nni_plugin.cli", *words[1:]],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "NNI_CONFIG_DIR": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def own_model(tmp_path_factory):
    """A folder in which the tutorial's `init` has been followed."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_model.py").write_text(blocks("own_model.md", "python")[0])
    (init,) = [line for line in commands() if line.startswith("joint-ga init")]
    joint_ga(init, folder, JOINT_GA_CACHE=str(folder / "cache"))
    return folder


def commands():
    return blocks("own_model.md", "sh")[0].splitlines()


def test_at_most_five_commands_and_fifteen_lines():
    assert len(commands()) <= 5
    lines = [line for line in blocks("own_model.md", "python")[0].splitlines() if line.strip()]
    assert len(lines) <= 15


@pytest.mark.slow
@pytest.mark.nni
def test_own_model_from_init_to_the_front(own_model):
    (run,) = [line for line in commands() if line.startswith("joint-ga run")]
    out = joint_ga(run, own_model, JOINT_GA_CACHE=str(own_model / "cache"))
    assert "4/4 complete" in out
    assert "uniform int8" in out
    assert next((own_model / "runs").glob("*/front.csv")).read_text().count("\n") >= 2


@pytest.mark.slow
def test_init_overwrites_nothing(own_model):
    done = subprocess.run(
        [sys.executable, "-m", "nni_plugin.cli", "init", "--device", "stm32f746"],
        cwd=own_model,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    for name in ("space.json", "space.network.json", "ga_joint.yml"):
        assert name in done.stderr
    assert "are there already: --force" in done.stderr


@pytest.mark.slow
def test_init_writes_a_config_that_passes_the_check(own_model, monkeypatch):
    monkeypatch.chdir(own_model)
    monkeypatch.setenv("NNI_CONFIG_DIR", str(own_model))
    from nni_plugin.registration import register

    register()
    assert check_config("ga_joint.yml") == []
    settings = yaml.safe_load((own_model / "ga_joint.yml").read_text())
    assert settings["tuner"]["classArgs"]["objectives"] == {
        "accuracy": "maximize",
        "size_kb": "minimize",
        "latency_ms": "minimize",
    }


@pytest.mark.slow
def test_a_model_that_was_changed_is_told_as_the_page_shows(own_model, tmp_path):
    shutil.copytree(own_model, tmp_path / "changed")
    model = tmp_path / "changed" / "my_model.py"
    wider = (
        model.read_text()
        .replace("(16, 32, 3, 2)", "(16, 64, 3, 2)")
        .replace("(128, 10", "(256, 10")
    )
    model.write_text(wider)
    (told,) = [
        text for text in blocks("own_model.md", "text") if text.startswith("$ joint-ga check")
    ]
    command, *lines = told.removeprefix("$ ").splitlines()
    with pytest.raises(AssertionError) as failed:
        joint_ga(
            command,
            tmp_path / "changed",
            NNI_CONFIG_DIR=str(own_model),
            JOINT_GA_CACHE=str(own_model / "cache"),
        )
    assert " ".join(lines) in str(failed.value)


def test_three_lines_for_an_existing_setup():
    tuner = yaml.safe_load(blocks("existing_setup.md", "yaml")[0])
    assert len(blocks("existing_setup.md", "yaml")[0].splitlines()) == 3
    from nni_plugin.study.tuner_args import TunerArgs

    TunerArgs.parse(tuner["tuner"]["classArgs"])
    assert tuner["tuner"]["name"] == "JointGA"
    for line in blocks("existing_setup.md", "sh")[0].splitlines():
        assert (REPOSITORY / line.split()[2]).is_file()


def test_the_custom_device_of_the_tutorial(tmp_path):
    profile = tmp_path / "my_board.yml"
    profile.write_text(blocks("custom_device.md", "yaml")[0])
    device = hardware.load_device(profile)
    network = hardware.Network.load(REPOSITORY / "experiment_configs/digits.space.network.json")
    assert hardware.estimate(network.apply({}), device).latency_ms > 0


@pytest.mark.slow
def test_search_without_nni_gives_a_trials_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))
    task = "nni_plugin.setup.template_task:build"
    result = search(
        task, "stm32f746", trials=3, epochs=1, folder=tmp_path / "run", progress=False,
        population_size=4,
    )  # fmt: skip
    assert result.stopped == "trials"
    assert len(result.frame) == 3
    assert "<table" in result._repr_html_()
    chosen = result.front[0]
    params = tmp_path / "params.json"
    params.write_text(json.dumps(chosen.params))
    done = subprocess.run(
        (
            f"{sys.executable} -m nni_plugin.trial --task {task} --device stm32f746 --epochs 1 "
            f"--params {params}"
        ).split(),
        capture_output=True,
        text=True,
        check=True,
    )
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics == chosen.metrics
    again = search(
        task, "stm32f746", trials=4, epochs=1, folder=tmp_path / "run", population_size=4
    )
    assert re.search(r"uid 4: .*100%", capsys.readouterr().out), "a bar, with the latest result"
    assert Experiment(again.folder).log.counts()["complete"] == 4
    with pytest.raises(ValueError, match="trials=0"):
        search(task, "stm32f746", trials=0)

    # NNI's tuner, told the same results one after the other, asks the same chromosomes.
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", str(tmp_path / "nni"))
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path / "nni" / "log"))
    (tmp_path / "nni" / "log").mkdir(parents=True)
    log = Experiment(again.folder).log
    tuner = JointGATuner(
        objectives=log.objectives, population_size=4, seed=0,
        costs={"network": str(tmp_path / "run" / "network.json"), "device": "stm32f746"},
    )  # fmt: skip
    tuner.update_search_space(log.space)
    for number, uid in enumerate(sorted(log.trials)):
        (params,) = tuner.generate_multiple_parameters([number])
        assert {**log.trials[uid].params, "uid": uid} == params
        tuner.receive_trial_result(number, params, log.trials[uid].metrics)
    tuner._on_exit()


@pytest.mark.parametrize(("name", "device"), [("digits", "stm32f746"), ("kws", "stm32l4r5")])
def test_the_committed_space_belongs_to_the_committed_network(name, device):
    committed = REPOSITORY / "experiment_configs" / f"{name}.space.network.json"
    network = hardware.Network.load(committed)
    assert network.metadata["task"] == f"evaluators.tasks.{name}:build"
    space = for_network(network, hardware.load_device(device))
    assert space == json.loads(committed.with_name(f"{name}.space.json").read_text())


@pytest.mark.slow
def test_the_space_command_writes_the_committed_digits_space(tmp_path):
    """But for the sensitivities, which `joint-ga sensitivity` adds."""
    joint_ga(
        "joint-ga space --task evaluators.tasks.digits:build --device stm32f746 "
        "-o digits.space.json",
        tmp_path,
        JOINT_GA_CACHE=os.environ.get("JOINT_GA_CACHE", str(Path.home() / ".cache" / "joint-ga")),
    )
    for name in ("digits.space.json", "digits.space.network.json"):
        committed = json.loads((REPOSITORY / "experiment_configs" / name).read_text())
        committed.get("metadata", {}).pop("sensitivities", None)
        assert json.loads((tmp_path / name).read_text()) == committed


KWS_DATA = DATA / "kws_arabic.npz"


@pytest.mark.slow
@pytest.mark.nni
@pytest.mark.usefixtures("emulator")
@pytest.mark.skipif(not KWS_DATA.is_file(), reason=f"the keyword features are not at {KWS_DATA}")
def test_keyword_spotting_from_training_to_c(tmp_path):
    """The page word by word, with every eighth clip, two epochs and four trials."""
    task, check = blocks("kws_to_c.md", "python")
    (tmp_path / "my_kws.py").write_text(
        task.replace("EPOCHS = 40", "EPOCHS = 2").replace("FINE_TUNING = 3", "FINE_TUNING = 1")
    )
    pack = np.load(KWS_DATA)
    few = {name: pack[name][::8] for name in ("x", "y12", "split")}
    np.savez(tmp_path / "kws_arabic.npz", **few)
    cache = {"JOINT_GA_CACHE": str(tmp_path / "cache")}
    search_commands, export = blocks("kws_to_c.md", "sh")
    assert "--trials 60" in search_commands
    for command in search_commands.replace("--trials 60", "--trials 4").splitlines():
        out = joint_ga(command, tmp_path, **cache)
    assert "4/4 complete" in out
    (report,) = (tmp_path / "runs").iterdir()
    # Two epochs don't reach 0.9.
    export = export.replace("EXPERIMENT", report.name).replace("accuracy >= 0.9", "accuracy >= 0")
    joint_ga(export.strip(), tmp_path, **cache)
    (tmp_path / "check.py").write_text(check)
    done = subprocess.run(
        [sys.executable, "check.py"],
        cwd=tmp_path,
        env={**os.environ, **cache, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 of 40 predictions differ\n"
    (example,) = blocks("kws_to_c.md", "c")
    (tmp_path / "heard.c").write_text(example)
    flags = ["-mcpu=cortex-m4", "-mthumb", "-O2", "-Wall", "-Wextra", "-Wno-unused-function"]
    for source in ("heard.c", "deploy/c/kws.c"):
        subprocess.run(
            ["arm-none-eabi-gcc", *flags, "-Werror", "-Ideploy/c", "-c", source, "-o", "out.o"],
            cwd=tmp_path,
            check=True,
        )
