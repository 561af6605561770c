"""Published weights that a package index serves, and photographs that libraries bring along."""
