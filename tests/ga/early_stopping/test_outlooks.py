"""What reports on the way say of a trial's end, and stopped candidates that come again."""

from __future__ import annotations

import pytest

import ga
from ga.surrogate.training_data import TrainingData
from support.spaces import GOALS, bits_space, size_only, truth

# A rung shows the end but for what the layers' bits still add, which the chromosome says.
_GAIN = 0.02


def report(params: dict[str, float], shift: float = 0.0) -> dict[str, float]:
    """What a trial of these parameters reports on its way."""
    end = truth(params)
    return {**end, "accuracy": end["accuracy"] - _GAIN - shift}


def search(trials: int = 30) -> tuple[ga.Optimizer, dict[int, list[dict[str, float]]]]:
    """An optimizer that has seen so many whole trials, and their reports."""
    optimizer = ga.Optimizer(bits_space(), GOALS, costs=size_only, seed=3)
    paths = {}
    for _ in range(trials):
        candidate = optimizer.ask()
        paths[candidate.id] = [report(candidate.params), truth(candidate.params)]
        optimizer.tell(candidate.id, truth(candidate.params))
    return optimizer, paths


def test_the_end_of_a_trial_is_seen_from_its_report() -> None:
    optimizer, paths = search()
    candidate = optimizer.ask()
    paths[candidate.id] = [report(candidate.params)]
    outlook = optimizer.outlooks(paths, [candidate.id])[candidate.id]
    assert outlook.expected["accuracy"] == pytest.approx(
        truth(candidate.params)["accuracy"], abs=_GAIN / 4
    )
    assert outlook.expected["size_kb"] == (candidate.costs or {})["size_kb"]
    assert outlook.gain >= 0


def test_a_poor_report_leaves_little_gain() -> None:
    optimizer, paths = search()
    candidate = optimizer.ask()
    gains = []
    for shift in (0.0, 0.3):
        paths[candidate.id] = [report(candidate.params, shift)]
        gains.append(optimizer.outlooks(paths, [candidate.id])[candidate.id].gain)
    good, poor = gains
    assert poor < 0.1 * good


def test_nothing_is_said_before_enough_trials_ran_to_their_ends() -> None:
    optimizer, paths = search(11)
    candidate = optimizer.ask()
    paths[candidate.id] = [report(candidate.params)]
    assert optimizer.outlooks(paths, [candidate.id]) == {}
    optimizer, paths = search()
    candidate = optimizer.ask()
    assert optimizer.outlooks(paths, [candidate.id]) == {}, "it has not reported"
    # At a rung that no whole trial has been at, too.
    paths[candidate.id] = [report(candidate.params)] * 3
    assert optimizer.outlooks(paths, [candidate.id]) == {}


def test_reports_without_an_objective_say_nothing() -> None:
    optimizer, paths = search()
    candidate = optimizer.ask()
    paths[candidate.id] = [{"size_kb": 1.0}]
    assert optimizer.outlooks(paths, [candidate.id]) == {}


def test_a_plain_search_has_no_outlooks() -> None:
    optimizer = ga.Optimizer(bits_space(), GOALS, surrogate="none")
    candidate = optimizer.ask()
    assert optimizer.outlooks({candidate.id: [report(candidate.params)]}, [candidate.id]) == {}


def test_a_stopped_candidate_comes_again_under_its_number() -> None:
    optimizer, paths = search()
    stopped = optimizer.ask()
    paths[stopped.id] = [report(stopped.params)]
    expected = optimizer.outlooks(paths, [stopped.id])[stopped.id].expected
    optimizer.censor(stopped.id, paths[stopped.id][-1], "stopped", expected)
    assert stopped.id not in {c.id for c in optimizer.pending}
    again = optimizer.reopen(stopped.id)
    assert (again.id, again.params, again.costs) == (stopped.id, stopped.params, stopped.costs)
    assert again.id in {c.id for c in optimizer.pending}
    optimizer.tell(again.id, truth(again.params))
    assert {e.id: e.status for e in optimizer.evaluations}[again.id] == "complete"
    with pytest.raises(ValueError, match="already told"):
        optimizer.reopen(stopped.id)


def test_what_was_not_stopped_is_not_asked_for_again() -> None:
    optimizer, _ = search(3)
    running = optimizer.ask()
    with pytest.raises(ValueError, match="was not stopped"):
        optimizer.reopen(running.id)
    with pytest.raises(KeyError, match="999"):
        optimizer.reopen(999)


@pytest.mark.parametrize("finished", [True, False])
def test_a_replay_knows_what_runs_again(finished: bool) -> None:
    optimizer, paths = search()
    stopped = optimizer.ask()
    guess = {**truth(stopped.params), "accuracy": 0.4}
    optimizer.censor(stopped.id, paths[1][0], "stopped", guess)
    optimizer.reopen(stopped.id)
    log = [e for e in optimizer.evaluations if e.id != stopped.id]
    if finished:
        optimizer.tell(stopped.id, truth(stopped.params))
        log = optimizer.evaluations
    else:
        log.append(ga.Evaluation(stopped.id, stopped.params, None, "running", expected=guess))
    again = ga.Optimizer.replay(bits_space(), GOALS, log, costs=size_only, seed=3)
    assert [c.id for c in again.pending] == [c.id for c in optimizer.pending]
    assert again.ask().params == optimizer.ask().params


def test_a_result_takes_the_place_of_a_guess() -> None:
    samples = TrainingData(["accuracy"])
    first, second = (0,), (1,)
    samples.add(first, {}, {"accuracy": 0.1}, guessed=True)
    samples.add(second, {}, {"accuracy": 0.2}, guessed=False)
    samples.add(first, {}, {"accuracy": 0.3}, guessed=False)
    samples.add(first, {}, {"accuracy": 0.5}, guessed=False)
    samples.add(second, {}, {"accuracy": 0.9}, guessed=True)
    assert len(samples) == 5
    assert samples.results == 3

    def seen(count: int, *, guesses: bool = True) -> dict[tuple[int, ...], float]:
        genomes, _, table = samples.first(count, guesses=guesses)
        return dict(zip(genomes, table[:, 0].tolist(), strict=True))

    assert seen(2) == {first: 0.1, second: 0.2}
    assert list(seen(3)) == [second, first], "the result comes where it came"
    assert seen(5) == {first: pytest.approx(0.4), second: 0.2}
    assert seen(1, guesses=False) == {second: 0.2}
    assert samples.first(0)[2].shape == (0, 1)
