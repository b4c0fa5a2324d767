"""What a config says of its trials' supernet, for the process that tries the task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SupernetRequest:
    """What the trials are to start from.

    Attributes:
        file: the supernet's; None: in the cache.
        space: values by gene that it is trained for where it is missing; None: an error then.
        epochs: of that training; None: the default.
        genes: values by gene of the search.
    """

    file: str | None
    space: dict[str, list[object]] | None
    epochs: int | None
    genes: dict[str, list[object]]
