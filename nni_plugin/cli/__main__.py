"""``python -m nni_plugin.cli`` is ``joint-ga``."""

from nni_plugin.cli import main

main()
