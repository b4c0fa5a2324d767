"""Ways to search that take the place of the surrogate and the genetic operators."""
