"""``python -m nni_plugin.cli`` is ``joint-ga``."""

from nni_plugin.cli import main

try:
    main()
finally:
    # An interrupt within `exec` (of a namedtuple, while something is imported) has CPython end
    # `python -m` by the signal, whatever the exit code. Code that runs to its end undoes it.
    exec("")
