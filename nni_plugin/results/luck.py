"""How lucky the trials of a front were: posterior means and intervals of their metrics."""

from __future__ import annotations

from ga.beliefs import Belief, beliefs
from ga.evaluation import COMPLETE
from ga.messages import Messages
from ga.problem.objectives import Objectives, parse_constraints
from ga.problem.search_space import Genome
from ga.problem.sensitivities import Sensitivities
from ga.surrogate.surrogate import Surrogate
from nni_plugin import search_space
from nni_plugin.protocol.json_types import Metrics
from nni_plugin.study.trial_log import Trial, TrialLog

__all__ = ["believed"]


def believed(log: TrialLog, uids: set[int] | None = None) -> dict[int, Belief]:
    """What complete trials probably are worth, by uid; see :class:`ga.beliefs.Belief`.

    Metrics that the tuner computes before a trial are exact. Of the others a Gaussian process over
    the chromosomes says how much of a result was its network's: a few seconds of CPU.

    Args:
        log: the experiment's trials.
        uids: which; None: all complete ones.

    Returns:
        Empty if the search space of the journal can't be read.
    """
    try:
        space = search_space.parse(log.space)
    except ValueError:  # of a version of before, or damaged: the readings stand alone
        return {}
    complete = log.finished(COMPLETE)
    cheap = {name for trial in complete for name in trial.costs or {}}
    objectives, constraints = Objectives.parse(log.objectives), parse_constraints(log.constraints)
    surrogate = Surrogate(
        space, objectives, constraints, "gp", Sensitivities.parse(None), 0, Messages()
    )
    needed = [*objectives.names, *(c.metric for c in constraints)]
    genomes: dict[int, Genome] = {}
    costs: dict[Genome, Metrics] = {}
    for trial in complete:
        if not all(name in trial.metrics for name in needed):
            continue
        try:
            genome = space.encode(trial.params)
        except ValueError:  # asked in an earlier search space
            continue
        genomes[trial.uid] = genome
        costs[genome] = _costs(trial, cheap)
        for reading in trial.readings or (trial.metrics,):
            surrogate.add(genome, costs[genome], {**trial.metrics, **reading})
    asked = [t.evaluation() for t in complete if uids is None or t.uid in uids]
    found = beliefs(surrogate, cheap, asked, genomes, costs)
    return {belief.evaluation.id: belief for belief in found}


def _costs(trial: Trial, cheap: set[str]) -> Metrics:
    """Known costs; of an imported trial what it reported."""
    if trial.costs is not None:
        return trial.costs
    return {name: trial.metrics[name] for name in cheap if name in trial.metrics}
