"""Canonical weights: names, files and metadata, initialisation and calibration."""
