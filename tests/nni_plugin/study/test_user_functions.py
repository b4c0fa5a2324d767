"""Functions of a user's own files, and ``sys.path`` before and after."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from nni_plugin.setup.config_check import check_config
from nni_plugin.setup.scaffold import Plan, write_plan
from nni_plugin.study.study import Study
from nni_plugin.study.tuner_args import TunerArgs
from nni_plugin.study.user_functions import import_path, load_function


@pytest.fixture(autouse=True)
def the_path_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test does to it, the next one finds it whole."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_folders_are_on_the_path_for_the_time_of_a_block(tmp_path: Path) -> None:
    before = list(sys.path)
    with import_path(tmp_path, before[-1]):
        assert sys.path == [*before, str(tmp_path)]
    assert sys.path == before
    with import_path(tmp_path, first=True):
        assert sys.path == [str(tmp_path), *before]
    with pytest.raises(ZeroDivisionError), import_path(tmp_path):
        raise ZeroDivisionError
    assert sys.path == before


def test_what_stands_on_the_path_already_stays_there(tmp_path: Path) -> None:
    sys.path.append(str(tmp_path))
    before = list(sys.path)
    with import_path(tmp_path, first=True):
        assert sys.path == before
    assert sys.path == before


def test_a_cost_function_may_import_its_neighbours_when_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "late_neighbour.py").write_text("FACTOR = 3\n")
    (tmp_path / "late_costs.py").write_text(
        "def price(p):\n    import late_neighbour\n    return {'price': late_neighbour.FACTOR}\n"
        "price.batch = lambda many: [price(p) for p in many]\n"
    )
    before = list(sys.path)
    costs = TunerArgs.parse({"costs": "late_costs:price"}, base=[tmp_path]).cost_model()
    assert costs is not None
    assert sys.path == before
    assert costs.batch([{}]) == [{"price": 3}]
    assert costs({}) == {"price": 3}
    assert sys.path == before
    assert not hasattr(costs, "phenotype")


def test_an_operator_may_import_its_neighbours_when_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "late_table.py").write_text("ALLELE = 2\n")
    (tmp_path / "late_operators.py").write_text(
        "def to(individual, rng, place):\n    import late_table\n    assert rng.random() < 1\n"
        "    individual[place] = late_table.ALLELE\n    return (individual,)\n"
    )
    before = list(sys.path)
    class_args = {
        "toolbox": {
            "mutate": {"function": "late_operators:to", "place": 1},
            "mate": "deap.tools:cxTwoPoint",
        },
        "surrogate": "none",
    }
    args = TunerArgs.parse(class_args, base=[tmp_path])
    space = {name: {"_type": "choice", "_value": [1, 2, 4]} for name in "abc"}
    toolbox = Study(args, space, tmp_path / "j.jsonl", class_args).optimizer.toolbox
    assert sys.path == before
    # The interpreter has seen the module while the operator was tried out.
    del sys.modules["late_table"]
    individual = toolbox.individual((0, 0, 0))
    toolbox.mutate(individual, rng=random.Random(0))
    assert list(individual) == [0, 2, 0]
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import no_such_module", "no_such_module"),
        ("price = 3", "is 3, not a function"),
        ("raise KeyError('x')", "x"),
    ],
)
def test_the_path_is_put_back_when_the_module_is_broken(
    tmp_path: Path, text: str, words: str
) -> None:
    name = f"broken_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text + "\n")
    before = list(sys.path)
    with pytest.raises((ValueError, KeyError), match=words):
        load_function("costs", f"{name}:price", [tmp_path])
    assert sys.path == before


def test_checking_a_config_leaves_the_path_alone(tmp_path: Path) -> None:
    pytest.importorskip("nni")
    (tmp_path / "others_tuner.py").write_text("class Mine: pass\n")
    (tmp_path / "config.yml").write_text(
        "searchSpace: {x: {_type: choice, _value: [1, 2]}}\ntrialCommand: python t.py\n"
        "tuner: {className: others_tuner.Mine, codeDirectory: .}\n"
    )
    before = list(sys.path)
    problems = check_config(tmp_path / "config.yml")
    assert not [p for p in problems if "others_tuner" in p]
    assert sys.path == before


def test_a_plan_whose_task_fails_leaves_the_path_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "no_data_task.py").write_text("def build(): raise ValueError('no data')")
    plan = Plan(tmp_path / "inner", "no_data_task:build", "stm32f746", 4, 1, {}, ("size_kb",))
    before = list(sys.path)
    with pytest.raises(ValueError, match="no data"):
        write_plan(plan)
    assert [p for p in sys.path if p not in before] in ([], [str(tmp_path)]), "the task loader's"
