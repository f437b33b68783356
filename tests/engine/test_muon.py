"""Muon against PyTorch's, AdamW's rule for vectors, and what its matrices are."""

from __future__ import annotations

import pytest
import torch

from toolkit.engine.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (16, 16)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = torch.linalg.svdvals(orthogonalised(matrix, 5))
    assert found.min() > 0.6
    assert found.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(orthogonalised(matrix, 5).flatten(), (u @ v).flatten(), dim=0) > 0.97


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon to compare with")
def test_matrices_move_as_with_pytorchs_muon() -> None:
    """PyTorch's turns matrices in bfloat16, hence the tolerance."""
    generator = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(6, 10, generator=generator), torch.randn(3, 6, 10, generator=generator)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    pair = (
        (ours, Muon(0.05, 0.1, 0.9).build([{"params": [ours]}])),
        (theirs, torch.optim.Muon([theirs], 0.05, weight_decay=0.1, momentum=0.9, adjust_lr_fn="original")),
    )
    for gradient in gradients:
        for parameter, optimizer in pair:
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=0, atol=2e-3)


def test_a_kernel_is_the_matrix_of_its_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(4, 3, 3, 3, generator=generator), torch.randn(4, 3, 3, 3, generator=generator)
    kernel, matrix = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.flatten(1))
    # Another order in memory changes nothing.
    kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
    for parameter, of_it in ((kernel, gradient), (matrix, gradient.flatten(1))):
        parameter.grad = of_it.clone(memory_format=torch.preserve_format)
        Muon().build([{"params": [parameter]}]).step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), rtol=0, atol=1e-6)


def test_vectors_move_as_with_adamw() -> None:
    generator = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(7, generator=generator), torch.randn(4, 7, generator=generator)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    pair = (
        (ours, Muon(0.5, 0.1, vector_factor=0.02).build([{"params": [ours]}])),
        (theirs, torch.optim.AdamW([theirs], 0.01, (0.9, 0.98), 1e-8, 0.1)),
    )
    for gradient in gradients:
        for parameter, optimizer in pair:
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=0, atol=1e-6)
