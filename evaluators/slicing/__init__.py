"""Units that can be removed from a model: what they are, taking them out, trying it first."""
