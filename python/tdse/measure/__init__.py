"""Measured times: how they are taken, and where they are kept."""
