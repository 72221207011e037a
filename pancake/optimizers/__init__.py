"""Optimizers: what to do with a gradient, and how fast."""
