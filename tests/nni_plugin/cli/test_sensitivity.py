"""`joint-ga sensitivity` from the table to the tuner's first candidates."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from nni_plugin import JointGATuner
from nni_plugin.cli.app import app
from nni_plugin.cli.sensitivity import in_space

TASK = ("--task", "evaluators.tasks.digits:build", "--device", "stm32f746")


def test_the_table_seeds_the_population_of_an_init_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner().invoke
    quick = ("--no-check", "--no-supernet")
    done = run(app, ["init", str(tmp_path / "exp"), *TASK, "--trials", "40", *quick])
    assert done.exit_code == 0, done.output
    monkeypatch.chdir(tmp_path / "exp")

    def first() -> list[dict[str, object]]:
        config = yaml.safe_load(Path("ga_joint.yml").read_text())
        tuner = JointGATuner(**config["tuner"]["classArgs"])
        tuner.update_search_space(json.loads(Path("space.json").read_text()))
        # A journal would make the next tuner go on with this search.
        made = tuner.generate_multiple_parameters(list(range(8)))
        Path("journal.jsonl").unlink()
        return [{k: v for k, v in params.items() if k != "uid"} for params in made]

    before = first()
    done = run(app, ["sensitivity", *TASK, "-o", "out/table.csv", "--space", "space.json"])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(Path("out/table.csv").read_text().splitlines()))
    assert {"layer", "gene", "value", "metric", "drop"} == set(rows[0])
    assert Path("out/table.png").read_bytes().startswith(b"\x89PNG")
    noted = json.loads(Path("space.network.json").read_text())["metadata"]["sensitivities"]
    assert set(noted) == {row["gene"] for row in rows}
    for row in rows:
        assert noted[row["gene"]][f"{float(row['value']):g}"] == float(row["drop"])
    # Nothing else changed, and the first candidates are other ones now.
    assert first() != before

    # The measured ladder goes in as the printed line says.
    rungs = json.loads(Path("space.ladder.json").read_text())
    config = yaml.safe_load(Path("ga_joint.yml").read_text())
    config["tuner"]["classArgs"]["initial"] = "space.ladder.json"
    Path("ga_joint.yml").write_text(yaml.safe_dump(config))
    assert "initial: space.ladder.json" in done.output
    assert first()[: len(rungs)] == rungs[:8]
    # From the cache, though the network file has changed meanwhile, and to the same effect.
    again = run(app, ["sensitivity", *TASK, "--space", "space.json"])
    assert again.exit_code == 0, again.output
    assert json.loads(Path("space.ladder.json").read_text()) == rungs


def test_a_rung_is_rounded_to_milder_values_of_the_space() -> None:
    genes = {
        "a.prune": {"_type": "choice", "_value": [0.0, 0.25, 0.5]},
        "b.prune": {"_type": "choice", "_value": [0.0, 0.25, 0.5]},
        "a.w_bits": {"_type": "choice", "_value": [2, 4, 8]},
        "b.w_bits": {"_type": "choice", "_value": [4, 8]},
        "a.sparsity": {"_type": "choice", "_value": [0.0, 0.5]},
        "a.rank": {"_type": "choice", "_value": [0.5, 1.0]},
        "a.w_scheme": {"_type": "choice", "_value": ["uniform", "power_of_two"]},
    }
    rung = {"a.prune": 0.375, "a.w_bits": 3, "b.w_bits": 2}
    assert in_space(rung, genes) == {
        "a.prune": 0.25,
        "b.prune": 0.0,
        "a.w_bits": 4,
        "b.w_bits": 4,
        "a.sparsity": 0.0,
        "a.rank": 1.0,
        "a.w_scheme": "uniform",
    }


def test_a_wrong_space_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text("[1]")
    done = CliRunner().invoke(app, ["sensitivity", *TASK, "--space", str(tmp_path / "space.json")])
    assert "is no NNI search space" in str(done.exception)
    (tmp_path / "space.json").write_text("{}")
    done = CliRunner().invoke(app, ["sensitivity", *TASK, "--space", str(tmp_path / "space.json")])
    assert isinstance(done.exception, FileNotFoundError)
    assert "space.network.json" in str(done.exception)
