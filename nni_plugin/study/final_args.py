"""``final`` of the class arguments: which chromosomes are trained to the end, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ga.forecast.link import MINIMUM
from ga.problem.finite import shortened
from nni_plugin.protocol.metrics import COSTS
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.study.selection import Pick, PickError

NAME = "final"
HYPERVOLUME = "hypervolume"
# Choices. Five networks make a link and leave one to tell that it holds; of three finalists one
# is small, one is accurate and one lies between; three trainings tell luck from merit.
TRIALS, COUNT, SEEDS = 5, 3, 3


@dataclass(frozen=True)
class FinalArgs:
    """What a config says about trainings to the end.

    Attributes:
        epochs: of each; what the export will train for.
        trials: so many chromosomes are trained to the end while the search goes on, with seed 0:
            what the expected values are learned from. 0: none.
        count: of finalists, which are trained to the end when the budget is nearly spent. 0: none.
        seeds: trainings of each finalist, with seeds from 1 on.
        pick: sentences that choose finalists, in this order; the rest, or all of them without any,
            by the hypervolume that each adds.
        metric: whose final value is meant; None for the first objective that is no cost.
    """

    epochs: int
    trials: int = TRIALS
    count: int = COUNT
    seeds: int = SEEDS
    pick: tuple[Pick, ...] = ()
    metric: str | None = None

    @property
    def finalist_trials(self) -> int:
        """How many trials the finalists take."""
        return self.count * self.seeds

    @classmethod
    def parse(cls, given: object, metrics: Iterable[str] = ()) -> FinalArgs | None:
        """Checks ``{epochs: 40, trials: 5, count: 3, seeds: 3, pick: hypervolume}``; None for none.

        Args:
            given: as written in the config; all but ``epochs`` may be missing.
            metrics: of the objectives and constraints, in this order.

        Raises:
            ValueError: a key doesn't exist, or a value can't be used.
        """
        if given is None:
            return None
        names = tuple(cls.__dataclass_fields__)
        if not isinstance(given, Mapping):
            raise ValueError(
                f"{NAME}={shortened(given)} should be a mapping, such as {{epochs: 40, trials: "
                f"{TRIALS}, count: {COUNT}, seeds: {SEEDS}}}"
            )
        for name in given:
            if name not in names:
                raise ValueError(
                    f"{NAME}: there is no setting {shortened(name)}"
                    f"{did_you_mean(str(name), names)} (allowed: {', '.join(names)})"
                )
        if "epochs" not in given:
            raise ValueError(f"{NAME}: epochs is missing: say for how many the export will train")
        numbers = {
            name: _number(name, given[name], 1 if name in ("epochs", "seeds") else 0)
            for name in ("epochs", "trials", "count", "seeds")
            if name in given
        }
        if 0 < numbers.get("trials", TRIALS) < MINIMUM:
            raise ValueError(
                f"{NAME}: trials={numbers['trials']} is too few: expected values are learned from "
                f"at least {MINIMUM} chromosomes (or 0: none are trained during the search)"
            )
        return cls(
            **numbers, pick=_picks(given.get("pick")), metric=_metric(given.get("metric"), metrics)
        )


def planned_trials(final: FinalArgs | None, config: Mapping[str, object]) -> int | None:
    """The number of trials that an experiment is to have; None where its config doesn't say.

    Args:
        final: which of them are trainings to the end.
        config: the experiment's; its ``maxTrialNumber`` counts.

    Raises:
        ValueError: the trainings to the end take all trials.
    """
    planned = config.get("maxTrialNumber")
    if not isinstance(planned, int) or isinstance(planned, bool):
        return None
    taken = 0 if final is None else final.trials + final.finalist_trials
    if final is not None and taken >= planned:
        raise ValueError(
            f"{NAME}: {final.trials} trials and {final.count} finalists with {final.seeds} seeds "
            f"take {taken} of maxTrialNumber={planned}, which leaves nothing for the search: raise "
            "that, or lower trials, count or seeds"
        )
    return planned


def _number(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"{NAME}: {name}={shortened(value)} should be a whole number from {least} on"
        )
    return value


def _picks(given: object) -> tuple[Pick, ...]:
    if given is None or given == HYPERVOLUME:
        return ()
    sentences = [given] if isinstance(given, str) else given
    if not isinstance(sentences, list) or not all(isinstance(one, str) for one in sentences):
        raise ValueError(
            f"{NAME}: pick={shortened(given)} should be {HYPERVOLUME!r}, a sentence such as "
            "'accuracy >= 0.9, min size_kb', or a list of sentences"
        )
    try:
        return tuple(Pick.parse(one) for one in sentences)
    except PickError as error:
        raise ValueError(f"{NAME}: pick: {error}") from error


def _metric(given: object, metrics: Iterable[str]) -> str | None:
    known = [name for name in metrics if name not in COSTS]
    if given is None:
        if known:
            return None
        raise ValueError(
            f"{NAME}: all objectives and constraints are costs, which no training changes"
        )
    if given not in known:
        raise ValueError(
            f"{NAME}: metric={shortened(given)} is no objective or constraint that a training "
            f"changes (these are: {', '.join(known) or 'none'})"
        )
    return str(given)
