"""Layers and containers: what a net is made of."""
