"""Batches are the same in every run, in any number of processes."""

import random

import numpy as np
import pytest
import torch
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data import DataLoader, DistributedSampler

from saccade.data import ArrayDataset, FolderDataset, SeededSampler, digits, loader
from saccade.data.transforms import augmentation


class Noise:
    """Draws from all three generators that transforms may use."""

    def __call__(self, image):
        return image + torch.rand(()) + 10 * np.random.random() + 100 * random.random()  # noqa: NPY002


def batches(epochs=1, **options):
    data = ArrayDataset(torch.arange(10.0)[:, None], range(10), transform=Noise())
    made = loader(data, 4, **options)
    return [(images[:, 0].tolist(), labels.tolist()) for _ in range(epochs) for images, labels in made]


def test_workers_change_nothing():
    alone = batches(2, shuffle=True, seed=5)
    assert alone == batches(2, shuffle=True, seed=5, num_workers=2)
    assert alone == batches(2, shuffle=True, seed=5, num_workers=3, persistent_workers=True)


def test_augmented_images_are_the_same_in_workers():
    augment = augmentation(32, resize=(0.7, 1.4), rotate=15, flip=0.5, blur=(0.1, 1.0), padding=2)
    data = ArrayDataset(digits(32).images[:12], transform=augment)
    alone, spread = (torch.cat(list(loader(data, 5, shuffle=True, num_workers=n))) for n in (0, 2))
    torch.testing.assert_close(alone, spread, rtol=0, atol=0)
    assert not torch.equal(alone, torch.cat(list(loader(data, 5, shuffle=True, seed=1))))


def test_epochs_differ_and_can_be_set():
    made = loader(ArrayDataset(torch.arange(8.0), transform=Noise()), 8, shuffle=True)
    first, second = next(iter(made)), next(iter(made))
    assert not torch.equal(first, second)
    made.sampler.set_epoch(1)
    assert torch.equal(next(iter(made)), second)


def test_transforms_differ_in_every_epoch():
    made = loader(ArrayDataset(torch.arange(8.0), transform=Noise()), 8)
    assert not (next(iter(made)) == next(iter(made))).any()


def test_items_do_not_depend_on_the_batch_size_or_the_order():
    data = ArrayDataset(torch.arange(8.0), range(8), transform=Noise())
    seen = {}
    for size, shuffle in ((8, False), (3, True), (1, True)):
        for images, labels in loader(data, size, shuffle=shuffle):
            for image, label in zip(images.tolist(), labels.tolist(), strict=True):
                assert seen.setdefault(label, image) == image


def test_the_process_keeps_its_random_numbers():
    expected = []
    for read in (False, True):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        if read:
            batches(shuffle=True)
        expected.append((torch.rand(()).item(), np.random.random(), random.random()))  # noqa: NPY002
    assert expected[0] == expected[1]


def test_it_is_a_torch_data_loader():
    made = loader(digits(), 64, drop_last=True, pin_memory=False, prefetch_factor=None)
    assert isinstance(made, DataLoader)
    assert isinstance(made.sampler, DistributedSampler)  # so Lightning keeps it
    assert len(made) == len(list(made)) == 1797 // 64
    assert made.dataset.dataset.num_classes == 10
    unlabelled = loader(ArrayDataset(torch.zeros(3, 2)), 3)
    assert next(iter(unlabelled)).shape == (3, 2)


@pytest.mark.parametrize("length", [1, 7, 12, 13])
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_together_are_one_process(length, world, drop_last):
    data = ArrayDataset(torch.arange(float(length)))
    for shuffle in (False, True):
        options = {"shuffle": shuffle, "drop_last": drop_last, "seed": 2}
        ranks = [list(loader(data, 2, rank=r, world_size=world, **options)) for r in range(world)]
        alone = list(loader(data, 2 * world, **options))
        if drop_last or shuffle:
            assert len({len(batches) for batches in ranks}) == 1
        for k in range(min(map(len, [*ranks, alone]))):
            together = torch.stack([batches[k] for batches in ranks], 1).flatten() if length % world == 0 else None
            if together is not None and len(alone[k]) == 2 * world:
                assert torch.equal(together, alone[k])
        seen = torch.cat([torch.cat(batches) for batches in ranks if batches] or [torch.empty(0)])
        if not drop_last:
            assert set(seen.tolist()) == set(range(length))
        if not shuffle and not drop_last:
            assert len(seen) == length


def test_another_sampler_still_reads():
    made = loader(ArrayDataset(torch.arange(4.0), transform=Noise()), 2)
    again = DataLoader(made.dataset, 2, sampler=[3, 1])
    torch.testing.assert_close(next(iter(again))[1], next(iter(made))[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "loader: batch_size must be at least 1, got 0"),
        ({"batch_size": 1, "seed": -1}, "loader: seed must not be negative, got -1"),
        (
            {"batch_size": 1, "sampler": [0], "generator": None},
            "loader: options must leave order and seeds to it, got generator, sampler",
        ),
        ({"batch_size": 1, "rank": 2, "world_size": 2}, "loader: rank must be from 0 to 1, got 2"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole message is compared
        loader(digits(), **options)
    assert str(error.value) == message


def test_a_damaged_image_is_named_out_of_a_worker(tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    made = loader(FolderDataset(tmp_path, labelled=False), 1, num_workers=1)
    with pytest.raises(ValueError, match=r"FolderDataset: .*bad\.png must be an image, could not read it"):
        next(iter(made))


def test_length_of_the_sampler():
    for length in range(5):
        for world in (1, 2, 3):
            for shuffle in (False, True):
                for drop in (False, True):
                    for rank in range(world):
                        sampler = SeededSampler(
                            range(length), shuffle=shuffle, drop_last=drop, rank=rank, world_size=world
                        )
                        assert len(sampler) == len(list(sampler))


def test_a_loader_may_be_made_before_the_processes_meet():
    made = loader(ArrayDataset(torch.arange(6.0)), 2)
    assert len(made) == 3
    torch.distributed.init_process_group("fake", rank=1, world_size=2, store=FakeStore())
    try:
        assert torch.cat(list(made)).tolist() == [1, 3, 5]
        assert len(made) == 2
    finally:
        torch.distributed.destroy_process_group()
    assert len(made) == 3


def test_lightning_keeps_the_sampler_and_sets_its_epoch(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(1, 1)
            self.seen = []

        def training_step(self, batch, index):
            self.seen.append((self.current_epoch, batch[0].flatten().tolist()))
            return self.linear(batch[0]).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(epochs, checkpoint=None):
        data = ArrayDataset(torch.arange(6.0)[:, None], range(6), transform=Noise())
        model = Model()
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(model, loader(data, 3, shuffle=True), ckpt_path=checkpoint)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return model.seen

    straight = fit(3)
    assert fit(1) + fit(3, tmp_path / "1.ckpt") == straight
    assert straight[0][1] != straight[2][1]
