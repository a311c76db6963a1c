"""Boards that are not here: modelled costs, placements, and executors that keep to the model."""
