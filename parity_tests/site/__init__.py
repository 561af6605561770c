"""The pages: what they quote, how they are built, and what they do in a browser."""
