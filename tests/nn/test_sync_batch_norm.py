"""SyncBatchNorm in three processes, beside torch's batch normalisation of all their batches in one."""

import dataclasses
import functools
import socket

import pytest
import torch
import torch.distributed as dist
from torch import nn

import saccade
from tests.util.tolerance import assert_close

RANKS = 3
FORMATS = [torch.contiguous_format, torch.channels_last]


@dataclasses.dataclass(frozen=True)
class Together:
    """What the processes normalise: images of each, and how."""

    sizes: tuple[int, ...] = (2, 3, 1)
    rest: tuple[int, ...] = (5, 6, 7)  # channels first
    dtype: torch.dtype = torch.float64
    layout: torch.memory_format = torch.contiguous_format
    activation: str | None = None
    residual: bool = False
    parameters: torch.dtype | None = None
    offset: float = 0.0
    options: tuple[tuple[str, object], ...] = ()

    @property
    def channels(self):
        return self.rest[0]

    def batch(self):
        """Input, residual and gradient of the output, of all processes."""
        generator = torch.Generator().manual_seed(7)
        shape = sum(self.sizes), *self.rest
        x, residual, grad = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
        return [t.to(self.dtype) for t in (x * 2 + self.offset, residual, grad)]

    def module(self, kind):
        module = kind(self.channels, **dict(self.options), dtype=self.parameters or self.dtype)
        generator = torch.Generator().manual_seed(8)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return module


CASES = {
    "plain": Together(),
    "float32": Together(dtype=torch.float32),
    "channels_last": Together(dtype=torch.float32, layout=torch.channels_last),
    "an empty batch": Together(sizes=(3, 0, 4)),
    "an empty batch, channels_last": Together(sizes=(0, 2, 4), layout=torch.channels_last, dtype=torch.float32),
    "one value each": Together(sizes=(1, 1, 1), rest=(4,)),
    "one value in one": Together(sizes=(1, 0, 4), rest=(4,)),
    "rows": Together(sizes=(9, 20, 3), rest=(17,), dtype=torch.float32),
    "sequences": Together(rest=(6, 11)),
    "volumes": Together(rest=(3, 2, 4, 5)),
    "many values": Together(rest=(3, 70, 71), dtype=torch.float32, layout=torch.channels_last),
    "fused": Together(activation="elu", residual=True, layout=torch.channels_last),
    "relu": Together(activation="relu", residual=True),
    "residual": Together(residual=True, dtype=torch.float32),
    "cumulative": Together(options=(("momentum", None),)),
    "not affine": Together(options=(("affine", False), ("eps", 1e-2))),
    "untracked": Together(options=(("track_running_stats", False),)),
    "float16": Together(dtype=torch.float16, activation="elu"),
    "bfloat16": Together(dtype=torch.bfloat16, parameters=torch.float32, residual=True, layout=torch.channels_last),
    "offset": Together(dtype=torch.float32, offset=1e3),
}  # fmt: skip
PAIRED = Together(sizes=(2, 3), dtype=torch.float32)


def results(together, module, part):
    """Two steps with this part of the batch: output, gradients of input and residual, of parameters; buffers."""
    x, residual, grad = (t[part].contiguous(memory_format=together.layout) if t.dim() == 4 else t[part]
                         for t in together.batch())  # fmt: skip
    leaves = [x.requires_grad_(), residual.requires_grad_()] if together.residual else [x.requires_grad_()]
    for _ in range(2):
        out = module.normalize(x, residual if together.residual else None, together.activation)
    gradients = torch.autograd.grad(out, [*leaves, *module.parameters()], grad)
    count = len(leaves)
    return out.detach(), gradients[:count], gradients[count:], dict(module.named_buffers())


def part_of(sizes, rank):
    return slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))


def work(rank, port, folder):
    """What each process does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    pair = dist.new_group([0, 1])
    found = {}
    for name, together in CASES.items():
        found[name] = results(together, together.module(saccade.nn.SyncBatchNorm), part_of(together.sizes, rank))
    kind = functools.partial(saccade.nn.SyncBatchNorm, process_group=pair)
    part = part_of(PAIRED.sizes, rank) if rank < 2 else slice(0, 5)  # not in the group, and so on its own
    found["pair"] = results(PAIRED, PAIRED.module(kind), part)
    found["block"] = block_results(rank)
    found["first"] = first_layer_results(rank)
    alone = saccade.nn.SyncBatchNorm(4)
    found["one value"] = alone(torch.full((1 if rank == 1 else 0, 4), 7.0)).tolist(), *alone.buffers()
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def block_results(rank):
    """A step of a network whose normalisation is converted; its gradients added up as DistributedDataParallel does."""
    torch.manual_seed(3)
    net = nn.Sequential(saccade.nn.ConvBNAct(3, 4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()).double()
    x = torch.randn(6, 3, 5, 5, dtype=torch.float64)
    if rank is None:
        net(x).square().sum().backward()
        return [p.grad for p in net.parameters()]
    net = saccade.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    net(x[part_of((1, 2, 3), rank)]).square().sum().backward()
    for parameter in net.parameters():
        dist.all_reduce(parameter.grad)
    return [p.grad for p in net.parameters()]


def first_layer_results(rank):
    """Gradients of the parameters where none of the input is wanted."""
    x = torch.linspace(-1, 2, 72, dtype=torch.float64).square().reshape(6, 3, 4)
    norm = nn.BatchNorm1d(3) if rank is None else saccade.nn.SyncBatchNorm(3)
    norm.double()(x if rank is None else x[part_of((3, 1, 2), rank)]).sin().sum().backward()
    return torch.stack([norm.weight.grad, norm.bias.grad])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """By process, what each of them got."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, str(folder)), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


class Plain(nn.modules.batchnorm._BatchNorm):
    """torch's, for any dimensions, with what follows."""

    def _check_input_dim(self, input):
        pass

    def normalize(self, x, residual, activation):
        out = self(x) if residual is None else self(x) + residual
        return out if activation is None else getattr(nn.functional, activation)(out)


def expected(together):
    """The whole batch at once, by torch in float64."""
    module = together.module(Plain).double()
    x, residual, grad = (t.double() for t in together.batch())
    leaves = [x.requires_grad_(), residual.requires_grad_()] if together.residual else [x.requires_grad_()]
    for _ in range(2):
        out = module.normalize(x, residual if together.residual else None, together.activation)
    gradients = torch.autograd.grad(out, [*leaves, *module.parameters()], grad)
    return out.detach(), gradients[: len(leaves)], gradients[len(leaves) :], dict(module.named_buffers())


def check(together, ours):
    out, gradients, of_parameters, buffers = expected(together)
    parts = [part_of(together.sizes, rank) for rank in range(len(together.sizes))]
    for part, (mine, own_gradients, _, own_buffers) in zip(parts, ours, strict=True):
        assert mine.dtype == together.dtype
        assert_close(mine, out[part], "reduction")
        for a, b in zip(own_gradients, gradients, strict=True):
            assert a.dtype == together.dtype
            assert_close(a, b[part], "reduction")
        assert list(own_buffers) == list(buffers)
        for name, value in own_buffers.items():
            assert_close(value, buffers[name], "elementwise" if value.is_floating_point() else "exact")
            assert torch.equal(value, ours[0][3][name])  # the same bits everywhere
    for shares, whole in zip(zip(*(own[2] for own in ours), strict=True), of_parameters, strict=True):
        assert_close(torch.stack(shares).sum(0), whole, "reduction")


@pytest.mark.parametrize("name", CASES)
def test_equals_the_whole_batch(name, found):
    check(CASES[name], [own[name] for own in found])


def test_a_group_and_a_process_outside_it(found):
    check(PAIRED, [own["pair"] for own in found[:2]])
    check(dataclasses.replace(PAIRED, sizes=(5,)), [found[2]["pair"]])


def test_a_converted_network(found):
    expected = block_results(None)
    for own in found:
        for mine, other in zip(own["block"], expected, strict=True):
            assert_close(mine, other, "reduction")


def test_without_a_gradient_of_the_input(found):
    assert_close(sum(own["first"] for own in found), first_layer_results(None), "reduction")


def test_one_value_in_all(found):
    for rank, own in enumerate(found):
        out, mean, var, batches = own["one value"]
        assert out == ([[0.0] * 4] if rank == 1 else [])
        assert_close(mean, torch.full((4,), 0.7), "elementwise")
        assert_close(var, torch.full((4,), 0.9), "elementwise")
        assert batches == 1


# ---- In one process --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 4)])
def test_alone_it_is_batch_normalisation(shape, options, training):
    ours, theirs = saccade.nn.SyncBatchNorm(3, **options), Plain(3, **options)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape)
    for _ in range(2):
        assert_close(ours.train(training)(x), theirs.train(training)(x), "reduction")
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert_close(a, b, "elementwise" if a.is_floating_point() else "exact")


def test_rejects_what_torch_rejects():
    for module in (saccade.nn.SyncBatchNorm(4), nn.SyncBatchNorm(4)):
        with pytest.raises(ValueError, match=r"^expected at least 2D input \(got 1D input\)$"):
            module(torch.rand(4))


def test_convert():
    shared = nn.BatchNorm2d(4)
    model = nn.ModuleDict({
        "ours": saccade.nn.BatchNorm2d(3, eps=1e-2, momentum=None),
        "torch": nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.SyncBatchNorm(5, track_running_stats=False)),
        "volumes": nn.BatchNorm3d(6),
        "shared": shared,
        "again": shared,
        "other": nn.GroupNorm(2, 4),
    })  # fmt: skip
    model["ours"].eval()
    before = dict(model.named_parameters(remove_duplicate=False)), model.state_dict()
    converted = saccade.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert converted is model
    kinds = [type(m) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert kinds == [saccade.nn.SyncBatchNorm] * 6
    assert "eps=0.01, momentum=None" in repr(model["ours"])
    assert isinstance(model["other"], nn.GroupNorm)
    assert not model["ours"].training
    assert model["volumes"].training
    after = dict(model.named_parameters(remove_duplicate=False)), model.state_dict()
    assert list(before[1]) == list(after[1])
    assert all(after[0][name] is parameter for name, parameter in before[0].items())
    assert all(after[1][name].data_ptr() == tensor.data_ptr() for name, tensor in before[1].items())
    alone = saccade.nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(3))
    assert type(alone) is saccade.nn.SyncBatchNorm
