"""The best class of every pixel, from maps on a coarser grid, without ever holding all classes at full size.

On a CPU a C kernel (`ops/native.py`) reads the maps once, row by row, with a running maximum; without a compiler and on
other devices PyTorch does the same in bands of rows: the same labels to the bit, softmaxes to some units in the last place.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from toolkit.ops.native import compile_c, split
from toolkit.ops.resize import line_weights, sample_rows

_BAND_VALUES = 1 << 20
"""Numbers a band of rows may hold (4 MiB of float32): a 19-class image of 1024x2048 is worked off in 40 bands."""
_SMALLEST = 1 << 17
"""Values compared below which a kernel is not worth its compilation: a 2-class image of 256x256."""

# Columns first, once for each row of the map (two rows are kept: `line`), then rows, which are compared as they are made.
# The interpolation is `torch.lerp`, operation for operation: base + c * (b - a), base the nearer of the two.
_SOURCE = r"""
#include <math.h>
#include <stdint.h>
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FMA fmaf
#else
#define FMA(x, y, z) ((x) * (y) + (z))
#endif
typedef int64_t i64;
enum { BLOCK = 512 };
/* Where results are read: between two values, a share of their difference (negative: from the second) away from the
   nearer one. No shares: at the first. */
typedef struct { const int32_t *low, *high; const float *share; } line;

static void columns(const float *restrict row, i64 step, float *restrict out, line at, i64 n) {
  if (!at.share) for (i64 i = 0; i < n; i++) out[i] = row[at.low[i] * step];
  else for (i64 i = 0; i < n; i++) {
    float low = row[at.low[i] * step], high = row[at.high[i] * step], share = at.share[i];
    out[i] = FMA(share, high - low, signbit(share) ? high : low); } }

/* e^x of x <= 0, to some units in the last place: Cephes' expf, without branches. */
static inline __attribute__((always_inline)) float power(float x) {
  union { float f; uint32_t i; } whole, two;
  x = x < -87 ? -87 : x;
  whole.f = x * 1.44269504f + 12582912.f;  /* 1.5 * 2^23: what is left of the sum is a whole number */
  float n = whole.f - 12582912.f, r = FMA(n, 2.12194440e-4f, FMA(n, -0.693359375f, x)), p = 1.9875691500e-4f;
  p = FMA(p, r, 1.3981999507e-3f); p = FMA(p, r, 8.3334519073e-3f); p = FMA(p, r, 4.1665795894e-2f);
  p = FMA(p, r, 1.6666665459e-1f); p = FMA(p, r, 5.0000001201e-1f); p = FMA(p, r * r, r) + 1;
  two.i = (whole.i << 23) + 0x3f800000u;
  return p * two.f; }

/* DO with each value v of the block, class by class. */
#define EACH(DO) for (int32_t k = 0; k < classes; k++) { \
  const float *a = lines[0] + k * apart + start, *b = lines[1] + k * apart + start, *c = nearer + k * apart + start; \
  if (rows.share) for (i64 i = 0; i < n; i++) { float v = FMA(share, b[i] - a[i], c[i]); DO } \
  else for (i64 i = 0; i < n; i++) { float v = a[i]; DO } }

/* Rows [first, last) of the labels (rows, width), from maps whose planes, rows and columns lie that many numbers apart.
   kept: space for two rows of all classes, or 0 where columns are taken as they are. scores: (rows, width), or 0;
   softmax: whether they are softmaxes or the largest values themselves. */
void best_classes(const float *maps, i64 plane, i64 stride, i64 step, i64 classes, line rows, line across, i64 width,
    float *kept, uint8_t *labels, float *scores, int softmax, i64 first, i64 last) {
  float best[BLOCK], sum[BLOCK]; int32_t found[BLOCK];
  i64 held[2] = {-1, -1}, apart = kept ? width : plane;
  for (i64 r = first; r < last; r++) {
    i64 ends[2] = {rows.low[r], rows.high[r]};
    const float *lines[2];
    for (int e = 0; e < 2; e++) {
      i64 at = ends[e], slot = at & 1;
      if (!kept) { lines[e] = maps + at * stride; continue; }
      float *line_of = kept + slot * classes * width;
      if (held[slot] != at)
        for (i64 k = 0; k < classes; k++)
          columns(maps + k * plane + at * stride, step, line_of + k * width, across, width);
      held[slot] = at; lines[e] = line_of; }
    float share = rows.share ? rows.share[r] : 0;
    const float *nearer = lines[signbit(share) != 0];
    for (i64 start = 0; start < width; start += BLOCK) {
      i64 n = width - start < BLOCK ? width - start : BLOCK, at = r * width + start;
      for (i64 i = 0; i < n; i++) { best[i] = -INFINITY; found[i] = 0; sum[i] = 0; }
      /* A later class wins when it is larger, or the first that is not a number. */
      EACH(int wins = !(v <= best[i]) & (best[i] == best[i]); best[i] = wins ? v : best[i]; found[i] = wins ? k : found[i];)
      for (i64 i = 0; i < n; i++) labels[at + i] = (uint8_t)found[i];
      if (!scores) continue;
      if (!softmax) { for (i64 i = 0; i < n; i++) scores[at + i] = best[i]; continue; }
      EACH(sum[i] += power(v - best[i]);)
      for (i64 i = 0; i < n; i++) scores[at + i] = best[i] - best[i] == 0 ? 1 / sum[i] : NAN; } } }
"""


def best_classes(
    maps: Tensor, rows: Tensor, columns: Tensor, *, logits: bool = True, with_scores: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The class with the largest value at each crossing of fractional rows and columns, in memory for some rows.

    Returns labels (len(rows), len(columns)) uint8 and, when asked for, the probability of that class, float32: softmax
    of the interpolated `logits`, or else the interpolated value itself. As `torch.argmax` of the interpolated values:
    of equal classes the first wins, and the first that is not a number beats all. `F.interpolate` rounds differently
    (by one unit in the last place), so that classes which are equal but for that may come out the other way round.

    Args:
        maps: (K, h, w) float values of K classes, K up to 255.
        rows: ascending fractional rows to read at, float64, 0..h-1 (`ops/resize.py`).
        columns: fractional columns to read at, float64, 0..w-1.
        logits: whether a score is the softmax of the values; False takes the values for probabilities.
        with_scores: whether scores are computed too; None stands for them otherwise.

    >>> maps = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]])  # class 0 is sure on the left, class 1 on the right
    >>> best_classes(maps, torch.tensor([0.0]), torch.tensor([0.0, 0.5, 0.75, 1.0]))[0].tolist()
    [[0, 0, 1, 1]]
    """
    found = _best_by_kernel(maps, rows, columns, logits, with_scores)
    if found is not None:
        return found
    maps = maps.permute(1, 2, 0).contiguous()
    labels = torch.empty(len(rows), len(columns), dtype=torch.uint8, device=maps.device)
    scores = torch.empty(labels.shape, device=maps.device) if with_scores else None
    step = max(1, _BAND_VALUES // (maps.shape[2] * len(columns)))
    for start in range(0, len(rows), step):
        band = slice(start, start + step)
        values = sample_rows(maps, rows[band], columns)
        best = values.argmax(-1)
        labels[band] = best
        if scores is not None:
            highest = values.gather(-1, best[..., None])[..., 0]
            scores[band] = (highest - values.logsumexp(-1)).exp() if logits else highest
    return labels, scores


class _Line(ctypes.Structure):
    """`line` of the kernel: where the results of one axis are read. Pointers into tensors that the caller keeps."""

    _fields_ = (*((name, ctypes.c_void_p) for name in ("low", "high", "share")),)


def _best_by_kernel(
    maps: Tensor, rows: Tensor, columns: Tensor, logits: bool, with_scores: bool
) -> tuple[Tensor, Tensor | None] | None:
    """What `best_classes` gives, or None where the kernel cannot serve: another device or type, few values, no compiler."""
    items = maps.shape[0] * len(rows) * len(columns)
    plain = type(maps) is Tensor and maps.device.type == "cpu" and maps.dtype == torch.float32
    if not plain or items < _SMALLEST:
        return None
    library = compile_c(_SOURCE)
    if library is None:
        return None
    down, across = line_weights(rows, maps.shape[1]), line_weights(columns, maps.shape[2])
    every_column = torch.arange(maps.shape[2], dtype=torch.int32)
    as_they_are = maps.stride(2) == 1 and across.share is None and torch.equal(across.low, every_column)
    labels = torch.empty(len(rows), len(columns), dtype=torch.uint8)
    scores = torch.empty(labels.shape) if with_scores else None
    sizes = (ctypes.c_int64(number) for number in (*maps.stride(), maps.shape[0]))
    head = (_pointer(maps), *sizes, _Line(*map(_pointer, down)), _Line(*map(_pointer, across)))

    def run(first: int, last: int) -> None:
        kept = None if as_they_are else torch.empty(2, maps.shape[0], len(columns))
        library.best_classes(
            *head, ctypes.c_int64(len(columns)), _pointer(kept), _pointer(labels), _pointer(scores), int(logits),
            ctypes.c_int64(first), ctypes.c_int64(last),
        )  # fmt: skip

    split(run, len(rows), items)
    return labels, scores


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
