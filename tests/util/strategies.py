"""Hypothesis strategies for the input that users should not pass, and sometimes do."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

# Coordinates and scores: ordinary ones, exact ties, and everything that breaks arithmetic.
awkward_floats = st.one_of(
    st.floats(-50, 50, width=32),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, float("nan"), float("inf"), float("-inf"), 3.4e38, -3.4e38, 1e-45]),
)


def boxes(max_count=12, width=4):
    """(N, width) float32 arrays, N from 0, any coordinates at all."""
    return hnp.arrays(np.float32, st.tuples(st.integers(0, max_count), st.just(width)), elements=awkward_floats)


@st.composite
def awkward_layouts(draw, array):
    """The same values read-only, byte-swapped, reversed twice, or strided: never a reason to fail."""
    kind = draw(st.sampled_from(["plain", "readonly", "swapped", "negative", "strided", "fortran"]))
    if kind == "readonly":
        array = array.copy()
        array.flags.writeable = False
    elif kind == "swapped":
        array = array.astype(array.dtype.newbyteorder())
    elif kind == "negative" and array.ndim:
        array = array[::-1].copy()[::-1]
    elif kind == "strided" and array.ndim:
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    elif kind == "fortran":
        array = np.asfortranarray(array)
    return array
