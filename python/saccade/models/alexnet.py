"""AlexNet and VGG-16."""

from __future__ import annotations

from torch import Tensor, nn

from saccade.models._checks import check_images, positive
from saccade.models._registry import register
from saccade.nn import AdaptiveAvgPool2d, Conv2d, Dropout, MaxPool2d

__all__ = ["VGG", "AlexNet", "alexnet", "vgg16"]


class AlexNet(nn.Module):
    """Five convolutions and three full connections: torchvision's layout.

    Args:
        num_classes: size of the output.
        in_channels: of the images.
        dropout: probability in the classifier.

    Input: ``(N, in_channels, H, W)``, sides of at least 63 (224 in the paper). Output: logits, ``(N, num_classes)``.

    Source: Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural Networks, 2012, in
    the width of Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014.
    """

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        positive("alexnet", num_classes=num_classes, in_channels=in_channels)
        self.in_channels = in_channels
        self.features = nn.Sequential(
            Conv2d(in_channels, 64, 11, 4, 2), nn.ReLU(True), MaxPool2d(3, 2),
            Conv2d(64, 192, 5, padding=2), nn.ReLU(True), MaxPool2d(3, 2),
            Conv2d(192, 384, 3, padding=1), nn.ReLU(True),
            Conv2d(384, 256, 3, padding=1), nn.ReLU(True),
            Conv2d(256, 256, 3, padding=1), nn.ReLU(True), MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(True),
            Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(True),
            nn.Linear(4096, num_classes),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes)``."""
        check_images("AlexNet", images, self.in_channels, least=63)
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


class VGG(nn.Module):
    """VGG-16 (configuration D), without batch normalisation: torchvision's layout.

    Args:
        num_classes: size of the output.
        in_channels: of the images.
        dropout: probability in the classifier.

    Input: ``(N, in_channels, H, W)``, sides of at least 32 (224 in the paper). Output: logits, ``(N, num_classes)``.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014.
    """

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        positive("vgg16", num_classes=num_classes, in_channels=in_channels)
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        channels = in_channels
        for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(depth):
                layers += [Conv2d(channels, width, 3, padding=1), nn.ReLU(True)]
                channels = width
            layers.append(MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), Dropout(dropout),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, ``(N, num_classes)``."""
        check_images("VGG", images, self.in_channels, least=32)
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


@register
def alexnet(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> AlexNet:
    """AlexNet: :class:`AlexNet`, whose arguments these are."""
    return AlexNet(num_classes=num_classes, in_channels=in_channels, dropout=dropout)


@register
def vgg16(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-16: :class:`VGG`, whose arguments these are."""
    return VGG(num_classes=num_classes, in_channels=in_channels, dropout=dropout)
