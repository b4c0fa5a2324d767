"""Results that NNI hands over again at a resume, or from another experiment."""

from __future__ import annotations

from collections.abc import Mapping

from ga.evaluation import COMPLETE, RUNNING
from nni_plugin.protocol.final_run import EPOCHS
from nni_plugin.protocol.log import logger
from nni_plugin.protocol.metrics import UID, reported_uid
from nni_plugin.study.study import Study


def take_in(study: Study, entry: Mapping[str, object]) -> bool:
    """Whether an entry brought a result of another search; one of this search is told to it."""
    value, params, job = entry.get("value"), entry.get("parameter"), entry.get("trialJobId")
    echoed, meant = reported_uid(value), reported_uid(params)
    uid = meant if echoed is None else echoed
    if (isinstance(params, Mapping) and EPOCHS in params) or (uid is not None and uid < 0):
        # A training to the end. Of another search it is no result of a trial.
        if echoed is not None and echoed == meant and echoed in study.log.finals:
            study.tell(echoed, value, None if job is None else str(job), replayed=True)
        return False
    if uid is None or uid not in study.trials or _is_foreign(study, params):
        if meant is not None and uid != meant:
            logger.warning("imported result of uid %s left out: it is beside uid %s", uid, meant)
            return False
        return study.take_in({} if params is None else params, value) is not None
    if echoed is not None or not _is_doubtful(study, uid, entry):
        study.tell(uid, value, None if job is None else str(job), replayed=True)
    return False


def _is_foreign(study: Study, params: object) -> bool:
    """Whether they are of another search, whose numbers mean other chromosomes.

    Beside a result of this search NNI shows parameters of some trial of it.
    """
    if not isinstance(params, Mapping) or not params:
        return False
    trial = study.trials.get(reported_uid(params) or 0)
    genes = {name: allele for name, allele in params.items() if name != UID}
    return trial is None or not (trial.lost or trial.params == genes)


def _is_doubtful(study: Study, uid: int, entry: Mapping[str, object]) -> bool:
    """Whether NNI may have put another trial's metrics beside this chromosome.

    Its replay pairs a finished trial's metrics with the parameters meant for it, not with those
    it got. What was told before stands; the rest is asked again.
    """
    status = study.trials[uid].status
    if "trialJobId" not in entry or status == COMPLETE:
        return False
    if status != RUNNING:
        return True
    logger.warning(
        "the result of trial %s echoes no uid, so that NNI's pairing of it with uid %d can't "
        "be trusted: asked again (use nni_plugin.trial_parameters and report the uid)",
        entry["trialJobId"],
        uid,
    )
    return True
