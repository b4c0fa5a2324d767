"""The tasks that come with the package: `build()` of each returns an evaluators.Task."""
