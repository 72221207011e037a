"""The training loop, and what people put around it."""
