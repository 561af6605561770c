"""Exported graphs as checkpoints: their weights are found by what is computed with them."""
