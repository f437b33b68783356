"""How processes are set up for the work: device, precision, threads, results that repeat to the bit.

Several processes stop together, and the one that failed is the one that explains.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from toolkit.engine.machine import bf16_instructions
from toolkit.engine.settings import TrainSettings
from toolkit.errors import ConfigError, Problem, UserError
from toolkit.samples import Batch
from toolkit.unneeded import without


def pick_device(name: str) -> str:
    """The device for a name; `auto` is cuda where there is one, else cpu. Raises ConfigError for a device this machine has not."""
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return "cuda" if have["cuda"] else "cpu"
    if not have[name]:
        present = ", ".join(device for device, there in have.items() if there)
        raise ConfigError(
            Problem("train.device", f"this machine has no '{name}' that PyTorch can use; it has {present}")
        )
    return name


def allow_tf32(allowed: bool) -> None:
    """Whether GPUs may compute float32 products (convolutions too) as TF32: range of float32, mantissa of 10 bits.

    Through the older of PyTorch's two interfaces, which writes both kinds of settings. The newer one
    (`fp32_precision`, since 2.9) writes only its own, and then every reader of the older ones raises: Lightning Fabric,
    and the compiler up to 2.13.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def _check_precision(settings: TrainSettings, device: str) -> None:
    if settings.precision == "16-mixed" and device == "cpu":  # Fabric would quietly take bf16-mixed
        message = "float16 with a loss scaler needs a GPU, and this training is on the CPU"
        raise ConfigError(Problem("train.precision", message, "take bf16-mixed, which needs no scaler, or 32-true"))


def precision_on(settings: TrainSettings, device: str) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """Number format of the passes on a device of that type; `auto` is told apart here alone.

    Only matrix units count; what other instructions for bfloat16 gain has not been measured.

    >>> precision_on(TrainSettings(steps=1, precision="auto"), "mps")
    '32-true'
    """
    if settings.precision != "auto":
        return settings.precision
    if device == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device == "cpu" and bf16_instructions() == "AMX"
    return "bf16-mixed" if fast else "32-true"


def process_counts(settings: TrainSettings) -> tuple[int, int]:
    """(processes a machine, machines): torchrun's or SLURM's when it started us, else the config's."""
    if "LOCAL_WORLD_SIZE" in os.environ and "WORLD_SIZE" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, max(1, int(os.environ["WORLD_SIZE"]) // local)
    tasks = _slurm_tasks()
    return tasks if tasks is not None else (settings.devices, settings.nodes)


def _slurm_tasks() -> tuple[int, int] | None:
    """(tasks a node, nodes) of the job step that srun made of us; None outside SLURM and in interactive jobs.

    Raises ConfigError for what PyTorch's processes cannot find one another by.
    """
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # as Fabric tells them
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if interactive or tasks == 1:
        return None
    nodes = int(os.environ.get("SLURM_NNODES", "1"))
    each = os.environ.get("SLURM_NTASKS_PER_NODE", "").partition("(")[0]
    if not each.isdigit() or int(each) * nodes != tasks:
        message = f"SLURM started {tasks} tasks on {nodes} node(s), but not as many on each as --ntasks-per-node says"
        raise ConfigError(
            Problem("srun", message, "give --nodes and --ntasks-per-node, one task a GPU, and no --ntasks")
        )
    return int(each), nodes


def _silence_notices() -> None:
    """Of libraries, what nobody can act on, or the start screen says: which precision and how many processes there are.

    PyTorch means the barriers that Fabric calls, which name no device.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*No device id is provided via `init_process_group` or `barrier")


def _import_fabric() -> None:
    with without("torchmetrics"):  # of which only the version is asked; its import takes longer than Fabric's
        import lightning_fabric  # noqa: F401


def make_fabric(settings: TrainSettings) -> Any:
    """A launched Fabric: under torchrun or SLURM one of its processes, else as `settings.devices` and `nodes` say."""
    _import_fabric()  # slow, and not needed for a config error
    from lightning_fabric import Fabric

    _silence_notices()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = pick_device(settings.device)
    _check_precision(settings, device)
    set_determinism(settings.deterministic, device)
    if device == "cuda":
        allow_tf32(settings.tf32)
    devices, nodes = process_counts(settings)
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=precision_on(settings, device),
    )
    fabric.launch()
    return fabric


class OneProcess:
    """What a training step asks of Fabric, where nothing is launched: this process, the CPU, float32."""

    world_size, global_rank, is_global_zero = 1, 0, True
    device = torch.device("cpu")
    strategy = SimpleNamespace(precision=SimpleNamespace(scaler=None))

    def to_device(self, value: Any) -> Any:
        """The value itself, which is on the CPU already."""
        return value

    def backward(self, loss: Tensor) -> None:
        """Computes the gradients of a loss, added to those that are there."""
        loss.backward()  # type: ignore[no-untyped-call]

    def no_backward_sync(self, module: nn.Module, *, enabled: bool = True) -> AbstractContextManager[None]:
        """Nothing: there are no other processes whose gradients could be waited for."""
        return nullcontext()


def on_device(fabric: Any, batch: Batch) -> Batch:
    """The batch on Fabric's device, but for what only the host looks at and would wait for: sizes of images, and boxes.

    A detector chooses among the boxes on the host, and moves those it learns from.
    """
    moved: Batch = fabric.to_device(batch._replace(boxes=None))
    return moved._replace(sizes=batch.sizes, original_sizes=batch.original_sizes, boxes=batch.boxes)


def alone(fabric: Any, precision: str) -> Any:
    """A Fabric of this process only, on the same device: for trials in which the others take no part."""
    _import_fabric()
    from lightning_fabric import Fabric

    device = fabric.device
    devices = [device.index] if device.type == "cuda" and device.index is not None else 1
    return Fabric(accelerator=device.type, devices=devices, precision=precision)


def gathered(fabric: Any, value: Any) -> list[Any]:
    """Every process's value (anything that pickles), in the order of ranks, the same list in all; all have to call it."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(values, value)
    return values


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every process has this same gradient of the one loss, of which its own values are a part; the parts' gradients
        # have to be added up, and DistributedDataParallel takes the mean over processes instead.
        return gradient * torch.distributed.get_world_size()


def sum_over_processes(values: Tensor) -> Tensor:
    """The values added up over all processes, in each of them, for a loss whose gradients are averaged over processes."""
    return _Sum.apply(values)  # type: ignore[no-any-return,no-untyped-call]


def leave(fabric: Any) -> None:
    """Ends the work of several processes together; without it, the first to exit can leave the others waiting."""
    if fabric.world_size > 1 and torch.distributed.is_initialized():
        fabric.barrier()
        torch.distributed.destroy_process_group()


_LOST = re.compile(
    r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|process group|TCPStore|remote process", re.IGNORECASE
)


@contextmanager
def explained(fabric: Any) -> Iterator[None]:
    """Around work of several processes: when another one's end stops this one, a sentence and no traceback.

    Raises UserError in place of what a broken connection looks like; everything else as it is.
    """
    try:
        yield
    except Exception as error:
        if fabric.world_size > 1 and is_lost_connection(error):
            number = f"process {fabric.global_rank + 1} of {fabric.world_size}"
            message = f"stops because another process ended ({str(error).splitlines()[0][:120]})"
            raise UserError(Problem(number, message, "that one's own message says why")) from error
        raise


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error says that another process cannot be reached any more."""
    if isinstance(error, UserError):
        return False
    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None
    )


def share_buffers(fabric: Any, model: nn.Module) -> None:
    """Gives every process the first one's buffers (running means), which otherwise are those of its own batches."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)


_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_CUBLAS_VALUES = (":4096:8", ":16:8")  # those PyTorch accepts, from cuBLAS's "results reproducibility"
_NO_FORM = re.compile(r"([\w:.]+(?: [\w.]+){0,4}?) does not have a deterministic implementation")


def set_determinism(on: bool, device: str) -> None:
    """Sets for the process, when on:

    * `torch.use_deterministic_algorithms(True)`: operations take a form that repeats, or raise; cuDNN's too.
    * `torch.backends.cudnn.benchmark = False`: the choice of a kernel does not depend on the time it took.
    * the environment's CUBLAS_WORKSPACE_CONFIG, `:4096:8` where nobody set it: cuBLAS's streams share no workspace.
    * `torch.utils.deterministic.fill_uninitialized_memory = False`: it would cost a pass over every new tensor, and
      nothing here reads one before it is written.

    Off is PyTorch's default, with cuDNN's benchmark on. Raises ConfigError for a CUBLAS_WORKSPACE_CONFIG that does not
    repeat, on a GPU.
    """
    # cuBLAS reads it once, at its first use in a process, whatever this run wants: a later one may be deterministic.
    workspace = os.environ.setdefault(_CUBLAS, _CUBLAS_VALUES[0])
    if on and device == "cuda" and workspace not in _CUBLAS_VALUES:
        message = f"needs the environment's {_CUBLAS} to be {' or '.join(_CUBLAS_VALUES)}, found '{workspace}'"
        raise ConfigError(Problem("train.deterministic", message, "unset the variable"))
    torch.use_deterministic_algorithms(on)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not on


def not_deterministic(error: BaseException) -> UserError | None:
    """PyTorch's refusal of an operation under `set_determinism(True)` in plain words; None for any other error."""
    found = _NO_FORM.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    name = found.group(1).split()[-1] if "_cuda" in found.group(1) else found.group(1)
    message = f"the operation {name} has no deterministic form on this device"
    remedy = "set train.deterministic=false (results then repeat up to rounding), or train.device=cpu, or another part"
    return UserError(Problem("train.deterministic", message, remedy))
