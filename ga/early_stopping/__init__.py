"""Which running trials go on: learning curves, outlooks on their ends, policies that decide."""
