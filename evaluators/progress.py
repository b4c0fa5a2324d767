"""How often work that takes long says how far it is, where the output is no terminal."""

from __future__ import annotations

LINE_S = 10.0
"""Seconds between lines: few in a log of an hour, and soon enough to see that it goes on."""
