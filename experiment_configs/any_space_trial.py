"""A trial that knows nothing of compression: one scikit-learn classifier on the digits.

Two lines differ from any other NNI trial: ``trial_parameters()`` stands for
``nni.get_next_parameter()``, which mixes trials up when several run at once, and the ``uid`` of the
parameters goes back with the metrics.
"""

from __future__ import annotations

import time
from typing import Any

import nni
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from nni_plugin import trial_parameters

SCALERS = {"none": FunctionTransformer, "standard": StandardScaler, "minmax": MinMaxScaler}


def classifier(choice: dict[str, Any]) -> Any:
    """The model of a nested choice."""
    if choice["_name"] == "forest":
        return RandomForestClassifier(choice["trees"], max_depth=choice["depth"], random_state=0)
    if choice["_name"] == "svm":
        return SVC(C=choice["C"], gamma=choice["gamma"])
    return KNeighborsClassifier(int(choice["k"]))


def main() -> None:
    """Fit, score, report."""
    params = trial_parameters()
    x, y = load_digits(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.3, random_state=0)
    steps = (SCALERS[params["scale"]](), PCA(params["features"]), classifier(params["model"]))
    pipeline = make_pipeline(*steps)
    start = time.perf_counter()
    pipeline.fit(x_train, y_train)
    accuracy = pipeline.score(x_val, y_val)
    milliseconds = 1000 * (time.perf_counter() - start)
    nni.report_final_result(
        {
            "default": round(float(accuracy), 4),
            "milliseconds": round(milliseconds, 2),
            "uid": params["uid"],
        }
    )


if __name__ == "__main__":
    main()
