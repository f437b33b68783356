"""Pooling with compact indices against PyTorch's pair, to the bit."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from toolkit.ops import native, pooling, pooling_kernels
from toolkit.ops.pooling import max_pool, max_unpool

STORAGES = ("int64", "uint8", "packed")
# SegNet's five pools at 360x480.
SEGNET_MAPS = ((64, 360, 480), (128, 180, 240), (256, 90, 120), (512, 45, 60), (512, 23, 30))


@pytest.fixture(params=["kernel", "operators", "formulas"])
def way(request, monkeypatch) -> str:
    """Every way to the result, also for maps so small that the kernel would not be built for them."""
    monkeypatch.setattr(pooling_kernels, "_SMALLEST", 0)
    if request.param == "kernel" and native.compiler() is None:
        pytest.skip("no C compiler here")
    if request.param == "operators":
        monkeypatch.setattr(native, "compiler", lambda: None)
        monkeypatch.setattr(pooling_kernels, "compile_c", native.compile_c.__wrapped__)
    if request.param == "formulas":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    return request.param


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])


def hard(shape, dtype) -> torch.Tensor:
    """Values full of ties, NaN, infinities and both zeros."""
    x = torch.randint(-2, 3, shape).to(dtype)
    for share, value in ((0.1, float("nan")), (0.1, float("-inf")), (0.05, float("inf")), (0.2, -0.0)):
        x[torch.rand(shape) < share] = value
    return x


def both(x, storage, ceil_mode):
    """(pooled, x.grad, unpooled, v.grad) of PyTorch and of ours on the same values and gradients."""
    results = []
    size = x.shape[2:]
    rows, columns = ((n + ceil_mode) // 2 for n in size)
    g, v, u = (
        torch.randn(s).to(x.dtype)
        for s in ((*x.shape[:2], rows, columns), (*x.shape[:2], rows, columns), tuple(x.shape))
    )
    for t in (g, v, u):
        t[torch.rand(t.shape) < 0.3] = -0.0
    for ours in (False, True):
        a, b = x.clone().requires_grad_(), v.clone().requires_grad_()
        if ours:
            pooled, indices = max_pool(a, ceil_mode=bool(ceil_mode), storage=storage)
            assert indices.size == tuple(size)
            assert indices.pooled == (rows, columns)
            unpooled = max_unpool(b, indices)
        else:
            pooled, flat = F.max_pool2d(a, 2, ceil_mode=bool(ceil_mode), return_indices=True)
            unpooled = F.max_unpool2d(b, flat, 2, output_size=list(size))
        pooled.backward(g)
        unpooled.backward(u)
        results.append((pooled, a.grad, unpooled, b.grad))
    return results


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("storage", STORAGES)
def test_values_and_gradients_equal_pytorch_to_the_bit(way, storage, dtype):
    for size, ceil_mode, channels, last in itertools.product(
        ((6, 8), (7, 9), (7, 8), (4, 21), (5, 34), (1, 5), (5, 1)), (0, 1), (1, 6), (False, True)
    ):
        if not ceil_mode and min(size) < 2:
            continue
        x = hard((2, channels, *size), dtype)
        x = x.contiguous(memory_format=torch.channels_last) if last else x
        for name, theirs, mine in zip(
            ("pooled", "x.grad", "unpooled", "v.grad"), *both(x, storage, ceil_mode), strict=True
        ):
            assert torch.equal(bits(theirs), bits(mine)), (name, size, ceil_mode, channels, last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [(6, 8), (7, 9), (33, 40), (2, 5)])
def test_a_few_planes_at_a_time_give_what_the_formulas_give(dtype, size, monkeypatch):
    monkeypatch.setattr(pooling, "_WINDOWS", 50)
    for up in (0, 1):
        windows = (size[0] + up) // 2, (size[1] + up) // 2
        x = hard((2, 3, *size), dtype).nan_to_num(0.0, -0.0, float("-inf"))  # NaN goes another way
        pooled, codes = pooling._pool_rows(x, windows)
        wanted, wanted_codes = pooling._pool_formula(x, windows)
        assert torch.equal(bits(pooled), bits(wanted))
        assert torch.equal(codes, wanted_codes)
        assert torch.equal(bits(pooling._pick_rows(x, codes)), bits(pooling._pick_formula(x, codes)))
        placed = pooling._place_rows(pooled, codes, size)
        assert torch.equal(bits(placed), bits(pooling._place_formula(pooled, codes, size, False)))
    x[1, 2, 1, 1] = float("nan")
    assert pooling._pool_rows(x, windows) is None


@pytest.mark.parametrize("storage", STORAGES)
def test_channels_last_stays_channels_last(way, storage):
    x = torch.randn(2, 8, 12, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    pooled, indices = max_pool(x, storage=storage)
    restored = max_unpool(pooled, indices)
    restored.sum().backward()
    for tensor in (pooled, restored, x.grad):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("storage", "total"), [("int64", 42_270_720), ("uint8", 5_283_840), ("packed", 1_320_960)])
def test_bytes_kept_for_segnet_at_360x480(storage, total):
    kept = 0
    for channels, height, width in SEGNET_MAPS:
        x = torch.empty(1, channels, height, width, device="meta")
        kept += max_pool(x, ceil_mode=True, storage=storage)[1].codes.nbytes
    assert kept == total


@pytest.mark.parametrize("storage", ["uint8", "packed"])
def test_only_the_codes_are_kept_for_backward(way, storage):
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        x = torch.randn(1, 8, 64, 64, requires_grad=True)
        pooled, indices = max_pool(x, storage=storage)
        max_unpool(pooled, indices)
    assert {t.data_ptr() for t in kept} == {indices.codes.data_ptr()}
    assert indices.codes.nbytes == {"uint8": 8 * 32 * 32, "packed": 2 * 32 * 32}[storage]


def test_large_maps_cut_among_threads(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        monkeypatch.setattr(native, "_ITEMS_PER_THREAD", 1000)
        for theirs, mine in zip(*both(torch.randn(2, 16, 65, 77), "uint8", 1), strict=True):
            assert torch.equal(theirs, mine)
    finally:
        torch.set_num_threads(before)


def test_second_derivative(way):
    x = torch.randn(1, 4, 6, 8, dtype=torch.float64, requires_grad=True)

    def f(x):
        pooled, indices = max_pool(x)
        return max_unpool(pooled**3, indices)

    assert torch.autograd.gradcheck(f, x)
    assert torch.autograd.gradgradcheck(f, x)


@pytest.mark.parametrize("storage", STORAGES)
def test_works_in_deterministic_mode(storage):
    # PyTorch's own unpooling refuses this mode.
    x = torch.randn(1, 4, 9, 11)
    wanted = max_unpool(*max_pool(x, ceil_mode=True, storage=storage))
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(max_unpool(*max_pool(x, ceil_mode=True, storage=storage)), wanted)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (3, 3), (2, 1)])
def test_other_windows_keep_int64(kernel, stride):
    x = torch.randn(2, 3, 11, 13)
    pooled, indices = max_pool(x, kernel, stride, storage="packed")
    wanted, flat = F.max_pool2d(x, kernel, stride, return_indices=True)
    assert indices.codes.dtype == torch.int64
    assert torch.equal(pooled, wanted)
    assert torch.equal(max_unpool(pooled, indices), F.max_unpool2d(wanted, flat, kernel, stride, output_size=(11, 13)))


def test_a_map_that_does_not_fit_is_refused():
    _, indices = max_pool(torch.randn(1, 8, 6, 6))
    for shape in ((1, 4, 3, 3), (2, 8, 3, 3), (1, 8, 6, 6)):
        with pytest.raises(ValueError, match="cannot unpool"):
            max_unpool(torch.randn(shape), indices)


class PoolUnpool(torch.nn.Module):
    def __init__(self, storage):
        super().__init__()
        self.storage = storage

    def forward(self, x):
        pooled, indices = max_pool(x, ceil_mode=True, storage=self.storage)
        return max_unpool(pooled * 2, indices)


@pytest.mark.parametrize(
    ("storage", "backend"),
    [
        pytest.param(storage, backend, marks=[] if (storage, backend) == ("uint8", "aot_eager") else pytest.mark.slow)
        for storage in STORAGES
        for backend in ("aot_eager", "inductor")
    ],
)
def test_compiles_as_one_graph(storage, backend):
    model = PoolUnpool(storage)
    compiled = torch.compile(model, fullgraph=True, backend=backend, dynamic=True)
    for size in ((9, 12), (11, 8), (11, 10)):
        a, b = (torch.randn(1, 6, *size).requires_grad_() for _ in range(2))
        b.data.copy_(a.data)
        compiled(a).square().sum().backward()
        model(b).square().sum().backward()
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("how", [pooling.by_comparing, pytest.param(nullcontext, marks=pytest.mark.slow)])
def test_onnxruntime_gives_the_same(how, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    sides = {2: torch.export.Dim("height", min=4, max=512), 3: torch.export.Dim("width", min=4, max=512)}
    model, path = PoolUnpool("packed").eval(), str(tmp_path / "pool.onnx")
    with how():
        torch.onnx.export(
            model, (torch.randn(1, 6, 13, 15),), path, dynamo=True, dynamic_shapes={"x": sides}, verbose=False
        )
    session = onnxruntime.InferenceSession(path)
    for size in ((13, 15), (14, 16)):
        x = torch.randint(-3, 4, (1, 6, *size)).float()  # ties
        assert np.array_equal(session.run(None, {"x": x.numpy()})[0], model(x).numpy())


def test_no_compiler_is_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert native.compiler() is None
    monkeypatch.setenv("CC", "/does/not/exist")
    assert native.compiler() is None
    assert native.compile_c.__wrapped__("int f(void) { return 1; }") is None


def test_a_broken_kernel_is_no_error():
    assert native.compile_c.__wrapped__("this is not C") is None


def test_kernels_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("TOOLKIT_NATIVE", "0")
    assert native.compiler() is None
    assert "TOOLKIT_NATIVE=0" in str(native.without_kernels.__wrapped__())


def test_what_no_compiler_costs_is_said(monkeypatch):
    monkeypatch.setattr(native, "compile_c", lambda source: None)
    said = str(native.without_kernels.__wrapped__())
    for words in ("no C compiler", "twice as long", "install gcc"):
        assert words in said


@pytest.mark.gpu
@pytest.mark.parametrize("storage", STORAGES)
def test_gpu_equals_cpu(storage):
    for ceil_mode, size in itertools.product((0, 1), ((6, 8), (7, 9), (45, 61))):
        x = hard((2, 5, *size), torch.float32)
        a, b = x.clone().requires_grad_(), x.cuda().requires_grad_()
        outputs = [max_unpool(*max_pool(t, ceil_mode=bool(ceil_mode), storage=storage)) for t in (a, b)]
        g = torch.randn_like(outputs[0])
        outputs[0].backward(g)
        outputs[1].backward(g.cuda())
        assert torch.equal(bits(outputs[0]), bits(outputs[1].cpu()))
        assert torch.equal(bits(a.grad), bits(b.grad.cpu()))
