"""What the rows of several tables say alike."""

DROP = {"drop_head": True}
OUT = "out to keep the network and its features"  # what may be left
DENSE = "one dense layer"
NORM = "batch norm, dense layer"
