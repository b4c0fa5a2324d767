"""One search with its log: journal, records and optimizer always say the same.

Needs neither NNI's manager nor its protocol; ``tuner.py`` adds those.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ga
from ga.early_stopping.decision import StopDecision
from nni_plugin import search_space
from nni_plugin.protocol.metrics import UID, UnusableMetricsError, read_metrics
from nni_plugin.study.journal import VERSION, Journal, Record, read, results
from nni_plugin.study.tuner_args import TunerArgs

logger = logging.getLogger("nni.joint_ga")

# After so many results an objective that none of them holds is taken for a wrong name.
MISSING_LIMIT = 3
# So many failures before any result mean that the trial itself is broken, not its chromosome.
FAILURE_LIMIT = 8
_COMPLAINTS = 5


class Study:
    """Asks the optimizer and tells it, and writes each step down before it takes effect.

    A journal that is already there is continued: finished chromosomes are told again, those without
    a result are pending.

    Args:
        args: What is searched for.
        space: NNI's search space.
        journal: The journal's path.
        class_args: Written into the journal as they are.

    Raises:
        ValueError: The search space can't be used, or is not that of ``costs``.
    """

    def __init__(
        self,
        args: TunerArgs,
        space: dict[str, Any],
        journal: str | Path,
        class_args: Mapping[str, Any] | None = None,
    ) -> None:
        self.args = args
        self.space = space
        self.records = {record.uid: record for record in results(read(journal))}
        self._cost_model = args.cost_model()
        self.optimizer = self._build()
        self._seen: set[str] = set()
        self._missing: dict[str, int] = {}
        self._mismatches = 0
        self.journal = Journal(journal)
        self.journal.append(
            "start",
            version=VERSION,
            objectives=args.objectives,
            constraints=args.constraints,
            seed=args.seed,
            space=space,
            costs=args.costs if isinstance(args.costs, dict) else None,
            class_args=dict(class_args or {}),
        )

    def _build(self) -> ga.Optimizer:
        parsed = search_space.parse(self.space)
        if isinstance(self.args.costs, dict) and self._cost_model is not None:
            # A network file of another model would price nothing: say so before the first trial.
            self._cost_model(parsed.decode(parsed.sample(random.Random(0))))
        options = self.args.optimizer_options(self._cost_model)
        if not self.records:
            return ga.Optimizer(parsed, self.args.objectives, **options)
        evaluations = [
            ga.Evaluation(r.uid, r.params, r.metrics, r.status, r.origin, r.reason, r.expected)
            for r in self.finished() + self.running()
        ]
        return ga.Optimizer.replay(parsed, self.args.objectives, evaluations, **options)

    def finished(self) -> list[Record]:
        """Records with an outcome, in the order of completion."""
        return [record for record in self.records.values() if record.status != "running"]

    def running(self) -> list[Record]:
        """Records without an outcome, in the order in which they were asked for."""
        return [record for record in self.records.values() if record.status == "running"]

    def change_space(self, space: dict[str, Any]) -> None:
        """Go on in another search space; results that fit it are kept as parents.

        Raises:
            ValueError: as for the constructor.
        """
        self.space = space
        self.optimizer = self._build()
        self.journal.append("space", space=space)

    def is_over(self) -> str | None:
        """Why nothing should be asked any more: ``budget`` or ``stagnation``; None to go on.

        Chromosomes in flight count towards a budget: it is a number of trials.
        """
        budget = self.args.options.get("budget")
        asked = sum(record.origin != "imported" for record in self.records.values())
        if budget is not None and asked >= budget:
            return "budget"
        return self.optimizer.should_stop()

    def ask(self) -> Record:
        """A new chromosome.

        Raises:
            ga.SpaceExhausted: There is none left.
        """
        candidate = self.optimizer.ask()
        record = Record(
            candidate.id, candidate.params, origin=candidate.origin, costs=candidate.costs
        )
        self.records[record.uid] = record
        self.journal.append(
            "ask",
            uid=record.uid,
            params=record.params,
            costs=record.costs,
            origin=record.origin,
        )
        return record

    def reopen(self, uid: int) -> Record:
        """Ask once more for a chromosome whose trial was stopped.

        Raises:
            KeyError: There is none of that number.
            ValueError: Its trial was not stopped.
        """
        self.optimizer.reopen(uid)
        record = self.records[uid]
        self.journal.append("again", uid=uid)
        record.status, record.metrics, record.reason = "running", None, ""
        return record

    def tell(self, uid: int, value: Any, trial: str | None = None) -> None:
        """A trial's final result, whatever it is; one that can't be ranked counts as a failure.

        A result after a failure counts, a second result doesn't.

        Raises:
            ValueError: The first few results all lack an objective.
        """
        record = self.records[uid]
        if record.status == "complete":
            return
        known = record.costs or {}
        required = [name for name in self.args.required if name not in known]
        try:
            metrics = read_metrics(value, required)
        except UnusableMetricsError as error:
            self.fail(uid, str(error), trial)
            self._check_names(error)
            return
        self._seen.update(required)
        self._compare_costs(uid, known, metrics)
        metrics = {**known, **metrics}
        self.journal.append("tell", uid=uid, metrics=metrics, trial=trial)
        self._settle(record, status="complete", metrics=metrics, trial=trial, reason="")
        self.optimizer.tell(uid, metrics)
        shown = ", ".join(f"{name}={metrics[name]:g}" for name in self.args.objectives)
        logger.info("uid %d (%s): %s", uid, record.origin or "ga", shown)

    def fail(self, uid: int, reason: str, trial: str | None = None) -> None:
        """The chromosome got no usable result; nothing happens if it has one already.

        Raises:
            ValueError: The first few trials all failed.
        """
        record = self.records[uid]
        if record.status != "running":
            return
        logger.warning("uid %d failed: %s", uid, reason)
        self.journal.append("fail", uid=uid, reason=reason, trial=trial)
        self._settle(record, status="failed", reason=reason, trial=trial)
        self.optimizer.fail(uid, reason)
        ended = [other.status for other in self.records.values() if other.status != "running"]
        if len(ended) >= FAILURE_LIMIT and set(ended) == {"failed"}:
            raise ValueError(
                f"the first {len(ended)} trials all failed, the last one because: {reason}. Mend "
                "the trial, then resume the experiment"
            )

    def censor(self, uid: int, decision: StopDecision) -> None:
        """The trial was stopped on its way; nothing happens if it got to its end all the same.

        Args:
            uid: The chromosome's number.
            decision: With what the trial had reported; the surrogate learns what was expected.
        """
        record = self.records[uid]
        if record.status != "running":
            return
        metrics, reason, expected = decision.metrics, decision.reason, decision.expected
        logger.info("uid %d stopped at rung %d: %s", uid, decision.rung, reason)
        self.journal.append("censor", uid=uid, **decision.as_event())
        self._settle(record, status="censored", metrics=metrics, reason=reason, expected=expected)
        self.optimizer.censor(uid, metrics, reason, expected)

    def take_in(self, params: Mapping[str, Any], value: Any) -> int | None:
        """A result from elsewhere.

        Returns:
            Its uid; None if it was taken in before or can't be used (said in the log).
        """
        params = {name: allele for name, allele in params.items() if name != UID}
        if any(r.origin == "imported" and r.params == params for r in self.records.values()):
            return None
        try:
            metrics = read_metrics(value, self.args.required)
            uid = self.optimizer.inject(params, metrics)
        except ValueError as error:
            logger.warning("imported result left out: %s", error)
            return None
        self.journal.append("import", uid=uid, params=params, metrics=metrics)
        self.records[uid] = Record(uid, params, "complete", metrics, origin="imported")
        return uid

    def _settle(self, record: Record, **outcome: Any) -> None:
        for name, value in outcome.items():
            setattr(record, name, value)
        # The dict's order is the order of completion, which a replay depends on.
        self.records[record.uid] = self.records.pop(record.uid)

    def _check_names(self, error: UnusableMetricsError) -> None:
        for name in error.missing - self._seen:
            self._missing[name] = self._missing.get(name, 0) + 1
            if self._missing[name] >= MISSING_LIMIT:
                raise ValueError(
                    f"no trial reports the metric '{name}': the first {MISSING_LIMIT} results hold "
                    f"{', '.join(error.reported) or 'nothing'}; name one of these under objectives "
                    f"and constraints, or report '{name}' from the trial"
                )

    def _compare_costs(
        self, uid: int, known: Mapping[str, float], reported: Mapping[str, float]
    ) -> None:
        wrong = [name for name in known if reported.get(name, known[name]) != known[name]]
        if not wrong:
            return
        self._mismatches += 1
        if self._mismatches <= _COMPLAINTS:
            logger.error(
                "uid %d: costs differ (%s); is the network file that of the trial's task and "
                "device? The reported ones count",
                uid,
                ", ".join(f"{n}: {known[n]} computed, {reported[n]} reported" for n in wrong),
            )
