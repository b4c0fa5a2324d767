"""``--json``: one document of every command, whatever becomes of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from nni_plugin.cli import agent_server, output
from nni_plugin.cli.app import app
from support.journals import searched

COMMANDS = [command for command in app.registered_commands if command.callback]


def document(done) -> dict[str, object]:
    """Stdout, all of which is one document."""
    (line,) = done.stdout.splitlines()
    found = json.loads(line, parse_constant=pytest.fail)
    assert found["format"] == output.FORMAT
    assert found["exit_code"] == done.returncode
    assert (found["error"] is None) == (done.returncode == 0)
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.callback.__name__)
def test_every_command_has_it(command) -> None:
    if command.callback is agent_server.mcp:
        pytest.skip("its stdout is a protocol's")
    name = command.name or command.callback.__name__.replace("_", "-")
    done = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert "--json" in done.output


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["report", "nope"], "no experiment 'nope'", 1),
        (["check", "missing.yml"], "missing.yml: no such file", 4),
        (["profile", "--device", "pdp11", "--network", "x.json"], "pdp11", 1),
        (["profile", "--device", "stm32f746"], "--task and --network", 2),
        (["export", "-o", "out"], "EXPERIMENT", 2),
        (["report"], "wrong usage", 2),
        (["nonsense"], "wrong usage", 2),
    ],
)
def test_errors_are_documents_too(joint_ga, arguments, message, exit_code) -> None:
    done = joint_ga(*arguments, "--json")
    assert done.returncode == exit_code
    found = document(done)
    assert message in found["error"]
    assert found["command"] == arguments[0]


def test_what_the_commands_on_results_give(joint_ga, write, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(searched(40, 4), "first")
    write(searched(20, 4, seed=1), "second")
    where = ("--dir", str(tmp_path))
    listed = document(joint_ga("watch", *where, "--json"))["experiments"]
    assert {each["experiment"]: each["complete"] for each in listed} == {"first": 40, "second": 20}
    report = document(joint_ga("report", "first", *where, "-o", "report", "--json"))
    assert all(Path(path).is_file() for path in report["files"].values())
    assert report["counts"]["complete"] == 40
    named = [row for row in report["front"] if "knee" in row["names"]]
    assert len(named) == 1
    assert named[0]["metrics"]["size_kb"] > 0
    compared = document(joint_ga("compare", "first", "second", *where, "--json"))
    (table,) = compared["tables"]
    assert [row["experiment"] for row in table["rows"]] == ["first", "second"]
    # Without it the same command is for people.
    assert "Pareto front" in joint_ga("report", "first", *where, "-o", "report").stdout


def test_what_is_said_goes_to_stderr_and_numbers_that_json_lacks_are_null(capsys) -> None:
    def command(number: int) -> None:
        print("on the way")
        output.add_result(best=np.float64(0.5), worst=float("nan"), path=Path("a/b"), n=number)
        output.add_table("t", [{"x": float("inf"), "y": True}])

    either = output.with_json(command)
    either(7, as_json=True)
    printed, said = capsys.readouterr()
    found = json.loads(printed)
    assert said == "on the way\n"
    assert found["said"] == ["on the way"]
    assert (found["best"], found["worst"], found["path"], found["n"]) == (0.5, None, "a/b", 7)
    assert found["tables"] == [{"title": "t", "rows": [{"x": None, "y": True}]}]
    either(7)
    assert capsys.readouterr().out == "on the way\n"


def test_an_interrupt_is_a_document(capsys) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    def refuses() -> None:
        print("joint-ga: error: no trial gave a result")
        raise typer.Exit(3)

    with pytest.raises(KeyboardInterrupt):
        output.with_json(stopped)(as_json=True)
    assert json.loads(capsys.readouterr().out)["exit_code"] == 130
    with pytest.raises(typer.Exit):
        output.with_json(refuses)(as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["exit_code"], found["error"]) == (3, "no trial gave a result")
