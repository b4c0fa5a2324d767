"""The tuner and the assessor under a name in NNI's list of algorithms.

NNI looks a ``name:`` up in ``registered_algorithms.yml`` of the Python environment, and installs
nothing there by itself.
"""

from __future__ import annotations

# name: (algorithm type, class, alias)
_ALGORITHMS = {
    "JointGA": ("tuner", "nni_plugin.tuner.JointGATuner", "joint-ga"),
    "ParetoAssessor": ("assessor", "nni_plugin.assessor.ParetoAssessor", "pareto"),
}


def register() -> list[str]:
    """Makes ``tuner: {name: JointGA}`` known to NNI in this environment; harmless when repeated.

    Returns:
        The registered names.
    """
    from nni.tools.package_utils import AlgoMeta, register_algo_meta

    for name, (kind, class_name, alias) in _ALGORITHMS.items():
        meta = {"algoType": kind, "builtinName": name, "className": class_name, "alias": alias}
        register_algo_meta(AlgoMeta.load(meta))
    return list(_ALGORITHMS)


def unregister() -> list[str]:
    """Takes the names out of NNI's list again.

    Returns:
        The names that were there.
    """
    from nni.tools.package_utils import unregister_algo_meta

    there = [name for name in _ALGORITHMS if is_registered(name)]
    for name in there:
        unregister_algo_meta(name)
    return there


def is_registered(name: str = "JointGA") -> bool:
    """Whether NNI finds this package's class under ``name`` (or its alias)."""
    return registered_class(name) in {class_name for _, class_name, _ in _ALGORITHMS.values()}


def registered_class(name: str) -> str | None:
    """The class of any algorithm that NNI knows by this name or alias; None if there is none."""
    from nni.tools.package_utils import get_algo_meta

    meta = get_algo_meta(name)
    found: str | None = None if meta is None else meta.class_name
    return found
