"""Readers of the data sets that the tasks use: numpy and Pillow, everything held in memory."""
