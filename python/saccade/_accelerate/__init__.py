"""Existing models on saccade's kernels."""

from saccade._accelerate.model import accelerate, explain

__all__ = ["accelerate", "explain"]
