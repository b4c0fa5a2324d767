"""One search with its log: journal, trials and optimizer always say the same.

Needs neither NNI's manager nor its protocol; ``tuner.py`` adds those.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import ga
from ga.early_stopping.decision import StopDecision
from ga.evaluation import COMPLETE, FAILED, IMPORTED, RUNNING, Evaluation
from nni_plugin import search_space
from nni_plugin.protocol.final_run import NAMES
from nni_plugin.protocol.json_types import NniSpace
from nni_plugin.protocol.log import logger
from nni_plugin.protocol.metrics import UID, UnusableMetricsError, read_metrics, shown
from nni_plugin.study.costs_stack import stack_of
from nni_plugin.study.final_runs import FinalRuns
from nni_plugin.study.journal import VERSION, Journal
from nni_plugin.study.trial_log import Trial, TrialLog
from nni_plugin.study.tuner_args import TunerArgs

# After so many results an objective that none of them holds is taken for a wrong name.
MISSING_LIMIT = 3
# So many failures before any result of this start mean that the trial itself is broken, or what it
# runs in, and not its chromosome.
FAILURE_LIMIT = 8
_COMPLAINTS = 5


class Study:
    """Asks the optimizer and tells it, and writes each step down before it takes effect.

    A journal that is already there is continued: finished chromosomes are told again, those without
    a result are pending.

    Args:
        args: what is searched for.
        space: NNI's search space.
        journal: the journal's path.
        class_args: written into the journal as they are.

    Raises:
        ValueError: the search space can't be used, or is not that of ``costs``.
    """

    def __init__(
        self,
        args: TunerArgs,
        space: NniSpace,
        journal: str | Path,
        class_args: Mapping[str, object] | None = None,
    ) -> None:
        self.args = args
        self.space = space
        # Read once it is this process's own: until then its old owner may write on.
        self._journal = Journal(journal)
        try:
            self._take_up(class_args)
        except BaseException:
            self._journal.close()
            raise

    def _take_up(self, class_args: Mapping[str, object] | None) -> None:
        """Rebuilds the search from its journal, and writes down that it goes on."""
        args = self.args
        self.log = TrialLog.read(self._journal.path)
        self._cost_model = args.cost_model()
        self.finals = FinalRuns(args.final_args(), self.log, self._write)
        self.optimizer = self._build()
        own = [trial for trial in self.log.finished(COMPLETE) if trial.origin != IMPORTED]
        self._seen = {name for trial in own for name in trial.metrics}
        self._missing: dict[str, int] = {}
        self._is_resumed = bool(self.trials)
        # In a row from this start on; None once a trial got to a result.
        self._failures: int | None = 0
        self._mismatches = 0
        self._write(
            "start",
            version=VERSION,
            objectives=args.objectives,
            constraints=args.constraints,
            seed=args.seed,
            space=self.space,
            costs=args.costs if isinstance(args.costs, dict) else None,
            class_args=dict(class_args or {}),
            stack=stack_of(args, self._cost_model, self.log),
        )

    def _build(self) -> ga.Optimizer:
        if taken := sorted({*NAMES} & {*self.space}):
            raise ValueError(
                f"the search space has {', '.join(taken)}, which a training to the end is told "
                "beside its genes: give it another name"
            )
        parsed = search_space.parse(self.space)
        if isinstance(self.args.costs, dict) and self._cost_model is not None:
            # A network file of another model would price nothing: say so before the first trial.
            self._cost_model(parsed.decode(parsed.sample(random.Random(0))))
        options = self.args.optimizer_options(self._cost_model)
        if not self.trials:
            return ga.Optimizer(parsed, self.args.objectives, **options)
        told = [again for entry in self.log.told() if (again := self._told_again(entry))]
        return ga.Optimizer.replay(parsed, self.args.objectives, told, **options)

    def _told_again(self, told: Trial | ga.Measurement) -> Evaluation | ga.Measurement | None:
        """What is logged as the optimizer takes it; without an objective it is no result."""
        uid = told.id if isinstance(told, ga.Measurement) else told.uid
        first = self.trials[uid].evaluation()
        metrics = told.metrics if isinstance(told, ga.Measurement) else first.metrics or {}
        missing = [name for name in self.args.required if name not in metrics]
        if isinstance(told, ga.Measurement):
            usable = all(name in (first.metrics or {}) for name in self.args.required)
            again = replace(told, metrics=self.finals.in_place(told.metrics))
            return again if usable and not missing else None
        if told.status != COMPLETE or not missing:
            return self.finals.as_ranked(told)
        reason = f"its result in the journal lacks {', '.join(missing)}"
        logger.warning("uid %d counts as failed: %s (%s)", uid, reason, self.log.path)
        return replace(first, metrics=None, status=FAILED, reason=reason)

    @property
    def trials(self) -> dict[int, Trial]:
        """All trials by uid, in the order they were first mentioned."""
        return self.log.trials

    def run_of(self, uid: int) -> Trial | None:
        """A trial or a training to the end by its number; None if there is none."""
        return self.trials.get(uid) or self.log.finals.get(uid)

    def finished(self) -> list[Trial]:
        """Trials with an outcome, in the order of completion."""
        return self.log.finished()

    def running(self) -> list[Trial]:
        """Trials without an outcome, in the order in which they were asked for."""
        return self.log.running()

    def end(self, reason: str, message: str | None = None) -> None:
        """Writes down why nothing more is asked; a later start goes on all the same.

        Args:
            reason: one word, such as ``budget`` or ``stopped``.
            message: what went wrong, after an error.
        """
        said = {} if message is None else {"message": message}
        self._write("end", reason=reason, **said)

    def close(self) -> None:
        """Closes the journal; nothing can be asked or told afterwards."""
        self._journal.close()

    def change_space(self, space: NniSpace) -> None:
        """Goes on in another search space; results that fit it are kept as parents.

        Raises:
            ValueError: as for the constructor.
        """
        self.space = space
        self.optimizer = self._build()
        self._write("space", space=space)

    def is_over(self) -> str | None:
        """Why nothing should be asked any more: ``budget`` or ``stagnation``; None to go on.

        Chromosomes in flight count towards a budget: it is a number of trials.
        """
        budget = self.args.options.get("budget")
        asked = sum(trial.origin != IMPORTED for trial in self.trials.values())
        if budget is not None and asked >= budget:
            return "budget"
        return self.optimizer.should_stop()

    def ask(self) -> Trial:
        """A new chromosome.

        Raises:
            ga.SpaceExhausted: there is none left.
        """
        candidate = self.optimizer.ask()
        self._write(
            "ask",
            uid=candidate.id,
            params=candidate.params,
            costs=candidate.costs,
            origin=candidate.origin,
        )
        return self.trials[candidate.id]

    def reopen(self, uid: int) -> Trial:
        """Asks once more for a chromosome whose trial was stopped.

        Raises:
            KeyError: there is none of that number.
            ValueError: its trial was not stopped.
        """
        self.optimizer.reopen(uid)
        self._write("again", uid=uid)
        return self.trials[uid]

    def tell(
        self, uid: int, value: object, trial: str | None = None, *, replayed: bool = False
    ) -> None:
        """A trial's final result, whatever it is; one that can't be ranked counts as a failure.

        A result after a failure counts, a second result doesn't.

        Args:
            uid: the chromosome's number.
            value: as reported.
            trial: NNI's id of the trial job, where known.
            replayed: whether NNI tells at a resume what it has stored: that says nothing about the
                trials to come, so that it never ends the search.

        Raises:
            ValueError: the first few results all lack an objective.
        """
        if uid in self.log.finals:
            if self.finals.tell(uid, value, trial):
                # All that was told before is worth something else now.
                self.optimizer = self._build()
            return
        told = self.trials[uid]
        if told.status == COMPLETE:
            return
        if told.status == FAILED and told.judged and told.job_id == trial:
            return
        if told.lost:
            logger.warning("uid %d: result of unknown parameters, not used: %s", uid, told.reason)
            return
        known = told.costs or {}
        required = [name for name in self.args.required if name not in known]
        try:
            metrics = read_metrics(value, required)
        except UnusableMetricsError as error:
            is_new = self._note_failure(uid, str(error), trial=trial)
            if not replayed:
                self._check_names(error)
            if not replayed and is_new:
                self._check_failures(str(error))
            return
        if not replayed:
            self._seen.update(required)
            self._failures = None
        self._compare_costs(uid, known, metrics)
        metrics = {**known, **metrics}
        self._write("tell", uid=uid, metrics=metrics, trial=trial)
        self.optimizer.tell(uid, told.forecast.in_place(metrics) if told.forecast else metrics)
        self._note_troubles()
        shown = ", ".join(f"{name}={metrics[name]:g}" for name in self.args.objectives)
        logger.info("uid %d (%s): %s", uid, told.origin or "ga", shown)

    def remeasure(self, uid: int, value: object) -> None:
        """A further result of a chromosome that has one; the means of all of them count.

        Args:
            uid: the chromosome's number.
            value: as a trial reports it.

        Raises:
            KeyError: there is none of that number.
            ValueError: the chromosome has no result yet, or ``value`` lacks a metric.
        """
        trial = self.trials[uid]
        self.optimizer.results.complete(uid)
        known = trial.costs or {}
        metrics = read_metrics(value, [name for name in self.args.required if name not in known])
        metrics = {**known, **metrics}
        self._write("measure", uid=uid, metrics=metrics)
        self.optimizer.remeasure(uid, self.finals.in_place(metrics))
        self._note_troubles()

    def fail(self, uid: int, reason: str, job: str | None = None) -> None:
        """The chromosome got no result; nothing happens if it has one already.

        Args:
            uid: the chromosome's number.
            reason: why, in one line.
            job: NNI's id of the trial job that ended, where known.

        Raises:
            ValueError: the first few trials all failed.
        """
        if uid in self.log.finals:
            self.finals.fail(uid, reason, job)
        elif self._note_failure(uid, reason, job=job):
            self._check_failures(reason)

    def _note_failure(self, uid: int, reason: str, **trial: str | None) -> bool:
        if self.trials[uid].status != RUNNING:
            return False
        logger.warning("uid %d failed: %s", uid, reason)
        self._write("fail", uid=uid, reason=reason, **trial)
        self.optimizer.fail(uid, reason)
        return True

    def _check_failures(self, reason: str) -> None:
        if self._failures is None:
            return
        self._failures += 1
        if self._failures >= FAILURE_LIMIT:
            since = " since the resume" if self._is_resumed else ""
            raise ValueError(
                f"the first {self._failures} trials{since} all failed, the last one because: "
                f"{reason}. Mend the trial or what it runs in, then resume the experiment"
            )

    def censor(self, uid: int, decision: StopDecision, job: str | None = None) -> None:
        """The trial was stopped on its way; nothing happens if it got to its end all the same.

        Args:
            uid: the chromosome's number.
            decision: with what the trial had reported; the surrogate learns what was expected.
            job: NNI's id of the trial job, where known.
        """
        if self.trials[uid].status != RUNNING:
            return
        logger.info("uid %d stopped at rung %d: %s", uid, decision.rung, decision.reason)
        self._failures = None
        self._write("censor", uid=uid, job=job, **decision.as_event())
        self.optimizer.censor(uid, decision.metrics, decision.reason, decision.expected)

    def take_in(self, params: object, value: object) -> int | None:
        """A result from elsewhere.

        Args:
            params: a dict of genes; anything else can't be used.
            value: as a trial reports it.

        Returns:
            Its uid; None if it was taken in before or can't be used (said in the log).
        """
        if not isinstance(params, Mapping):
            logger.warning(
                "imported result left out: its parameter is no dict but %s", shown(params)
            )
            return None
        params = {name: allele for name, allele in params.items() if name != UID}
        if any(t.origin == IMPORTED and t.params == params for t in self.trials.values()):
            return None
        try:
            metrics = read_metrics(value, self.args.required)
            uid = self.optimizer.inject(params, self.finals.in_place(metrics))
        except (ValueError, TypeError, OverflowError) as error:
            logger.warning("imported result left out: %s", error)
            return None
        self._write("import", uid=uid, params=params, metrics=metrics)
        return uid

    def _note_troubles(self) -> None:
        """Writes down what the optimizer complains of, once in a journal; its log has it too."""
        for text in self.optimizer.messages.troubles:
            if text not in self.log.notes:
                self._write("note", text=text)

    def _write(self, event: str, **fields: object) -> None:
        """One step: on disk first, then in the log, as a later start will read it."""
        self.log.apply(self._journal.append(event, **fields))

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
