"""What runs the trials of a search: processes of this machine, a Ray cluster, or this process."""
