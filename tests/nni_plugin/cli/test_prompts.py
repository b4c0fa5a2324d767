"""The questions of ``joint-ga init``, answered line by line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from nni_plugin.cli import prompts

Answer = Callable[..., None]


class Terminal(io.StringIO):
    """Lines that somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    def type_lines(*lines: str, at: type[io.StringIO] = Terminal) -> None:
        monkeypatch.setattr("sys.stdin", at("".join(line + "\n" for line in lines)))

    return type_lines


def test_somebody_can_be_asked_on_a_terminal_only(answer: Answer) -> None:
    answer()
    assert prompts.can_ask()
    answer(at=io.StringIO)
    assert not prompts.can_ask()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("my_model:build", "my_model:build"),
        ("  pkg.models:make?width=2&remove_dead=1 ", "pkg.models:make?width=2&remove_dead=1"),
    ],
)
def test_a_task(answer: Answer, text: str, expected: str | None) -> None:
    answer(text)
    assert prompts.ask_task() == expected


@pytest.mark.parametrize("bad", ["my_model", "my_model:", ":build", "my model:build", "a/b.py:f"])
def test_a_task_of_another_form_is_asked_for_again(
    answer: Answer, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    answer(bad, "my_model:build")
    assert prompts.ask_task() == "my_model:build"
    assert f"{bad!r} is no MODULE:FUNCTION" in capsys.readouterr().out


def test_a_device(answer: Answer, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer("abacus", str(tmp_path / "board.yml"), "")
    assert prompts.ask_device() == "stm32f746", "an empty line takes the default"
    said = capsys.readouterr().out
    assert "no device 'abacus'" in said
    assert "board.yml" in said
    assert "stm32l4r5" in said, "the choice is shown"
    answer(" stm32l4r5:tflm ")
    assert prompts.ask_device() == "stm32l4r5:tflm"


def test_where_nobody_can_be_asked_the_device_is_the_default(answer: Answer) -> None:
    answer("stm32l4r5", at=io.StringIO)
    assert prompts.ask_device() == "stm32f746"


def test_limits(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    answer("ram_kb <= 64, accuracy >= 0.95")
    assert prompts.ask_limits() == ("ram_kb <= 64", "accuracy >= 0.95")
    answer("")
    assert prompts.ask_limits() == ()
    answer("ram_kb about 64", "ram_kb <= 64,")
    assert prompts.ask_limits() == ("ram_kb <= 64",)
    assert "about 64" in capsys.readouterr().out


def test_a_budget(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    answer("")
    assert prompts.ask_trials() == prompts.DEFAULT_TRIALS
    answer("0", "-3", "many", "1.5", "12")
    assert prompts.ask_trials() == 12
    said = capsys.readouterr().out
    for bad in ("'0'", "'-3'", "'many'", "'1.5'"):
        assert f"{bad} is no number of trials" in said


def test_files_in_the_way(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    for typed, expected in (("y", True), ("", False)):
        answer(typed)
        assert prompts.ask_to_replace([Path("a/space.json"), Path("a/ga_joint.yml")]) is expected
        assert "There already: a/space.json, a/ga_joint.yml." in capsys.readouterr().out


def test_the_end_of_the_input_ends_the_questions(answer: Answer) -> None:
    answer("0")
    with pytest.raises(typer.Abort):
        prompts.ask_trials()
