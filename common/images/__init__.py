"""Images: how each library prepares them, data sets, and batches for training."""
