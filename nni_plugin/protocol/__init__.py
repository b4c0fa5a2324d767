"""What NNI's manager and dispatcher say and expect."""
