"""Training runs: recipes, what a run is a function of, and what it leaves behind."""
