"""A study's trials are all that a search knows: storages, processes, threads, copies."""

# ruff: noqa: E402 - without the extra the tests are skipped before its imports

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ga
from support.extras import extra
from support.spaces import GOALS, bits_space, truth

optuna = extra("optuna", "optuna")

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nni_plugin.adapters.optuna import JointGASampler, suggest

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = bits_space(2)


def study_of(sampler: JointGASampler, **more: Any) -> Any:
    return optuna.create_study(directions=list(GOALS.values()), sampler=sampler, **more)


def objective(trial: Any) -> tuple[float, ...]:
    metrics = truth(suggest(trial, SPACE))
    return metrics["accuracy"], metrics["size_kb"]


def run(storage: Any, parts: Sequence[int]) -> list[dict[str, Any]]:
    """What is asked in a study of several parts; the sixth trial fails."""

    def one_fails(trial: Any) -> tuple[float, ...]:
        values = objective(trial)
        if trial.number == 5:
            raise ArithmeticError("a trial that fails")
        return values

    for count in parts:
        sampler = JointGASampler(SPACE, seed=2, surrogate="trees", population_size=4)
        study = study_of(sampler, study_name="kept", storage=storage, load_if_exists=True)
        study.optimize(one_fails, n_trials=count, catch=(ArithmeticError,))
    assert study.trials[5].state.name == "FAIL"
    return [trial.params for trial in study.trials]


def test_a_study_in_a_storage_goes_on_as_it_would_have(tmp_path: Path) -> None:
    """Each part has a new sampler. A journal is quicker than a database on a busy disk."""
    journal = JournalStorage(JournalFileBackend(str(tmp_path / "parts")))
    assert run(journal, [3, 9, 2]) == run(None, [14])


def test_samplers_of_two_processes_share_one_study(tmp_path: Path) -> None:
    """Each sees the other's trials: results are parents, running ones are not asked again."""
    space = ga.SearchSpace([ga.Ordered("a", (1, 2, 3)), ga.Ordered("b", (1, 2, 3, 4))])
    studies = [
        optuna.create_study(
            sampler=JointGASampler(space, seed=seed, surrogate="none"),
            study_name="shared",
            storage=f"sqlite:///{tmp_path}/shared.db",
            load_if_exists=True,
        )
        for seed in (1, 2)
    ]
    running = []
    for turn in range(12):
        trial = studies[turn % 2].ask()
        params = suggest(trial, space)
        running.append((studies[turn % 2], trial, params))
        if len(running) > 2:
            study, oldest, told = running.pop(0)
            study.tell(oldest, told["a"] - told["b"])
    assert len({tuple(sorted(t.params.items())) for t in studies[0].trials}) == 12
    assert len(studies[0].sampler.optimizer_of(studies[0]).evaluations) == 10


def test_threads_ask_distinct_candidates() -> None:
    study = study_of(JointGASampler(SPACE, seed=0, surrogate="none"))
    study.optimize(objective, n_trials=40, n_jobs=4)
    assert len(study.trials) == 40
    assert len({tuple(t.params.values()) for t in study.trials}) == 40


def test_simultaneous_asks_do_not_collide() -> None:
    study = study_of(JointGASampler(SPACE, seed=0, surrogate="none"))
    with ThreadPoolExecutor(8) as pool:
        params = list(pool.map(lambda _: repr(suggest(study.ask(), SPACE)), range(24)))
    assert len(set(params)) == 24


def test_a_copy_of_the_sampler_goes_on_from_the_study() -> None:
    """As a process of one's own takes it along."""
    asked = []
    for copies in (False, True):
        study = study_of(JointGASampler(SPACE, seed=3, surrogate="none"))
        study.optimize(objective, n_trials=8)
        if copies:
            study.sampler = pickle.loads(pickle.dumps(study.sampler))
        study.optimize(objective, n_trials=8)
        asked.append([trial.params for trial in study.trials])
    assert asked[0] == asked[1]


def test_trials_that_were_enqueued_are_learned_from() -> None:
    study = study_of(JointGASampler(SPACE, seed=0, surrogate="none"))
    mildest = {locus.path: locus.gene.decode(0) for locus in SPACE.loci}
    study.enqueue_trial(mildest)
    study.enqueue_trial({"layer0.prune": 0.75})
    study.optimize(objective, n_trials=6)
    assert study.trials[0].params == mildest
    assert study.trials[1].params["layer0.prune"] == 0.75
    told = {e.id: e.params for e in study.sampler.optimizer_of(study).evaluations}
    assert told == {trial.number + 1: trial.params for trial in study.trials}
