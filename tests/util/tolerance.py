"""The one table of tolerances, by dtype and family of operation."""

import torch

# Relative to the magnitude of the expected values. "exact": equal bit for bit. "elementwise": a few roundings.
# "reduction": a sum whose order differs from the reference's.
RELATIVE = {
    "elementwise": {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2},
    "reduction": {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3.2e-2},
}


def assert_close(actual, expected, family):
    """Compare with a reference computed in at least the same precision; NaN must stand where the reference has NaN."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    if family == "exact":
        assert actual.dtype == expected.dtype, (actual.dtype, expected.dtype)
        assert torch.equal(actual.nan_to_num(nan=0.0), expected.nan_to_num(nan=0.0))
        assert torch.equal(actual.isnan(), expected.isnan())
        return
    expected = expected.to(torch.float64)
    finite = expected[expected.isfinite()]
    scale = max(1.0, finite.abs().max().item()) if finite.numel() else 1.0
    tolerance = RELATIVE[family][actual.dtype] * scale
    torch.testing.assert_close(actual.to(torch.float64), expected, rtol=0, atol=tolerance, equal_nan=True)
