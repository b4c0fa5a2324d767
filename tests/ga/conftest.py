import sys
from pathlib import Path

# The suite runs with --import-mode=importlib, which keeps this folder off the path.
sys.path.insert(0, str(Path(__file__).parent))
