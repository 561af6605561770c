"""Graphs that exporters make of our networks, and what is read back from them."""
