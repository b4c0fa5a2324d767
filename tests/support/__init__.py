"""What several tests need: networks, spaces, made-up journals, real NNI experiments."""
