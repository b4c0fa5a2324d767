"""What predicts expensive metrics: features, extra trees, a Gaussian process, their learner."""
