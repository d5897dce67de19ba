"""Offers rounds, adds updates, publishes models. Never sees a sample, never runs a model."""
