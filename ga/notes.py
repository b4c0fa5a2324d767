"""What a search met on its way: said once in the log, kept for the report."""

from __future__ import annotations

import logging

_log = logging.getLogger("ga")


class Notes:
    """Messages of which every topic is logged once.

    Attributes:
        messages: everything said so far, in order.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._topics: set[str] = set()

    def once(self, topic: str, message: str) -> None:
        """Log a warning, unless the topic was spoken of before."""
        if topic not in self._topics:
            self._topics.add(topic)
            self.messages.append(message)
            _log.warning(message)
