"""The ``joint-ga`` command."""


def main() -> None:
    """Runs the command that the command line names."""
    from nni_plugin.cli import app  # late: a command imports only what it needs

    app.main()
