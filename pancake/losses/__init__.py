"""Losses: how wrong a prediction is, and the gradient with which backward begins."""
