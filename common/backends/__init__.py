"""What a backend is, which there are, and what they share."""
