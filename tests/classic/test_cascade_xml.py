"""Cascade files: what is written is read back, here and by OpenCV, and bad ones are refused with the place named."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from saccade.classic import CascadeClassifier
from tests.util.cascades import random_cascade

CASCADES = sorted(Path(cv2.data.haarcascades).glob("*.xml"))
GOOD = random_cascade(0, "HAAR", stages=2, trees=2, nodes=2).decode()
GOOD_LBP = random_cascade(0, "LBP", stages=2, trees=2, nodes=2).decode()
OLD = b"""<?xml version="1.0"?>
<opencv_storage><my_cascade type_id="opencv-haar-classifier"><size>20 12</size><stages><_>
<trees><_><_><feature><rects><_>2 3 8 4 -1.</_><_>2 3 4 4 2.</_></rects><tilted>0</tilted></feature>
<threshold>1e-2</threshold><left_node>1</left_node><right_val>0.5</right_val></_>
<_><feature><rects><_>8 1 4 3 -1.</_><_>8 1 2 3 2.</_></rects><tilted>1</tilted></feature>
<threshold>-0.02</threshold><left_val>-1</left_val><right_val>.25</right_val></_></_></trees>
<stage_threshold>0.25</stage_threshold><parent>-1</parent><next>-1</next></_></stages></my_cascade></opencv_storage>"""


@pytest.mark.parametrize("path", CASCADES, ids=lambda path: path.stem.removeprefix("haarcascade_"))
def test_save(path, tmp_path):
    cascade = CascadeClassifier.load(path)
    cascade.save(tmp_path / "saved.xml")
    again = CascadeClassifier.load(tmp_path / "saved.xml")
    for name, values in cascade._impl.arrays().items():
        np.testing.assert_array_equal(again._impl.arrays()[name], values)
    img = data.coffee()[:200]
    theirs = cv2.CascadeClassifier(str(tmp_path / "saved.xml")).detectMultiScale(img[..., ::-1].copy(), minNeighbors=0)
    assert sorted(np.array(theirs).tolist()) == sorted(cascade.detect(img, min_neighbors=0).tolist())


@pytest.mark.parametrize("kind", ["HAAR", "LBP"])
@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_save_random(kind, nodes, tmp_path):
    cascade = CascadeClassifier.load(random_cascade(1, kind, nodes=nodes))
    cascade.save(str(tmp_path / "saved.xml"))
    img = data.camera()[:200, :200]
    theirs = cv2.CascadeClassifier(str(tmp_path / "saved.xml")).detectMultiScale(img, minNeighbors=0)
    ours = cascade.detect(img, min_neighbors=0)
    assert len(ours) > 10
    assert sorted(theirs.tolist()) == sorted(ours.tolist())


def test_old_format(tmp_path):
    cascade = CascadeClassifier.load(OLD)
    assert cascade.window_size == (20, 12)
    assert cascade.feature_type == "HAAR"
    arrays = cascade._impl.arrays()
    assert arrays["nodes"].tolist() == [[1, 0, 0], [-1, -2, 1]]
    assert arrays["leaves"].tolist() == [0.5, -1, 0.25]
    assert arrays["tilted"].tolist() == [0, 1]
    (tmp_path / "old.xml").write_bytes(OLD)
    img = data.camera()[:150, :170]
    theirs = cv2.CascadeClassifier(str(tmp_path / "old.xml")).detectMultiScale(img, minNeighbors=0)
    assert sorted(theirs.tolist()) == sorted(cascade.detect(img, min_neighbors=0).tolist())
    assert len(theirs) > 10


def test_encodings():
    expected = repr(CascadeClassifier.load(GOOD.encode()))
    for encoding in ("utf-8-sig", "utf-16"):
        text = GOOD.replace("<?xml version='1.0'?>", "<?xml version='1.0'?>\n<!-- \u00e4 -->")
        assert repr(CascadeClassifier.load(text.encode(encoding))) == expected


def replaced(old, new, text=GOOD):
    assert old in text
    return text.replace(old, new, 1)


def first(pattern, new, text=GOOD):
    assert re.search(pattern, text, re.DOTALL)
    return re.sub(pattern, new, text, count=1, flags=re.DOTALL)


BAD = {
    "empty": ("", "line 1, column 0: no element found"),
    "not XML": ("\x00\x01garbage", "line 1, column 0: .*"),
    "YAML": ("%YAML:1.0\ncascade: 1", "line 1, column [0-9]+: not well-formed .*"),
    "truncated": (GOOD[: len(GOOD) // 2], "line 1, column [0-9]+: .*"),
    "behind the end": (GOOD + "<a/>", "line 1, column [0-9]+: junk after document element"),
    "wrong root": ("<html>\n</html>", "line 1: <html> must be <opencv_storage> holding a cascade"),
    "no cascade": ("<opencv_storage/>", "line 1: <opencv_storage> must be <opencv_storage> holding a cascade"),
    "other storage": (
        "<opencv_storage>\n<matrix/></opencv_storage>",
        "line 2: <matrix> must be a cascade: it has neither <stageType> nor <size>",
    ),
    "entities": (
        "<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;'>]><opencv_storage>&c;</opencv_storage>",
        "line 1: a cascade must not declare a document type",
    ),
    "HOG": (replaced("HAAR", "HOG"), "line 1: <featureType> must be HAAR or LBP, got 'HOG'"),
    "stage type": (replaced("BOOST", "X" * 99), f"line 1: <stageType> must be BOOST, got '{'X' * 40}'"),
    "categories": (replaced("<maxCatCount>0", "<maxCatCount>256"), "line 1: <maxCatCount> must be 0 for HAAR .*"),
    "no width": (first("<width>.*</width>", ""), "line 1: <cascade> must contain <width>"),
    "zero width": (replaced("<width>24", "<width>0"), "width and height must be between 3 and 1024, got 0 and 24"),
    "huge": (replaced("<height>24", "<height>99999"), "width and height must be between 3 and 1024, got 24 and 99999"),
    "overflow": (replaced("<width>24", "<width>9e99"), "line 1: <width> must hold finite float32 numbers, got '9e99'"),
    "fraction": (replaced("<width>24", "<width>24.5"), "line 1: <width> must hold 32-bit integers, got '24.5'"),
    "no number": (replaced("<width>24", "<width>x"), "line 1: <width> must hold numbers, got 'x'"),
    "two numbers": (replaced("<width>24", "<width>24 24"), "line 1: <width> must hold one number, got 2"),
    "nan": (first("<leafValues>\\S+", "<leafValues>nan"), "line 1: <leafValues> must hold finite float32 .*"),
    "underscore": (first("<leafValues>\\S+", "<leafValues>1_0"), "line 1: <leafValues> must hold numbers"),
    "no stages": (first("<stages>.*</stages>", "<stages/>"), "line 1: <stages> must be a sequence of <_> .*"),
    "leaf missing": (first("<leafValues>\\S+", "<leafValues>"), "line 1: <leafValues> must hold one value more .*"),
    "node cut": (first("<internalNodes>\\S+", "<internalNodes>"), "line 1: <internalNodes> must hold 4 .*, got 7"),
    "child": (first("<internalNodes>\\S+", "<internalNodes>2"), "stage 0, tree 0, node 0: a child must be .*, got 2"),
    "leaf": (first("<internalNodes>\\S+", "<internalNodes>-3"), "stage 0, tree 0, node 0: a child must .*, got -3"),
    "feature index": (
        first("<internalNodes>(\\S+) (\\S+) \\S+", "<internalNodes>\\1 \\2 99"),
        "stage 0, tree 0, node 0: feature must be below 8, got 99",
    ),
    "ring": (
        first("<internalNodes>.*?</internalNodes>", "<internalNodes>0 -1 0 .1 1 -2 0 .1</internalNodes>"),
        "stage 0, tree 0: the root must reach all 2 nodes, got 1",
    ),
    "own child": (
        first("<internalNodes>.*?</internalNodes>", "<internalNodes>0 1 0 .1 1 -2 0 .1</internalNodes>"),
        "stage 0, tree 0, node 1: a node must have one parent",
    ),
    "feature outside": (
        first("<rects><_>\\S+ (\\S+) (\\S+)", "<rects><_>23 \\1 2"),
        "feature 0: rectangle 0 .* must lie inside the 24 x 24 window",
    ),
    "tilted outside": (
        first("<rects>.*?</rects><tilted>.", "<rects><_>2 0 4 4 1</_></rects><tilted>1"),
        r"feature 0: rectangle 0 \(2, 0, 4, 4\) must lie inside the 24 x 24 window",
    ),
    "negative size": (
        first("<rects><_>\\S+ \\S+ \\S+ \\S+", "<rects><_>5 5 -2 -2"),
        r"feature 0: rectangle 0 \(5, 5, -2, -2\) must lie inside .*",
    ),
    "four rectangles": (
        first("<rects>.*?</rects>", "<rects>" + "<_>0 0 1 1 1</_>" * 4 + "</rects>"),
        "line 1: <rects> must hold at most 3 rectangles, got 4",
    ),
    "short rectangle": (
        first("<rects><_>\\S+", "<rects><_>"),
        "line 1: <_> must hold x, y, width, height and weight, got 4 numbers",
    ),
    "cell outside": (
        first("<rect>.*?</rect>", "<rect>0 0 9 1</rect>", GOOD_LBP),
        r"feature 0: rectangle 0 \(0, 0, 9, 1\) must lie inside the 24 x 24 window",
    ),
    "old size": (OLD.decode().replace("20 12", "20"), "line 2: <size> must hold width and height, got 1 numbers"),
    "old node": (
        OLD.decode().replace("<left_node>1", "<left_node>0"),
        "line 4: <left_node> must be a node behind the root, got 0",
    ),
    "old leaves": (
        OLD.decode().replace("<right_val>.25</right_val>", "<right_node>1</right_node>"),
        "line 3: <_> must have one leaf more than nodes .2., got 2",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name):
    text, message = BAD[name]
    with pytest.raises(ValueError, match=f"^CascadeClassifier(.load)?: {message}$"):
        CascadeClassifier.load(text.encode())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<opencv_storage>" * (100_000_000 // 16), "<opencv_storage> must not be nested deeper than 16 elements"),
        (b"<opencv_storage>" + b"<_/>" * 3_000_000, "<_> is one too many: .* at most 1000000 elements"),
        (b"<opencv_storage>" + b" " * 50_000_000, "no element found"),
    ],
    ids=["nested", "many", "blank"],
)
def test_large_files(data, message):
    with pytest.raises(ValueError, match=message):
        CascadeClassifier.load(data)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        CascadeClassifier.load(tmp_path / "none.xml")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage(data):
    """A cascade with some bytes replaced, cut out or repeated is read, or refused with a ValueError; never worse."""
    content = bytearray(data.draw(st.sampled_from([GOOD.encode(), GOOD_LBP.encode(), OLD])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 12))
        damage = st.sampled_from([b"", b"9", b"-", b"<", b">", b"&", b"1e9", b"\xff", b"</_>"])
        content[at : at + length] = data.draw(damage)
    try:
        cascade = CascadeClassifier.load(bytes(content))
    except ValueError as error:
        assert str(error).startswith("CascadeClassifier")  # noqa: PT017
    else:
        cascade.detect(np.arange(48 * 48, dtype=np.uint8).reshape(48, 48) ** 2)


def test_forged_arrays():
    """A pickle may hold anything: the arrays are checked where the classifier is made."""
    cascade = CascadeClassifier.load(GOOD.encode())
    good = cascade._impl.arrays()
    for name, values in good.items():
        if name != "subsets":
            with pytest.raises(ValueError, match=r"^CascadeClassifier: .* must "):
                CascadeClassifier._from_arrays(True, 24, 24, good | {name: values[:-1]})
        with pytest.raises(TypeError, match=f"^CascadeClassifier: {name} must be "):
            CascadeClassifier._from_arrays(True, 24, 24, good | {name: values.astype(np.complex64)})
    with pytest.raises(ValueError, match=r"^CascadeClassifier: thresholds must have 0 elements, got 8$"):
        CascadeClassifier._from_arrays(False, 24, 24, good)
    with pytest.raises(ValueError, match=r"^CascadeClassifier: leaves is missing$"):
        CascadeClassifier._from_arrays(True, 24, 24, {k: v for k, v in good.items() if k != "leaves"})
