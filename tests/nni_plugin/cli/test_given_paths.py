"""Every path and name that a command takes: a wrong one is told in a line, before any work."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from evaluators.supernet.weights import Supernet
from nni_plugin.cli.app import app
from support.paths import REPOSITORY

CONFIGS = REPOSITORY / "experiment_configs"
UNWRITABLE = "/proc/sys/joint-ga"
"""Nobody can write there, root neither."""

NETWORK, DEVICE = ("--network", "n.network.json"), ("--device", "stm32f746")
TASK = ("--task", "no_such_task:build")
"""Loading it would fail: what is told of another option was told before."""
PARAMS = ("--params", "p.json")
SPACE = ("--space", "digits.space.json")

# Of each kind: the value given, and a part of what is told.
FILE = (
    ("n.netwrok.json", "(did you mean 'n.network.json'?)"),
    ("folder", "folder: a folder, not a file"),
    ("plain.txt/x.json", "'plain.txt' is a file, not a folder"),
    ("nowhere/x.json", "there is no folder 'nowhere'"),
    ("bytes.json", "bytes.json"),
)
PARAMS_FILE = (("q.json", "(did you mean 'p.json'?)"), *FILE[1:])
TABLE = (("m.csw", "(did you mean 'm.csv'?)"), *FILE[1:])
CONFIG = (
    ("ga.yaml", "no such file (did you mean 'ga.yml'?)"),
    ("folder", "folder: a folder, not an experiment's YAML file"),
    *FILE[2:],
)
EXPERIMENT = (
    ("exq1", "there is no experiment 'exq1'"),
    ("./exq1", "there is no folder ./exq1 (did you mean 'exp1'?)"),
    ("folder", "folder holds no experiment (no journal.jsonl) (in"),
    ("folder", "there are: exp1)"),
    ("exp1/checkpoint/journal.jsonl", "is a file, not an experiment's folder (did you mean"),
    ("plain.txt", "plain.txt is a file, not an experiment's folder"),
)
WHERE = (
    ("nowhere", "--dir nowhere: no such folder (in"),
    ("plain.txt", "--dir plain.txt: no such folder"),
    (".", "there is no experiment 'exq1' in . (did you mean 'exp1'?)"),
)
OUT_FOLDER = (
    ("plain.txt", "--output plain.txt: can't be written, plain.txt is a file"),
    ("plain.txt/below/it", "can't be written, plain.txt is a file: give another folder"),
    (UNWRITABLE, f"--output {UNWRITABLE}: can't be written"),
)
OUT_FILE = (
    ("folder", "--output folder: a folder: give the name of a file"),
    ("plain.txt/x.json", "can't be written, plain.txt is a file"),
    (f"{UNWRITABLE}/x.json", "can't be written"),
    ("/proc/sys/kernel/ostype/x.json", "can't be written"),
)
BOARD = (
    ("stm32f764", "no device 'stm32f764' (did you mean 'stm32f746'?)"),
    ("bord.yml", "no device 'bord.yml' (did you mean 'board.yml'?)"),
    ("folder", "no device 'folder'"),
    ("plain.txt/x.yml", "no device 'plain.txt/x.yml'"),
    ("bytes.yml", "bytes.yml"),
)
MODULE = (
    ("no_such_task:build", "does not import: there is none of this name"),
    ("evaluators.tasks.digits:biuld", "has no function 'biuld' (did you mean 'build'?)"),
    ("evaluators.tasks.digit:build", "(did you mean 'digits'?)"),
    ("digits", "must be 'module:function'"),
)

Case = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
WRONG: dict[str, Case] = {
    "run config": (("run", "{}"), CONFIG),
    "run output": (("run", "ga.yml", "-o", "{}"), OUT_FOLDER),
    "run engine": (
        ("run", "ga.yml", "--engine", "{}"),
        (("lokal", "engine 'lokal' (allowed: nni, local, ray)"),),
    ),
    "finish experiment": (("finish", "{}"), EXPERIMENT),
    "finish directory": (("finish", "exq1", "--dir", "{}"), WHERE),
    "mcp directory": (("mcp", "--dir", "{}"), WHERE[:2]),
    "nni_files target": (
        ("nni-files", "--wheel", "bytes.json", "--target", "{}"),
        tuple((value, told.replace("--output", "--target")) for value, told in OUT_FOLDER),
    ),
    "nni_files wheel": (
        ("nni-files", "--target", "new", "--wheel", "{}"),
        (
            ("nowhere.whl", "nowhere.whl: no such file or folder"),
            ("bytes.json", "bytes.json is no wheel"),
            ("folder", "folder: "),
        ),
    ),
    "resume experiment": (("resume", "{}"), EXPERIMENT),
    "resume directory": (("resume", "exq1", "--dir", "{}"), WHERE),
    "resume output": (("resume", "exp1", "--dir", ".", "-o", "{}"), OUT_FOLDER),
    "check config": (("check", "{}"), CONFIG),
    "report experiment": (("report", "{}"), EXPERIMENT),
    "report directory": (("report", "exq1", "--dir", "{}"), WHERE),
    "report output": (("report", "exp1", "-o", "{}"), OUT_FOLDER),
    "watch experiments": (("watch", "{}"), EXPERIMENT),
    "watch directory": (("watch", "exq1", "--dir", "{}"), WHERE),
    "compare experiments": (("compare", "exp1", "{}"), EXPERIMENT),
    "compare directory": (("compare", "exq1", "exp1", "--dir", "{}"), WHERE),
    "compare output": (("compare", "exp1", "exp1", "-o", "{}"), OUT_FOLDER),
    "export experiment": (("export", "{}", "--knee"), EXPERIMENT),
    "export directory": (("export", "exq1", "--knee", "--dir", "{}"), WHERE),
    "export output": (("export", *TASK, *DEVICE, *PARAMS, "-o", "{}"), OUT_FOLDER),
    "export task": (("export", "--task", "{}", *DEVICE, *PARAMS), MODULE),
    "export device": (("export", *TASK, "--device", "{}", *PARAMS), BOARD),
    "export params": (("export", *TASK, *DEVICE, "--params", "{}"), PARAMS_FILE),
    "export network": (("export", *TASK, *DEVICE, *PARAMS, "--network", "{}"), FILE),
    "export supernet": (("export", *TASK, *DEVICE, *PARAMS, "--supernet", "{}"), FILE),
    "supernet task": (("supernet", "--task", "{}", *SPACE), MODULE),
    "supernet space": (
        ("supernet", *TASK, "--space", "{}"),
        (("n.jsn", "(did you mean 'n.json'?)"), *FILE[1:]),
    ),
    "supernet device": (("supernet", *TASK, *SPACE, "--device", "{}"), BOARD),
    "supernet output": (("supernet", *TASK, *SPACE, "-o", "{}"), OUT_FILE),
    "supernet network": (("supernet", *TASK, *SPACE, "--network", "{}"), FILE),
    "supernet accelerator": (
        ("supernet", *TASK, *SPACE, "--accelerator", "{}"),
        (("gpu", "--accelerator 'gpu': write one of auto, cpu, cuda, mps"),),
    ),
    "supernet_seeds supernet": (
        ("supernet-seeds", "{}", *TASK, *DEVICE),
        (("n.pt", "(did you mean 's.pt'?)"), *FILE[1:]),
    ),
    "supernet_seeds task": (("supernet-seeds", "s.pt", *DEVICE, "--task", "{}"), MODULE),
    "supernet_seeds device": (("supernet-seeds", "s.pt", *TASK, "--device", "{}"), BOARD),
    "supernet_seeds output": (("supernet-seeds", "s.pt", *TASK, *DEVICE, "-o", "{}"), OUT_FILE),
    "supernet_seeds network": (
        ("supernet-seeds", "s.pt", *TASK, *DEVICE, "--network", "{}"),
        FILE,
    ),
    "supernet_seeds cost": (
        ("supernet-seeds", "s.pt", *TASK, *DEVICE, "--cost", "{}"),
        (("ram", "(did you mean 'ram_kb'?)"),),
    ),
    "space task": (("space", "--task", "{}", *DEVICE), MODULE),
    "space device": (("space", *TASK, "--device", "{}"), BOARD),
    "space output": (("space", *TASK, *DEVICE, "-o", "{}"), OUT_FILE),
    "profile task": (("profile", "--task", "{}", *DEVICE), MODULE),
    "profile device": (("profile", *NETWORK, "--device", "{}"), BOARD),
    "profile network": (("profile", *DEVICE, "--network", "{}"), FILE),
    "profile params": (("profile", *NETWORK, *DEVICE, "--params", "{}"), PARAMS_FILE),
    "sensitivity task": (("sensitivity", "--task", "{}", *DEVICE), MODULE),
    "sensitivity device": (("sensitivity", *TASK, "--device", "{}"), BOARD),
    "sensitivity output": (("sensitivity", *TASK, *DEVICE, "-o", "{}"), OUT_FILE),
    "sensitivity space": (
        ("sensitivity", *TASK, *DEVICE, "--space", "{}"),
        (("n.jsn", "(did you mean 'n.json'?)"), *FILE[1:]),
    ),
    "calibrate device": (("calibrate", "--measured", "m.csv", "--device", "{}"), BOARD),
    "calibrate measured": (("calibrate", *DEVICE, "--measured", "{}"), TABLE),
    "measure network": (("measure", "--network", "{}"), FILE),
    "measure params": (("measure", *NETWORK, "--params", "{}"), PARAMS_FILE),
    "measure backend": (
        ("measure", *NETWORK, "--backend", "{}"),
        (("onnxruntime-in8", "(did you mean 'onnxruntime-int8'?)"),),
    ),
    "init folder": (
        ("init", "{}", *DEVICE, "--task", "evaluators.tasks.digits:build"),
        (
            ("plain.txt", "plain.txt is a file: give a folder to write into"),
            ("plain.txt/below", "plain.txt is a file"),
            (UNWRITABLE, f"{UNWRITABLE}: can't be written"),
        ),
    ),
    "init task": (("init", "new", *DEVICE, "--no-check", "--task", "{}"), MODULE),
    "init device": (("init", "new", *TASK, "--device", "{}"), BOARD),
    "init limit": (
        ("init", "new", *DEVICE, *TASK, "--limit", "{}"),
        (("ram<=64", "did you mean 'ram_kb <= 64', in KB?"), ("ram_kb 64", "ram_kb")),
    ),
    "init objective": (
        ("init", "new", *DEVICE, *TASK, "--objective", "{}"),
        (("ram", "(did you mean 'ram_kb'?)"),),
    ),
}
NO_PATH = {
    # Handed to the task's function, which says what it needs.
    "data",
    "trial", "pick", "schedule", "extra", "weight_bits", "activation_bits", "stack", "host",
    # Patterns of layers, kinds of files, a C identifier, a type: tested where they are read.
    "keep", "bits", "ratios", "need", "c_prefix", "onnx_integers",
    # Of a Ray cluster, which says whether it is there.
    "address",
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, write: Callable[..., Path]) -> Path:
    """A folder with one right file of each kind, and some that are wrong."""
    write()
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain.txt").write_text("text\n")
    for name in ("bytes.json", "bytes.yml"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "p.json").write_text(json.dumps({"stem.0.prune": 0.5}))
    (tmp_path / "m.csv").write_text("network,latency_ms\nic,10\nkws,3\n")
    (tmp_path / "n.json").write_text("{}")
    Supernet({}, {}, {"a.w_bits": [8]}, {}).save(tmp_path / "s.pt")
    shutil.copy(CONFIGS / "digits.space.network.json", tmp_path / "n.network.json")
    shutil.copy(CONFIGS / "digits.space.network.json", tmp_path)
    shutil.copy(CONFIGS / "digits.space.json", tmp_path)
    shutil.copy(CONFIGS / "ga_joint.yml", tmp_path / "ga.yml")
    shutil.copy(REPOSITORY / "hardware" / "devices" / "stm32l4r5.yml", tmp_path / "board.yml")
    return tmp_path


def cases() -> Iterator[Any]:
    for name, (words, values) in WRONG.items():
        for value, told in values:
            yield pytest.param(words, value, told, id=f"{name}={value}")


def visible(folder: Path) -> list[Path]:
    """What is in it, but for what libraries keep in a home of theirs."""
    found = (path for path in folder.rglob("*") if path.relative_to(folder).parts[0][0] != ".")
    return sorted(found)


@pytest.mark.parametrize(("words", "value", "told"), list(cases()))
def test_a_wrong_path_or_name_is_one_line(
    joint_ga: Callable[..., Any], here: Path, words: tuple[str, ...], value: str, told: str
) -> None:
    before = visible(here)
    done = joint_ga(*(word.replace("{}", value) for word in words))
    assert done.returncode in (1, 4), done
    assert told.replace("{here}", str(here)) in done.stderr
    assert done.stderr.startswith("joint-ga: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert visible(here) == before


def test_the_table_holds_every_path_and_name() -> None:
    missing = []
    for command in app.registered_commands:
        function: Any = inspect.unwrap(command.callback)  # type: ignore[arg-type]  # every command has one
        for name, hint in get_type_hints(function).items():
            texts = hint in (str, Path, str | None, Path | None, list[str], list[str] | None)
            if texts and name not in {*NO_PATH, "return"}:
                missing.append(f"{command.name or function.__name__} {name}")
    assert sorted({*missing} - {*WRONG}) == []
    assert sorted({*WRONG} - {*missing}) == []


def test_experiments_that_cannot_be_written(joint_ga: Callable[..., Any], here: Path) -> None:
    config = (here / "ga.yml").read_text()
    for folder in ("plain.txt", "plain.txt/below", UNWRITABLE):
        (here / "ga.yml").write_text(f"{config}experimentWorkingDirectory: {folder}\n")
        done = joint_ga("check", "ga.yml", "--no-task")
        assert done.returncode == 4
        assert "joint-ga: experimentWorkingDirectory: " in done.stderr
        assert "can't be written" in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("network: digits.space.net", "network: digits.spice.net", "did you mean 'digits.space"),
        ("device: stm32f746", "device: stm32f764", "(did you mean 'stm32f746'?)"),
        ("--device stm32f746", "--device stm32f764", "(did you mean 'stm32f746'?)"),
        ("device: stm32f746", "device: bord.yml", "(did you mean 'board.yml'?)"),
        ("--network digits.space", "--network digit.space", "did you mean 'digits.space.network"),
        (
            "searchSpaceFile: digits",
            "searchSpaceFile: digit",
            "(did you mean 'digits.space.json'?)",
        ),
        ("ram_kb:", "ram:", "(did you mean 'ram_kb'?)"),
        ("trialCodeDirectory: .", "trialCodeDirectory: plain.txt", "plain.txt is no folder"),
    ],
)
def test_names_in_a_config(
    joint_ga: Callable[..., Any], here: Path, old: str, new: str, told: str
) -> None:
    config = (here / "ga.yml").read_text()
    assert old in config
    (here / "ga.yml").write_text(config.replace(old, new))
    done = joint_ga("check", "ga.yml", "--no-task")
    assert done.returncode == 4
    assert told in done.stderr
    assert "Traceback" not in done.stderr
