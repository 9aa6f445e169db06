"""Data sets, splits that cannot overlap, and normalisation that remembers its statistics."""

__all__: list[str] = []
