import sys
from pathlib import Path

from hypothesis import settings

# The suite runs with --import-mode=importlib, which keeps this folder off the path.
sys.path.insert(0, str(Path(__file__).parent))

# A shared machine has no deadlines; the same examples each time keep CI from flaking.
settings.register_profile("shared", deadline=None, derandomize=True)
settings.load_profile("shared")
