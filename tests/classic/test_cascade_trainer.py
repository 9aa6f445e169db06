import re

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from saccade import get_num_threads, set_num_threads
from saccade.classic import CascadeClassifier, CascadeTrainer, HaarFeatureSet, haar_features
from saccade.classic._boosting import Source
from saccade.classic._mining import mine, passing
from saccade.classic._training_images import read_backgrounds, read_positives, read_vec, write_vec
from saccade.classic.cascade_trainer import haar_source


def disc(size, rng):
    """A bright disc on a dark, noisy ground: an object that is learnt in seconds."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2 + rng.uniform(-0.7, 0.7, (2, 1, 1))
    inside = x * x + y * y < (0.36 * size) ** 2
    return np.clip(90 + 60 * inside + rng.normal(0, 15, (size, size)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def objects():
    rng = np.random.default_rng(0)
    return np.stack([disc(12, rng) for _ in range(200)])


@pytest.fixture(scope="module")
def backgrounds():
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (90, 120), dtype=np.uint8)
    return [np.ascontiguousarray(skimage.data.brick()[::2, ::2]), skimage.data.grass()[:256], noise]


def trainer(**options):
    return CascadeTrainer(**{"window_size": (12, 12), "max_stages": 4, "negatives": 400, **options})


@pytest.fixture(scope="module")
def cascade(objects, backgrounds):
    return trainer(max_stages=8, max_false_alarm_rate=0.3).fit(objects, backgrounds)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(2)
    image = skimage.data.grass()[256:456, :240].copy()
    truth = [(20, 30, 24), (120, 100, 36), (180, 20, 18)]
    for x, y, size in truth:
        image[y : y + size, x : x + size] = cv2.resize(disc(12, rng), (size, size))
    return image, truth


def test_finds_the_objects_and_little_else(cascade, scene):
    image, truth = scene
    boxes = cascade.detect(image, min_neighbors=3)
    assert len(boxes) <= len(truth) + 1
    for x, y, size in truth:
        assert (np.abs(boxes - (x, y, size, size)).max(1) <= 0.25 * size).any()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"algorithm": "discrete"},
        {"algorithm": "real", "max_depth": 2},
        {"max_depth": 3},
        {"features": "all", "max_learners": 4},
    ],
    ids=str,
)
def test_opencv_detects_the_same_with_it(options, objects, backgrounds, scene, tmp_path):
    trained = trainer(**options).fit(objects, backgrounds)
    trained.save(tmp_path / "cascade.xml")
    theirs = cv2.CascadeClassifier(str(tmp_path / "cascade.xml"))
    for image in (scene[0], *backgrounds):
        raw = trained.detect(image, min_neighbors=0)
        expected = theirs.detectMultiScale(image, minNeighbors=0)
        assert sorted(map(tuple, raw)) == sorted(map(tuple, expected))


def test_rates_are_those_of_the_detector(objects, backgrounds):
    """What training counted, detection finds again on the same windows."""
    model = trainer()
    trained = model.fit(objects, backgrounds)
    first = model.history_[0]
    assert first.hit_rate >= 0.995
    assert first.false_alarm_rate <= 0.5
    assert passing(trained, objects).mean() >= np.prod([record.hit_rate for record in model.history_]) - 1e-9
    assert [record.positives for record in model.history_[:2]] == [200, round(200 * first.hit_rate)]
    assert model.history_[0].accepted == model.history_[0].scanned
    assert model.history_[1].accepted < model.history_[1].scanned


def test_threads_do_not_matter_and_the_seed_does(objects, backgrounds):
    before = get_num_threads()
    try:
        found = []
        for threads, seed in ((1, 0), (3, 0), (1, 1)):
            set_num_threads(threads)
            found.append(trainer(seed=seed, max_stages=2).fit(objects, backgrounds)._impl.arrays())
    finally:
        set_num_threads(before)
    same = [all(np.array_equal(found[0][name], other[name]) for name in found[0]) for other in found[1:]]
    assert same == [True, False]


def test_resumes_from_its_checkpoint(objects, backgrounds, tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(progress):
        if progress.stage == 1:
            raise Interrupted

    path = tmp_path / "checkpoint.npz"
    with pytest.raises(Interrupted):
        trainer().fit(objects, backgrounds, checkpoint=path, progress=interrupt)
    seen = []
    model = trainer()
    resumed = model.fit(objects, backgrounds, checkpoint=path, progress=lambda at: seen.append(at.stage))
    assert min(seen) == 1
    whole = trainer().fit(objects, backgrounds)._impl.arrays()
    assert all(np.array_equal(whole[name], value) for name, value in resumed._impl.arrays().items())
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_something_else_is_refused(objects, backgrounds, tmp_path):
    path = tmp_path / "checkpoint.npz"
    trainer(max_stages=1).fit(objects, backgrounds, checkpoint=path)
    before = path.read_bytes()
    message = f"CascadeTrainer.fit: checkpoint {path} was made with seed 0, got 5"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        trainer(seed=5).fit(objects, backgrounds, checkpoint=path)
    with pytest.raises(ValueError, match="was made with images"):
        trainer().fit(objects[:50], backgrounds, checkpoint=path)
    assert path.read_bytes() == before
    path.write_bytes(before[:-200])
    with pytest.raises(ValueError, match=re.escape(f"CascadeTrainer.fit: checkpoint {path} cannot be read: ")):
        trainer().fit(objects, backgrounds, checkpoint=path)


def test_the_old_checkpoint_survives_a_full_disk(objects, backgrounds, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    trainer(max_stages=1).fit(objects, backgrounds, checkpoint=path)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space left"):
        trainer().fit(objects, backgrounds, checkpoint=path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_stops_when_the_backgrounds_are_exhausted(objects):
    model = trainer(max_stages=20)
    plain = [np.full((40, 40), 90, np.uint8) + np.arange(40, dtype=np.uint8)]
    model.fit(objects, plain)
    assert len(model.history_) < 20
    assert model.stop_reason_.startswith("the backgrounds are exhausted: ")


def test_positives_without_contrast_are_explained(backgrounds):
    faint = np.full((30, 12, 12), 100, np.uint8)
    faint[:, 3:9, 3:9] += 12  # a deviation of 5: no detector of this kind looks at it
    model = trainer()
    model.fit(faint, backgrounds)
    assert len(model.history_) == 1
    assert model.stop_reason_.startswith("stages 1 to 1 accept none of the positives: detection rejects windows")


@pytest.mark.parametrize("mode", ["basic", "all"])
def test_values_are_those_of_haar_features(mode):
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 256, (300, 9, 11), dtype=np.uint8)
    features = HaarFeatureSet(11, 9, mode)[::7]
    source = haar_source(windows, features)
    inner = windows[:, 1:-1, 1:-1].reshape(300, -1).astype(float)
    expected = haar_features(windows, features) / (inner.std(1) * inner.shape[1])[:, None]
    for feature in range(0, len(features), 41):
        np.testing.assert_allclose(source.values(feature), expected[:, feature], rtol=1e-5, atol=1e-6)


def test_bins_of_haar_features_search_all_thresholds_between_quantiles():
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 256, (200, 8, 8), dtype=np.uint8)
    source: Source = haar_source(windows, HaarFeatureSet(8, 8))
    weights = np.where(rng.random(200) < 0.5, -1.0, 1.0) * rng.random(200)
    worth, _, _ = source.finder.best_split(weights, False)
    best = 0.0
    for feature in range(source.finder.features):
        order = np.argsort(source.values(feature), kind="stable")
        left = np.cumsum(weights[order])[:-1]
        open_ = np.diff(source.values(feature)[order]) > 0
        best = max(best, np.abs(2 * left - weights.sum())[open_].max())
    assert worth == pytest.approx(best, rel=1e-9)  # 200 windows have no more values than bins


def test_mined_windows_are_false_alarms(cascade, backgrounds):
    found = mine(cascade, backgrounds, (12, 12), 40, np.random.default_rng(0), scale_factor=1.2)
    assert passing(cascade, found.windows).all()
    assert found.accepted >= len(found.windows)
    assert found.accepted < found.scanned


def test_images_from_folders_lists_and_vec_files(objects, backgrounds, tmp_path):
    folder = tmp_path / "objects"
    folder.mkdir()
    for i, image in enumerate(objects[:5]):
        Image.fromarray(image).save(folder / f"{i}.png")
    Image.fromarray(np.repeat(objects[5][..., None], 3, 2).repeat(2, 0).repeat(2, 1)).save(folder / "5.png")
    np.testing.assert_array_equal(read_positives(folder, 12, 12)[:5], objects[:5])
    assert read_positives(folder, 12, 12).shape == (6, 12, 12)
    Image.fromarray(backgrounds[0]).save(tmp_path / "wall.png")
    (tmp_path / "bg.txt").write_text("# backgrounds\nwall.png\n\n")
    np.testing.assert_array_equal(read_backgrounds(tmp_path / "bg.txt", 12, 12)[0], backgrounds[0])
    write_vec(tmp_path / "objects.vec", objects)
    np.testing.assert_array_equal(read_positives(tmp_path / "objects.vec", 12, 12), objects)


def test_bad_vec_files_are_named(objects, tmp_path):
    path = tmp_path / "objects.vec"
    write_vec(path, objects)
    with pytest.raises(ValueError, match="must hold windows of 24 x 24 = 576 pixels, got 144"):
        read_vec(path, 24, 24)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"must hold 200 samples in 57812 bytes, got 57811: cut short\?"):
        read_vec(path, 12, 12)
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="must begin with a header of 12 bytes, got 5"):
        read_vec(path, 12, 12)


def test_bad_images_are_named(objects, backgrounds, tmp_path):
    def fails(positives, scenes, message, error=ValueError):
        with pytest.raises(error, match=re.escape(f"CascadeTrainer.fit: {message}")):
            trainer().fit(positives, scenes)

    fails([], backgrounds, "positives must hold at least one image, got none")
    fails(objects, [], "backgrounds must hold at least one image, got none")
    fails(tmp_path, backgrounds, f"positives must hold at least one image, got none in the folder {tmp_path}")
    fails(tmp_path / "none", backgrounds, f"positives must be a folder or a file that exists, got {tmp_path / 'none'}")
    small = "backgrounds must be at least as large as the window, 12 x 12, got 11 x 40 (number 1)"
    fails(objects, [backgrounds[0], np.zeros((40, 11), np.uint8)], small)
    fails(objects.astype(float), backgrounds, "positives must be uint8, got float64 (number 0)", TypeError)
    fails(objects[..., None, None], backgrounds, "positives must have shape (H, W) or (H, W, 3), got (12, 12, 1, 1)")
    (tmp_path / "broken.png").write_bytes(b"no image")
    fails(tmp_path, backgrounds, f"positives must be images, could not read {tmp_path / 'broken.png'}")
    with pytest.raises(ValueError, match=r"^CascadeTrainer\.fit: no stage could be trained: no feature tells"):
        trainer().fit(np.full((20, 12, 12), 9, np.uint8), [np.full((50, 50), 9, np.uint8)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_size": (3, 12)}, "window_size must be two integers, at least 4, got (3, 12)"),
        ({"features": "most"}, "features must be 'basic', 'core' or 'all', got 'most'"),
        ({"max_stages": 0}, "max_stages must be at least 1, got 0"),
        ({"min_hit_rate": 0.0}, "min_hit_rate must be above 0 and at most 1, got 0.0"),
        ({"max_false_alarm_rate": 1.0}, "max_false_alarm_rate must be between 0 and 1, got 1.0"),
        ({"max_learners": 0}, "max_learners must be at least 1, got 0"),
        ({"negatives": 5}, "negatives must be at least 10, got 5"),
        ({"algorithm": "logit"}, "algorithm must be 'discrete', 'real' or 'gentle', got 'logit'"),
        ({"max_depth": 0}, "max_depth must be 1, 2 or 3, got 0"),
        ({"weight_trim_rate": 1.5}, "weight_trim_rate must be above 0 and at most 1, got 1.5"),
        ({"scale_factor": 1.0}, "scale_factor must be above 1, got 1.0"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=f"^CascadeTrainer: {re.escape(message)}$"):
        CascadeTrainer(**options)


def test_saved_and_loaded_it_detects_the_same(cascade, scene, tmp_path):
    cascade.save(tmp_path / "cascade.xml")
    again = CascadeClassifier.load(tmp_path / "cascade.xml")
    np.testing.assert_array_equal(again.detect(scene[0]), cascade.detect(scene[0]))
