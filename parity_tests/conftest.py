"""Settings that must stand before a framework is imported."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
