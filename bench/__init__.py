"""What a renewal costs, measured beside what the same machine needs for the bare workflow."""
