"""Dilated residual networks as plain functions of a state dict with fyu/drn's keys, written from the paper."""

from torch.nn import functional


class Drn:
    """``Drn(state, arch)(images)``; ``training`` normalises by the batch (and leaves the state as it is)."""

    def __init__(self, state, arch, training=False):
        self.state, self.arch, self.training = state, arch, training

    def conv(self, x, name, stride=1, dilation=1):
        weight = self.state[f"{name}.weight"]
        return functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2 * dilation, dilation)

    def norm(self, x, name):
        mean, var = (None, None) if self.training else (self.state[f"{name}.running_{key}"] for key in ("mean", "var"))
        weight, bias = (self.state[f"{name}.{key}"] for key in ("weight", "bias"))
        return functional.batch_norm(x, mean, var, weight, bias, self.training)

    def block(self, x, name, stride, dilation, residual):
        convs = 3 if f"{name}.conv3.weight" in self.state else 2
        out = x
        for i in range(1, convs + 1):
            # The stride: of the first of two, or of the 3 x 3 of three.
            steps = stride if i == convs - 1 else 1
            spread = dilation if self.state[f"{name}.conv{i}.weight"].shape[-1] == 3 else 1
            out = self.norm(self.conv(out, f"{name}.conv{i}", steps, spread), f"{name}.bn{i}")
            out = out if i == convs else out.relu()
        if residual:
            if f"{name}.downsample.0.weight" in self.state:
                x = self.norm(self.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            out = out + x
        return out.relu()

    def stage(self, x, name, stride=1, dilation=1, first_dilation=None, residual=True):
        number = 0
        while f"{name}.{number}.conv1.weight" in self.state:
            first = number == 0 and first_dilation is not None
            spread = first_dilation if first else dilation
            x = self.block(x, f"{name}.{number}", stride if number == 0 else 1, spread, residual)
            number += 1
        assert number > 0, name
        return x

    def plain(self, x, name, stride=1, dilation=1):
        number = 0
        while f"{name}.{number}.weight" in self.state:
            x = self.conv(x, f"{name}.{number}", stride if number == 0 else 1, dilation)
            x = self.norm(x, f"{name}.{number + 1}").relu()
            number += 3
        assert number > 0, name
        return x

    def features(self, x):
        if self.arch == "A":
            x = self.norm(self.conv(x, "conv1", 2), "bn1").relu()
            x = functional.max_pool2d(x, 3, 2, 1)
            x = self.stage(self.stage(x, "layer1"), "layer2", 2)
            return self.stage(self.stage(x, "layer3", 1, 2, 1), "layer4", 1, 4, 1)
        if self.arch == "C":
            x = self.norm(self.conv(x, "conv1"), "bn1").relu()
            x = self.stage(self.stage(x, "layer1"), "layer2", 2)
        else:
            x = self.plain(self.plain(self.plain(x, "layer0"), "layer1"), "layer2", 2)
        x = self.stage(self.stage(x, "layer3", 2), "layer4", 2)
        x = self.stage(self.stage(x, "layer5", 1, 2), "layer6", 1, 4)
        if self.arch == "C":
            return self.stage(self.stage(x, "layer7", 1, 2, residual=False), "layer8", 1, 1, residual=False)
        return self.plain(self.plain(x, "layer7", 1, 2), "layer8", 1, 1)

    def __call__(self, images):
        weight = self.state["fc.weight"]
        return self.features(images).mean((2, 3)) @ weight.flatten(1).T + self.state["fc.bias"]
