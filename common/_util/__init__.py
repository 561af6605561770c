"""What every room may use, and what is about none of them."""
