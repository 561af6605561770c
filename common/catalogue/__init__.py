"""Published checkpoints by name: which there are, what is known of each, and how its file is got."""
