"""What a search met on its way: said once in the log, kept for the report."""

from __future__ import annotations

import logging

_log = logging.getLogger("ga")


class Messages:
    """Messages of which every topic is logged once.

    Attributes:
        texts: everything said so far, in order.
        troubles: what of it says that something is wrong.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.troubles: list[str] = []
        self._topics: set[str] = set()

    def once(self, topic: str, message: str, *, trouble: bool = True) -> None:
        """Log a message, as a warning if it is about trouble, unless the topic was spoken of."""
        if topic not in self._topics:
            self._topics.add(topic)
            self.texts.append(message)
            if trouble:
                self.troubles.append(message)
            _log.log(logging.WARNING if trouble else logging.INFO, message)
