"""Minimum cuts beside SciPy's maximum flow, PyMaxflow where it is installed, and all labellings of small grids."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from saccade import classic

STEPS = {
    4: [(1, 0), (0, 1)],
    8: [(1, 0), (0, 1), (1, 1), (1, -1)],
    6: [(1, 0, 0), (0, 1, 0), (0, 0, 1)],
    26: [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)],
}
SHAPES = {
    4: [(1, 1), (1, 7), (7, 1), (2, 2), (9, 13), (17, 16)],
    8: [(1, 1), (1, 7), (7, 1), (2, 2), (9, 13), (17, 16)],
    6: [(1, 1, 1), (1, 5, 4), (5, 1, 4), (5, 4, 1), (4, 5, 6)],
    26: [(1, 1, 1), (1, 5, 4), (5, 1, 4), (5, 4, 1), (4, 5, 6)],
}
CASES = [(connectivity, shape) for connectivity, shapes in SHAPES.items() for shape in shapes]


def pairs(connectivity, shape):
    """(direction, pixel, neighbour) as flat indices, for every direction."""
    index = np.arange(np.prod(shape)).reshape(shape)
    for k, step in enumerate(STEPS[connectivity]):
        here = tuple(slice(max(0, -s), max(0, n - max(0, s))) for s, n in zip(step, shape, strict=True))
        there = tuple(slice(max(0, s), max(0, n + min(0, s))) for s, n in zip(step, shape, strict=True))
        yield k, index[here].ravel(), index[there].ravel()


def energy_of(labels, unary, weights, connectivity):
    flat = labels.ravel().astype(bool)
    energy = np.where(flat, unary[1].ravel(), unary[0].ravel()).sum()
    for k, p, q in pairs(connectivity, labels.shape):
        energy += weights[k].ravel()[p][flat[p] != flat[q]].sum()
    return energy


def scipy_minimum(unary, weights, connectivity):
    """The least energy and its labelling with the fewest ones, from SciPy's flow."""
    shape, count = unary.shape[1:], unary[0].size
    source, sink = count, count + 1
    least = unary.min(0).ravel()
    pixels = np.arange(count)
    rows, columns = [np.full(count, source), pixels], [pixels, np.full(count, sink)]
    values = [unary[0].ravel() - least, unary[1].ravel() - least]
    for k, p, q in pairs(connectivity, shape):
        rows += [p, q]
        columns += [q, p]
        values += [weights[k].ravel()[p]] * 2
    entries = np.concatenate(values).astype(np.int32), (np.concatenate(rows), np.concatenate(columns))
    graph = coo_array(entries, shape=(count + 2,) * 2).tocsr()
    result = maximum_flow(graph, source, sink)
    residual = (graph - result.flow).toarray() > 0
    reached, front = np.zeros(count + 2, bool), [source]
    reached[source] = True
    while front:
        new = np.flatnonzero(residual[front].any(0) & ~reached)
        reached[new] = True
        front = list(new)
    return int(result.flow_value + least.sum()), reached[:count].reshape(shape)


def make(connectivity, shape, seed=0, high=30, weight=9):
    rng = np.random.default_rng(seed)
    unary = rng.integers(-high, high, (2, *shape)).astype(np.int32)
    return unary, rng.integers(0, weight, (connectivity // 2, *shape)).astype(np.int32)


@pytest.mark.parametrize(("connectivity", "shape"), CASES)
@pytest.mark.parametrize(("high", "weight"), [(30, 9), (5, 40), (1000, 100), (3, 2)])
def test_integers_equal_scipy(connectivity, shape, high, weight):
    for seed in range(4):
        unary, weights = make(connectivity, shape, seed, high, weight)
        labels, energy = classic.graph_cut(unary, weights, connectivity=connectivity, return_energy=True)
        expected, fewest = scipy_minimum(unary, weights, connectivity)
        assert isinstance(energy, int)
        assert energy == expected == energy_of(labels, unary, weights, connectivity)
        np.testing.assert_array_equal(labels, fewest)


@pytest.mark.parametrize(("connectivity", "shape"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_floats_equal_integers(connectivity, shape, dtype):
    unary, weights = make(connectivity, shape)
    expected, energy = classic.graph_cut(unary, weights, connectivity=connectivity, return_energy=True)
    labels, real = classic.graph_cut(
        unary.astype(dtype), weights.astype(dtype), connectivity=connectivity, return_energy=True
    )
    assert isinstance(real, float)
    assert real == energy
    np.testing.assert_array_equal(labels, expected)


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([4, 8]), st.integers(0, 2**32 - 1))
def test_least_of_all_labellings(height, width, connectivity, seed):
    rng = np.random.default_rng(seed)
    shape = (height, min(width, 12 // height))
    unary = rng.normal(size=(2, *shape))
    weights = rng.exponential(size=(connectivity // 2, *shape)) * rng.integers(0, 2)
    _, energy = classic.graph_cut(unary, weights, connectivity=connectivity, return_energy=True)
    count = shape[0] * shape[1]
    every = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
    energies = np.where(every, unary[1].ravel(), unary[0].ravel()).sum(1)
    for k, p, q in pairs(connectivity, shape):
        energies += ((every[:, p] != every[:, q]) * weights[k].ravel()[p]).sum(1)
    assert energy == pytest.approx(energies.min(), abs=1e-12)


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("kind", ["noise", "seeds", "smooth"])
def test_large_images_equal_scipy(connectivity, dtype, kind):
    """Long paths and many labels: whole numbers, so that every dtype has to be exact."""
    rng = np.random.default_rng(3)
    shape = (61, 47)
    unary = rng.integers(0, 200, (2, *shape))
    weights = rng.integers(20, 60, (connectivity // 2, *shape))
    if kind == "seeds":
        unary[:] = 0
        unary[0, 30, 20:28] = unary[1, 0] = unary[1, :, 0] = 10**5
    elif kind == "smooth":
        unary = np.abs(np.add.outer(np.arange(61), np.arange(47)) - 54 + rng.integers(-20, 20, (2, *shape)))
        weights //= 10
    expected, fewest = scipy_minimum(unary, weights, connectivity)
    labels, energy = classic.graph_cut(
        unary.astype(dtype), weights.astype(dtype), connectivity=connectivity, return_energy=True
    )
    assert energy == expected
    np.testing.assert_array_equal(labels, fewest)


@pytest.mark.parametrize("connectivity", [4, 8, 6, 26])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_equal_pymaxflow(connectivity, dtype):
    maxflow = pytest.importorskip("maxflow")
    shape = (60, 70) if connectivity in (4, 8) else (15, 16, 17)
    rng = np.random.default_rng(0)
    unary = rng.random((2, *shape)).astype(dtype)
    weights = (0.3 * rng.random((connectivity // 2, *shape))).astype(dtype)
    graph = maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(shape)
    for step, weight in zip(STEPS[connectivity], weights, strict=True):
        structure = np.zeros((3,) * len(shape))
        structure[tuple(1 + s for s in step)] = 1
        graph.add_grid_edges(nodes, weight, structure, symmetric=True)
    graph.add_grid_tedges(nodes, unary[0], unary[1])
    _, energy = classic.graph_cut(unary, weights, connectivity=connectivity, return_energy=True)
    assert energy == pytest.approx(graph.maxflow(), rel=1e-12 if dtype == "float64" else 1e-6)


def test_forms_of_the_weights():
    unary, _ = make(8, (9, 8))
    one = classic.graph_cut(unary, 3, connectivity=8)
    np.testing.assert_array_equal(classic.graph_cut(unary, [3, 3, 3, 3], connectivity=8), one)
    np.testing.assert_array_equal(classic.graph_cut(unary, np.full((4, 9, 8), 3), connectivity=8), one)
    each = np.array([1, 2, 3, 4])
    expected = classic.graph_cut(unary, np.broadcast_to(each[:, None, None], (4, 9, 8)), connectivity=8)
    np.testing.assert_array_equal(classic.graph_cut(unary, each, connectivity=8), expected)


def test_weights_that_lead_out_are_not_read():
    unary, weights = make(8, (5, 6))
    real = weights.astype(np.float64)
    real[0, -1] = real[1, :, -1] = real[2, -1] = real[2, :, -1] = real[3, -1] = real[3, :, 0] = np.nan
    expected = classic.graph_cut(unary, weights, connectivity=8)
    np.testing.assert_array_equal(classic.graph_cut(unary, real, connectivity=8), expected)


def test_no_weights_choose_the_cheaper_label():
    unary, _ = make(4, (20, 30))
    np.testing.assert_array_equal(classic.graph_cut(unary, 0), unary[1] < unary[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinite_costs_forbid(dtype):
    unary = np.zeros((2, 4, 5), dtype)
    unary[1] = 1
    unary[0, 1, 1] = unary[1, 3] = np.inf
    labels, energy = classic.graph_cut(unary, 10, return_energy=True)
    assert labels[1, 1] == 1
    assert not labels[3].any()
    finite = np.where(np.isinf(unary), 1e6, unary)
    assert energy == classic.graph_cut(finite, 10, return_energy=True)[1]


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_empty(connectivity, shape):
    labels, energy = classic.graph_cut(np.zeros((2, *shape)), 1, connectivity=connectivity, return_energy=True)
    assert labels.shape == shape
    assert labels.dtype == np.uint8
    assert energy == 0


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "uint16", "int64", "uint64", ">i4", "<u4"])
def test_integer_dtypes(dtype):
    unary = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (2, 6, 7))
    labels, energy = classic.graph_cut(unary.astype(dtype), np.uint8(7), return_energy=True)
    expected, total = classic.graph_cut(unary.astype(np.int32), 7, return_energy=True)
    np.testing.assert_array_equal(labels, expected)
    assert (type(energy), energy) == (int, total)


def test_layouts():
    unary, weights = make(4, (8, 6))
    expected = classic.graph_cut(unary, weights)
    read_only = unary.copy()
    read_only.setflags(write=False)
    strided = np.zeros((2, 8, 12), np.int32)[:, :, ::2]
    strided[:] = unary
    backwards = np.ascontiguousarray(unary[:, ::-1])[:, ::-1]
    for other in (read_only, strided, backwards, np.asfortranarray(unary), unary.astype(">f8"), unary.tolist()):
        before = np.array(other)
        np.testing.assert_array_equal(classic.graph_cut(other, weights), expected)
        np.testing.assert_array_equal(other, before)


def test_largest_integers():
    most = 2**30 - 1
    unary = np.array([[[most, 0, 0]], [[0, 0, most]]])
    labels, energy = classic.graph_cut(unary, most, return_energy=True)
    assert energy == most
    np.testing.assert_array_equal(labels, [[0, 0, 0]])


@pytest.mark.parametrize(
    ("unary", "pairwise", "connectivity", "message"),
    [
        (np.zeros((3, 4, 5)), 1, 4, "unary must have shape (2, H, W) or (2, D, H, W), got (3, 4, 5)"),
        (np.zeros((2, 4)), 1, 4, "unary must have shape (2, H, W) or (2, D, H, W), got (2, 4)"),
        (np.zeros((2, 4, 5)), 1, 6, "connectivity must be 4 or 8 in an image, got 6"),
        (np.zeros((2, 4, 5, 6)), 1, 4, "connectivity must be 6 or 26 in a volume, got 4"),
        (
            np.zeros((2, 4, 5)),
            np.zeros((4, 5)),
            4,
            "pairwise must be one number, one for each of 2 directions, or an array for each of them, "
            "for unary (2, 4, 5), got shape (4, 5)",
        ),
        (
            np.zeros((2, 4, 5)),
            np.zeros(4),
            4,
            "pairwise must be one number, one for each of 2 directions, or an array for each of them, "
            "for unary (2, 4, 5), got shape (4,)",
        ),
        (np.zeros((2, 4, 5)), -1.0, 4, "pairwise must be finite and not negative, got -1"),
        (np.zeros((2, 4, 5)), np.nan, 4, "pairwise must be finite and not negative, got nan"),
        (np.zeros((2, 4, 5)), np.inf, 4, "pairwise must be finite and not negative, got inf"),
        (np.zeros((2, 4, 5)), np.full((2, 4, 5), -2.0), 4, "pairwise must be finite and not negative, got -2"),
        (np.zeros((2, 4, 5), int), -1, 4, "pairwise must be at least 0 and less than 2^30, got -1"),
        (np.zeros((2, 4, 5), int), 2**30, 4, "pairwise must be at least 0 and less than 2^30, got 1073741824"),
        (
            np.full((2, 1, 1), np.nan),
            1,
            4,
            "unary must be numbers or +inf for a forbidden label, not for both, got nan and nan",
        ),
        (
            np.full((2, 1, 1), np.inf),
            1,
            4,
            "unary must be numbers or +inf for a forbidden label, not for both, got inf and inf",
        ),
        (
            np.array([[[-np.inf]], [[1]]]),
            1,
            4,
            "unary must be numbers or +inf for a forbidden label, not for both, got -inf and 1",
        ),
        (
            np.array([[[2**30]], [[0]]]),
            1,
            4,
            "integer costs of a pixel must differ by less than 2^30, got 1073741824 and 0",
        ),
        (
            np.array([[[2**31]], [[0]]]),
            1,
            4,
            "unary must fit in 32 bits where all is integer, got 0 to 2147483648",
        ),
    ],
)
def test_values_that_are_refused(unary, pairwise, connectivity, message):
    with pytest.raises(ValueError, match=f"^graph_cut: {re.escape(message)}$"):
        classic.graph_cut(unary, pairwise, connectivity=connectivity)


@pytest.mark.parametrize(
    ("unary", "pairwise", "connectivity", "message"),
    [
        (np.zeros((2, 4, 5), complex), 1, 4, "unary must be real numbers of at most 64 bits, got complex128"),
        (np.zeros((2, 4, 5), "U1"), 1, 4, "unary must be real numbers of at most 64 bits, got <U1"),
        (np.zeros((2, 4, 5)), None, 4, "pairwise must be real numbers of at most 64 bits, got object"),
        (np.zeros((2, 4, 5)), 1, 4.0, "connectivity must be an integer, got 4.0"),
        (np.zeros((2, 4, 5)), 1, True, "connectivity must be an integer, got True"),
    ],
)
def test_types_that_are_refused(unary, pairwise, connectivity, message):
    with pytest.raises(TypeError, match=f"^graph_cut: {re.escape(message)}$"):
        classic.graph_cut(unary, pairwise, connectivity=connectivity)


def test_a_python_number_does_not_widen_float32():
    unary = np.zeros((2, 1, 1), np.float32)
    unary[0] = 0.1
    unary[1] = 1
    assert classic.graph_cut(unary, 0.5, return_energy=True)[1] == float(np.float32(0.1))
