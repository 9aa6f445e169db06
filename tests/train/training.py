"""A small training that the tests share: everything that draws random numbers is in it."""

import sys

import torch
from torch import nn

from saccade import data as D
from saccade.train import ClassificationData, Classifier


def parts(count=400):
    digits = D.digits()
    few = torch.utils.data.Subset(digits, range(count))
    return D.split(few, {"train": 0.6, "val": 0.2, "test": 0.2}, stratify=digits.labels[:count])


def noise(image):
    return image + 0.1 * torch.randn_like(image)


def task(dropout=0.3, **options):
    torch.manual_seed(7)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(144, 10)]
    defaults = {
        "optimizer": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
        "schedule": lambda optimizer, steps: torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps),
    }
    return Classifier(nn.Sequential(*layers), 10, **(defaults | options))


def data(batch_size=32, augment=noise, count=400, **options):
    sets = parts(count)
    normalize = D.transforms.MeanStd()
    return ClassificationData(**sets, normalize=normalize, batch_size=batch_size, augment=augment, **options)


if __name__ == "__main__":  # under torchrun
    from lightning.pytorch.callbacks import Callback

    from saccade.train import fit

    class StopAt(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == stop:
                sys.exit(3)

    out, batch_size, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    options = {"epochs": 3, "out": out, "accelerator": "cpu", "resume": True, "checkpoint_steps": 5}
    fit(task(dropout=0.0), data(batch_size), callbacks=[StopAt()], **options)
