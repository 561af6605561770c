"""The rows of the table of situations, by what made the files."""
