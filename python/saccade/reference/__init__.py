"""Slow, obvious versions of the operations, in float64. Tests compare with them; readers may start here."""
