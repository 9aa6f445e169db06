"""OpenCV's HOG descriptor and detector."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saccade._hog import Size, image_size, window_padding, window_stride
from saccade._native import numpy_module

__all__ = ["HOGDescriptor"]


class HOGDescriptor:
    """Histograms of oriented gradients as ``cv2.HOGDescriptor`` computes them, and detection with a linear classifier.

    Sizes are ``(width, height)`` in pixels. A descriptor never changes: any number of threads may use one at the same
    time, and `set_svm` returns another one. It can be pickled.

    Args:
        win_size: of the window; the block and a multiple of ``block_stride``.
        block_size: of the blocks of cells that are normalised together, a multiple of ``cell_size``.
        block_stride: between blocks of a window.
        cell_size: of the cells that have a histogram each.
        nbins: orientations.
        deriv_aperture: has no effect, here as in OpenCV: the gradient is the difference of two neighbours.
        win_sigma: of the Gaussian that weighs the votes in a block; negative: an eighth of the sum of its sides.
        histogram_norm_type: 0, for L2-Hys; OpenCV has no other.
        l2_hys_threshold: no value of a block's normalised histogram is larger before it is normalised again.
        gamma_correction: take the square root of the image first.
        nlevels: of image sizes that `detect_multi_scale` searches, at most.
        signed_gradient: orientations cover 360 degrees rather than 180.

    Raises:
        ValueError: for sizes that do not fit each other, or parameters out of range.

    Images are uint8, grey ``(H, W)`` or ``(H, W, 3)``. Of three channels, in any order, a pixel's gradient is that of
    the channel where it is largest; of equal ones the first.

    Descriptors differ from OpenCV 4.14's by 2e-6 at most (measured), as its approximation of the angle, 0.009 degrees,
    is taken over. Two of its bugs are not reproduced: there the first descriptor made in a process fixes
    ``L2HysThreshold`` for all, and blocks that are not square have wrong weights.

    Source: N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005.

    >>> import numpy as np
    >>> from saccade.classic import HOGDescriptor
    >>> hog = HOGDescriptor()
    >>> hog.descriptor_size
    3780
    >>> image = np.tile(np.arange(64, dtype=np.uint8), (128, 1))  # brighter to the right: 0 degrees
    >>> print(hog.compute(image)[:9].round(2))
    [0.35 0.   0.   0.   0.   0.   0.   0.   0.35]
    """

    __slots__ = ("_impl", "_parameters")
    _impl: Any
    _parameters: dict[str, Any]

    def __init__(
        self,
        win_size: Size = (64, 128),
        block_size: Size = (16, 16),
        block_stride: Size = (8, 8),
        cell_size: Size = (8, 8),
        nbins: int = 9,
        deriv_aperture: int = 1,
        win_sigma: float = -1.0,
        histogram_norm_type: int = 0,
        l2_hys_threshold: float = 0.2,
        gamma_correction: bool = True,
        nlevels: int = 64,
        signed_gradient: bool = False,
    ) -> None:
        name = "HOGDescriptor"
        if _index(name, "histogram_norm_type", histogram_norm_type) != 0:
            raise ValueError(f"{name}: histogram_norm_type must be 0, for L2-Hys, got {histogram_norm_type}")
        parameters = {
            "win_size": image_size(name, "win_size", win_size),
            "block_size": image_size(name, "block_size", block_size),
            "block_stride": image_size(name, "block_stride", block_stride),
            "cell_size": image_size(name, "cell_size", cell_size),
            "nbins": _index(name, "nbins", nbins),
            "deriv_aperture": _index(name, "deriv_aperture", deriv_aperture),
            "win_sigma": float(win_sigma),
            "histogram_norm_type": 0,
            "l2_hys_threshold": float(l2_hys_threshold),
            "gamma_correction": bool(gamma_correction),
            "nlevels": _index(name, "nlevels", nlevels),
            "signed_gradient": bool(signed_gradient),
        }
        unused = ("deriv_aperture", "histogram_norm_type")
        impl = numpy_module.HOGDescriptor(*(value for key, value in parameters.items() if key not in unused))
        object.__setattr__(self, "_parameters", parameters)
        object.__setattr__(self, "_impl", impl)

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        return dict(self._parameters)

    @property
    def descriptor_size(self) -> int:
        """How many values describe a window."""
        return self._impl.size

    @property
    def svm_coefficients(self) -> NDArray[np.float32] | None:
        """A copy of what was given to `set_svm`."""
        return self._impl.coefficients

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"HOGDescriptor: it cannot be changed, tried to set {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._parameters, self.svm_coefficients)

    def __repr__(self) -> str:
        defaults = _DEFAULTS
        shown = ", ".join(f"{key}={value}" for key, value in self._parameters.items() if value != defaults[key])
        return f"HOGDescriptor({shown})"

    def set_svm(self, coefficients: ArrayLike) -> HOGDescriptor:
        """The descriptor with a linear classifier; this one stays as it is.

        Args:
            coefficients: `descriptor_size` numbers, in the order of a window's values, and perhaps one more, the
                constant term. ``cv2.HOGDescriptor_getDefaultPeopleDetector()`` fits the default sizes.

        Raises:
            ValueError: for another count, or where one is not finite.
        """
        array = np.asarray(coefficients)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"set_svm: coefficients must be real numbers, got {array.dtype}")
        return self._with(self._impl.with_svm(array.ravel().astype(np.float32)))

    def _with(self, impl: Any) -> HOGDescriptor:
        other = HOGDescriptor.__new__(HOGDescriptor)
        object.__setattr__(other, "_parameters", self._parameters)
        object.__setattr__(other, "_impl", impl)
        return other

    def compute(
        self,
        image: ArrayLike,
        win_stride: Size | None = None,
        padding: Size = (0, 0),
        locations: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """The descriptors of windows.

        Args:
            image: uint8, ``(H, W)`` or ``(H, W, 3)``.
            win_stride: between windows; ``cell_size`` unless given.
            padding: how far windows may reach beyond the image, which is mirrored there; rounded up to a multiple of
                the greatest common divisor of ``win_stride`` and ``block_stride``.
            locations: ``(N, 2)`` integers ``x, y``, the upper left corners of the windows; a grid unless given.

        Returns:
            One-dimensional, window after window; ``reshape(-1, hog.descriptor_size)`` has a row for each. Windows of
            the grid are ordered by y, then x.

        Raises:
            ValueError: where no window fits, or for wrong shapes or parameters; TypeError: for a wrong dtype.
        """
        places = None
        if locations is not None:
            places = np.asarray(locations)
            if places.size == 0:
                places = places.reshape(-1, 2).astype(np.int64)
            if places.dtype.kind not in "iu":
                raise TypeError(f"compute: locations must be integers, got {places.dtype}")
            places = places.astype(np.int64)
        return self._impl.compute(
            image, window_stride("compute", win_stride), window_padding("compute", padding), places
        )

    def detect(
        self, image: ArrayLike, hit_threshold: float = 0.0, win_stride: Size | None = None, padding: Size = (0, 0)
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Find windows of the image's own scale whose score is at least ``hit_threshold``.

        Args:
            image, win_stride, padding: as for `compute`.
            hit_threshold: a score is the sum of values times coefficients, and the constant term.

        Returns:
            ``(N, 2)`` int32 corners ``x, y`` and ``(N,)`` scores, ordered by y, then x; none where no window fits.

        Raises:
            ValueError: without coefficients (`set_svm`), for wrong shapes or parameters; TypeError: for a wrong dtype.
        """
        return self._impl.detect(
            image, float(hit_threshold), window_stride("detect", win_stride), window_padding("detect", padding)
        )

    def detect_multi_scale(
        self,
        image: ArrayLike,
        hit_threshold: float = 0.0,
        win_stride: Size | None = None,
        padding: Size = (0, 0),
        scale: float = 1.05,
        group_threshold: float = 2.0,
        return_weights: bool = True,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]] | NDArray[np.int32]:
        """Find objects of all sizes.

        The image is made smaller by ``scale`` until it holds no window, `nlevels` times at most.

        Args:
            image, hit_threshold, win_stride, padding: as for `detect`.
            scale: from one image to the next; at 1 or less the image itself is searched only.
            group_threshold: a group of similar windows needs more than this many members (OpenCV drops decimals); 0
                returns the windows as they are.
            return_weights: also return scores; of a group, the largest.

        Returns:
            ``(N, 4)`` int32 boxes ``x, y, width, height``, clipped to the image, and ``(N,)`` scores. Windows are
            ordered by scale, y and x, groups by their first window.

        Raises:
            ValueError: without coefficients (`set_svm`), for wrong shapes or parameters; TypeError: for a wrong dtype.
        """
        name = "detect_multi_scale"
        if not abs(group_threshold) < 2**31:
            raise ValueError(f"{name}: group_threshold must be within 2^31, got {group_threshold}")
        boxes, weights = self._impl.detect_multi_scale(
            image,
            float(hit_threshold),
            window_stride(name, win_stride),
            window_padding(name, padding),
            float(scale),
            int(group_threshold),
        )
        return (boxes, weights) if return_weights else boxes


def _restore(parameters: dict[str, Any], coefficients: NDArray[np.float32] | None) -> HOGDescriptor:
    hog = HOGDescriptor(**parameters)
    return hog if coefficients is None else hog.set_svm(coefficients)


def _index(op: str, name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an integer, got {value!r}") from None


_DEFAULTS = HOGDescriptor().parameters
