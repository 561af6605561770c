"""What published checkpoints hold, and what becomes of them in every layout: the public table."""
