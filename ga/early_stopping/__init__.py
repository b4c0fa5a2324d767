"""Which running trials go on: learning curves, forecasts of their ends, policies."""
