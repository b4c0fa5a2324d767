"""What is searched: genes and their space, objectives, limits, known costs, duplicates."""
