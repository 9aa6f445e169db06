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


if __name__ == "__main__":  # under torchrun, or to be killed
    from saccade.train import fit

    out, epochs, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    fit(task(dropout=0.0), data(batch_size), epochs=epochs, out=out, accelerator="cpu")
