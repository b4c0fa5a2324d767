"""Trainings to the end within a search: which, when, what they change, and after a restart."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from ga.evaluation import COMPLETE, FAILED
from nni_plugin.protocol.metrics import UID
from nni_plugin.results.finalists import finalists
from nni_plugin.results.pareto_front import FrontHistory
from nni_plugin.study.final_plan import ATTEMPTS
from nni_plugin.study.journal import read
from nni_plugin.study.replays import take_in
from nni_plugin.study.trial import FinalTrial
from nni_plugin.study.trial_log import TrialLog
from support.final_search import FINAL, SPACE, next_trial, result, run, search

PLANNED = 30


def state(folder: Path, study: object = None) -> object:
    """What a search is made of: what is known, the front, and what it would ask next."""
    taken = search(folder) if study is None else study
    optimizer = taken.optimizer
    found = (
        [(e.id, e.metrics, e.status) for e in optimizer.evaluations],
        [e.id for e in optimizer.front()],
        [optimizer.ask().params for _ in range(5)],
        {uid: run.status for uid, run in taken.log.finals.items()},
    )
    taken.close()
    return found


def test_networks_to_learn_from_come_early_and_finalists_last(tmp_path: Path) -> None:
    with closing(search(tmp_path)) as study:
        kinds = [
            "search" if not isinstance(t, FinalTrial) else "finalist" if t.is_finalist else "learn"
            for t in run(study, PLANNED)
        ]
        runs = list(study.log.finals.values())
    assert kinds.count("learn") == FINAL["trials"]
    assert kinds[-4:] == ["finalist"] * 4
    assert "finalist" not in kinds[:-4]
    assert 6 <= kinds.index("learn") <= 12, "early, and after a first look at the space"
    learned = [r for r in runs if not r.is_finalist]
    assert len({r.of for r in learned}) == len(learned)
    assert {r.run.seed for r in learned} == {0}
    last = [r for r in runs if r.is_finalist]
    assert sorted((r.of, r.run.seed) for r in last) == sorted(
        (uid, seed) for uid in {r.of for r in last} for seed in (1, 2)
    )
    assert len({r.of for r in last}) == 2
    assert [r.uid for r in runs] == list(range(-1, -len(runs) - 1, -1))
    sizes = [study.trials[r.of].metrics["size_kb"] for r in learned]
    assert max(sizes) > 2 * min(sizes), "spread over size"


def test_from_the_fourth_on_all_are_ranked_by_what_is_expected(tmp_path: Path) -> None:
    with closing(search(tmp_path)) as study:
        while sum(r.status == COMPLETE for r in study.log.finals.values()) < 3:
            run(study, PLANNED, 1)
        assert study.log.forecasts is not None
        assert not study.log.forecasts.is_known
        told = {e.id: e.metrics["accuracy"] for e in study.optimizer.evaluations if e.metrics}
        assert told == {t.uid: t.metrics["accuracy"] for t in study.finished()}
        while not study.log.forecasts.is_known:
            run(study, PLANNED, 1)
        far = near = 0.0
        for evaluation in study.optimizer.evaluations:
            trial = study.trials[evaluation.id]
            final = result({**trial.params, "final_epochs": 40, "final_seed": 0, "final_test": 0})
            forecast = trial.forecast
            assert forecast is not None
            assert evaluation.metrics is not None
            assert evaluation.metrics["accuracy"] == evaluation.metrics["default"] == forecast.value
            assert forecast.low < forecast.value < forecast.high
            far += abs(trial.metrics["accuracy"] - final["accuracy"])
            near += abs(forecast.value - final["accuracy"])
        assert near < 0.3 * far
        front = FrontHistory(study.log.objectives)
        front.extend(study.finished())
        assert {e.id for e in study.optimizer.front()} == set(front.front)


def test_a_limit_on_the_metric_means_the_expected_value(tmp_path: Path) -> None:
    limit = {"accuracy": ">= 0.9"}
    with closing(search(tmp_path, constraints=limit)) as study:
        run(study, PLANNED, 20)
        feasible = [t for t in study.finished() if t.forecast and t.forecast.value >= 0.9]
        measured = [t for t in study.finished() if t.metrics["accuracy"] >= 0.9]
        assert len(feasible) > len(measured)
        ids = {e.id for e in study.optimizer.evaluations if e.violation == 0}
    assert ids == {t.uid for t in feasible}


@pytest.mark.parametrize("after", [9, 13, 20, 27, 30])
def test_a_restart_finds_the_same_search(tmp_path: Path, after: int) -> None:
    study = search(tmp_path)
    run(study, PLANNED, after)
    assert state(tmp_path, study) == state(tmp_path)


def test_a_search_that_was_stopped_goes_on_like_one_that_was_not(tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    with closing(search(whole)) as study:
        run(study, PLANNED)
    for count in (11, 6, 11, 2):
        with closing(search(halves)) as study:
            run(study, PLANNED, count)
    asked = [
        [(e["event"], e["uid"], e.get("params"), e.get("of")) for e in read(f / "journal.jsonl")
         if e["event"] in ("ask", "final")]
        for f in (whole, halves)
    ]  # fmt: skip
    assert asked[0] == asked[1]


def test_one_that_fails_is_asked_again_a_few_times(tmp_path: Path) -> None:
    with closing(search(tmp_path)) as study:
        while not study.log.finals:
            trial = next_trial(study, PLANNED)
            if not isinstance(trial, FinalTrial):
                study.tell(trial.uid, result(trial.params))
        first = study.log.finals[-1]
        study.fail(first.uid, "killed")
        assert first.status == FAILED
        for attempt in range(2, ATTEMPTS + 1):
            again = study.finals.ask(PLANNED)
            assert again is not None
            assert (again.of, again.uid) == (first.of, -attempt)
            study.fail(again.uid, "killed")
        other = study.finals.ask(PLANNED)
        assert other is not None
        assert other.of != first.of
        study.tell(first.uid, result(first.params))
        assert first.status == COMPLETE, "a result after a failure counts"
        before = first.metrics["accuracy"]
        study.tell(first.uid, {**result(first.params), "accuracy": 0.1})
        assert first.metrics["accuracy"] == before, "the first one stands"


def test_trials_that_cannot_train_to_the_end_do_not_use_up_the_budget(tmp_path: Path) -> None:
    with closing(search(tmp_path)) as study:
        for _ in range(PLANNED):
            trial = next_trial(study, PLANNED)
            value = result(trial.params)
            value.pop("final_epochs", None)  # as a trial that knows nothing of it
            study.tell(trial.uid, value)
        runs = study.log.finals.values()
        assert {run.status for run in runs} == {FAILED}
        assert "final_epochs" in next(iter(runs)).reason
        assert len(runs) == 2 * ATTEMPTS
        assert not study.finals.is_open()
        assert not study.log.forecasts


def test_nni_replays_them_by_their_own_numbers(tmp_path: Path) -> None:
    with closing(search(tmp_path)) as study:
        while not study.log.finals:
            trial = next_trial(study, PLANNED)
            if not isinstance(trial, FinalTrial):
                study.tell(trial.uid, result(trial.params))
        (only,) = study.log.finals.values()
        params = {**only.params, UID: only.uid}
        entry = {"parameter": params, "value": {**result(only.params), UID: only.uid}}
        others = {**entry, "value": {**entry["value"], UID: -7}}
        assert not take_in(study, others)
        assert len(study.trials) == len(study.finished())
        assert only.status != COMPLETE
        assert not take_in(study, entry)
        assert only.status == COMPLETE


def test_finalists_are_the_posterior_and_their_median_training(tmp_path: Path) -> None:
    with closing(search(tmp_path)) as study:
        run(study, PLANNED)
    log = TrialLog.read(tmp_path / "journal.jsonl")
    found = finalists(log)
    assert len(found) == 2
    for one in found:
        accuracies = [r.metrics["accuracy"] for r in one.runs]
        row = one.row()
        assert row["expected"] < max(accuracies) + 0.01
        assert row["low"] < row["expected"] < row["high"]
        assert row["test"] == pytest.approx(sum(r.metrics["test_accuracy"] for r in one.runs) / 2)
        assert one.median.metrics["accuracy"] == min(accuracies)
        assert one.ranked.metrics["accuracy"] == one.ranked.metrics["default"]
        assert one.ranked.metrics["accuracy"] == pytest.approx(row["expected"], abs=1e-6)
    assert found[0].forecast.value >= found[1].forecast.value


def test_test_data_choose_nothing(tmp_path: Path) -> None:
    journals = []
    for name, shift in (("one", 0.0), ("other", 0.5)):
        with closing(search(tmp_path / name)) as study:
            for _ in range(PLANNED):
                trial = next_trial(study, PLANNED)
                value = result(trial.params)
                if "test_accuracy" in value:
                    value["test_accuracy"] -= shift * (1 + trial.params["x"])
                study.tell(trial.uid, value)
            journals.append([(r.of, r.run) for r in study.log.finals.values()])
            order = [t.uid for t in study.log.finalists()]
        journals.append(order)
    assert journals[:2] == journals[2:]


def test_picks_choose_finalists_first(tmp_path: Path) -> None:
    pick = ["accuracy >= 0.95, min size_kb", "accuracy > 2, min size_kb"]
    with closing(search(tmp_path, final={**FINAL, "pick": pick})) as study:
        run(study, PLANNED)
        (first, second) = dict.fromkeys(r.of for r in study.log.finals.values() if r.is_finalist)
        able = [t for t in study.finished() if t.ranked["accuracy"] >= 0.95]
    assert second in {t.uid for t in study.finished()}, "by hypervolume, where no trial fits"
    assert study.trials[first].metrics["size_kb"] <= 1.5 * min(t.metrics["size_kb"] for t in able)


def test_a_pick_passes_over_what_probably_breaks_its_bound(tmp_path: Path) -> None:
    bound = 0.95
    final = {**FINAL, "pick": f"accuracy >= {bound}, min size_kb"}
    with closing(search(tmp_path, final=final)) as study:
        run(study, PLANNED, PLANNED - 4)
        expected = {t.uid: t.forecast for t in study.finished() if t.forecast is not None}
        sizes = {t.uid: t.metrics["size_kb"] for t in study.finished()}
        chosen = next_trial(study, PLANNED)
        assert isinstance(chosen, FinalTrial)
    bold = min((u for u in expected if expected[u].value >= bound), key=sizes.__getitem__)
    sure = min((u for u in expected if expected[u].low >= bound), key=sizes.__getitem__)
    told = expected[chosen.of]
    assert told.value - 0.41 * (told.value - told.low) >= bound
    assert sizes[bold] < sizes[chosen.of] <= sizes[sure]


def test_a_name_that_is_taken_and_other_epochs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(search(tmp_path)) as study:
        run(study, PLANNED, 14)
    with pytest.raises(ValueError, match=r"epochs=20, but .* with 40"):
        search(tmp_path, final={**FINAL, "epochs": 20})
    monkeypatch.setitem(SPACE, "final_seed", {"_type": "choice", "_value": [0, 1]})
    with pytest.raises(ValueError, match="final_seed"):
        search(tmp_path / "taken")


def test_without_it_nothing_is_trained_to_the_end(tmp_path: Path) -> None:
    with closing(search(tmp_path, final=None)) as study:
        run(study, PLANNED)
        assert not study.log.finals
        assert not study.finals.is_open()
    text = (tmp_path / "journal.jsonl").read_text()
    assert "forecast" not in text
    assert {json.loads(line)["event"] for line in text.splitlines()} == {"start", "ask", "tell"}
