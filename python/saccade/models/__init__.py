"""Whole networks, built by name, in the layouts of the checkpoints that people have."""

__all__: list[str] = []
