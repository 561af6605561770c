"""Predicting: what classes are called, what may be named as an image, and what is printed."""
