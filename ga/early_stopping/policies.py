"""The policies by their names, as a config writes them."""

from __future__ import annotations

from collections.abc import Callable

from ga.early_stopping.policy import Policy
from ga.early_stopping.reservation_value import ReservationValue
from ga.early_stopping.successive_halving import SuccessiveHalving

DEFAULT = "reservation_value"

POLICIES: dict[str, Callable[..., Policy]] = {
    DEFAULT: ReservationValue,
    "successive_halving": SuccessiveHalving,
}

# Spellings of configs that were written before the policies had their standard names.
ALIASES = {"promise": DEFAULT, "halving": "successive_halving"}

RETIRED = {
    "gain": (
        "it brought a search to its end after 90 % of the training steps, where "
        "'reservation_value' takes 70 % (keyword spotting, medians of 13 seeds)"
    )
}
"""Policies that went, and why; a config that names one runs with the default."""
