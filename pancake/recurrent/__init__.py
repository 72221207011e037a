"""Recurrence: cells of one time step, and what unrolls them."""
