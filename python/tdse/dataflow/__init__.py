"""Dataflow accelerators that exist as a description: what layers cost on them, and how best."""
