"""Published checkpoints by name: which there are, what is known of each, and its file."""
