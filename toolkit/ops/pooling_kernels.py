"""C kernels of 2x2 pooling with a code (row * 2 + column) a window: pool, place (its inverse), pick (place's inverse).

Only `ops/pooling.py` uses them. Each function answers None when it cannot serve (no compiler, a data type or a device
it does not know, a map too small to be worth it); the caller then goes its way in torch.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from toolkit.ops.native import compile_c, split

# A row of windows at a time. NCHW: eight windows at once, and for the last ones the last eight again, which gives the
# same; NHWC: one window of all channels (step 1, right C), which compilers vectorise themselves, as edges of odd sizes
# need not be. The `right` and `down` conditions are constants after inlining.
_MACROS = r"""
#include <stdint.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64; typedef int64_t i64;
#define INLINE static inline __attribute__((always_inline))

/* Eight elements as one value, their bits as they are in memory. */
typedef u8 bytes __attribute__((vector_size(8)));
typedef BITS lanes __attribute__((vector_size(8 * sizeof(BITS))));
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (lanes){__VA_ARGS__})
#endif
#define EVEN(a, b) SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b) SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define IF(condition, t) ((t) & (lanes)(condition))
#define LOAD(name, from) lanes name; __builtin_memcpy(&name, from, sizeof name)
#define LOAD_CODES(name, from) bytes name##8; __builtin_memcpy(&name##8, from, 8); \
  lanes name = __builtin_convertvector(name##8, lanes)
#define STORE(to, value) { lanes v = value; __builtin_memcpy(to, &v, sizeof v); }

/* Half floats compare as integers. NaN is above everything, -0 equals 0; top: the bits of infinity. */
INLINE int key(u16 bits, int top) {
  int size = bits & 0x7fff;
  return size > top ? 0x8000 : (bits & 0x8000 ? -size : size);
}
/* As torch scans a window: a later value wins when it is larger or NaN. */
#define WINS_FLOAT(v, best) (((v) > (best)) | ((v) != (v)))
#define WINS_HALF(v, best) ((key(v, top) > key(best, top)) | (((v) & 0x7fff) > top))
#define TAKE(WINS, value, number) { v = (value); int wins = WINS(v, best); \
  code = wins ? number : code; best = wins ? v : best; }

#define POOL(NAME, T, WINS) \
INLINE void NAME##_row(const T *restrict x, const T *restrict below, T *restrict out, u8 *restrict codes, \
    i64 n, i64 step, i64 to_right, int right, int down, int top) { \
  for (i64 k = 0; k < n; k++) { \
    T best = x[k * step], v; u8 code = 0; \
    if (right) TAKE(WINS, x[k * step + to_right], 1) \
    if (down) TAKE(WINS, below[k * step], 2) \
    if (right && down) TAKE(WINS, below[k * step + to_right], 3) \
    out[k] = best; codes[k] = code; } } \
INLINE void NAME##_eight(const T *restrict x, const T *restrict below, T *restrict out, u8 *restrict codes, int top) { \
  T most[8]; BITS where[8]; /* all of one width, or the compiler takes as many at once as there are codes in a register */ \
  for (int k = 0; k < 8; k++) { \
    T best = x[2 * k], v; BITS code = 0; \
    TAKE(WINS, x[2 * k + 1], 1) TAKE(WINS, below[2 * k], 2) TAKE(WINS, below[2 * k + 1], 3) \
    most[k] = best; where[k] = code; } \
  for (int k = 0; k < 8; k++) out[k] = most[k]; \
  for (int k = 0; k < 8; k++) codes[k] = (u8)where[k]; }

/* (t << 1) == 0 finds -0: torch adds gradients to zeros, which turns -0 into 0. */
#define PLACE(NAME, T) \
INLINE void NAME##_row(T *restrict x, T *restrict below, const T *restrict in, const u8 *restrict codes, \
    i64 n, i64 step, i64 to_right, int right, int down, int clean) { \
  for (i64 k = 0; k < n; k++) { \
    T t = in[k]; u8 code = codes[k]; \
    if (clean) t = (T)(t << 1) ? t : 0; \
    x[k * step] = code == 0 ? t : 0; \
    if (right) x[k * step + to_right] = code == 1 ? t : 0; \
    if (down) below[k * step] = code == 2 ? t : 0; \
    if (right && down) below[k * step + to_right] = code == 3 ? t : 0; } } \
INLINE void NAME##_eight(T *restrict x, T *restrict below, const T *restrict in, const u8 *restrict codes, int clean) { \
  LOAD(t, in); LOAD_CODES(code, codes); \
  if (clean) t = IF((t << 1) != 0, t); \
  lanes left = IF(code == 0, t), right = IF(code == 1, t); \
  STORE(x, LOW(left, right)) STORE(x + 8, HIGH(left, right)) \
  left = IF(code == 2, t); right = IF(code == 3, t); \
  STORE(below, LOW(left, right)) STORE(below + 8, HIGH(left, right)) }

#define PICK(NAME, T) \
INLINE void NAME##_row(const T *restrict x, const T *restrict below, T *restrict out, const u8 *restrict codes, \
    i64 n, i64 step, i64 to_right, int right, int down, int unused) { \
  for (i64 k = 0; k < n; k++) { \
    T t = x[k * step]; u8 code = codes[k]; \
    if (right) { T v = x[k * step + to_right]; t = code == 1 ? v : t; } \
    if (down) { T v = below[k * step]; t = code == 2 ? v : t; } \
    if (right && down) { T v = below[k * step + to_right]; t = code == 3 ? v : t; } \
    out[k] = t; } } \
INLINE void NAME##_eight(const T *restrict x, const T *restrict below, T *restrict out, const u8 *restrict codes, int unused) { \
  LOAD_CODES(code, codes); \
  LOAD(a, x); LOAD(b, x + 8); LOAD(c, below); LOAD(d, below + 8); \
  STORE(out, IF(code == 0, EVEN(a, b)) | IF(code == 1, ODD(a, b)) | IF(code == 2, EVEN(c, d)) | IF(code == 3, ODD(c, d))) }

/* Output rows [first, last) of all planes; inner: 1 for NCHW, the number of channels for NHWC.
   Only whole windows are worth a specialised loop: the last row and column of odd sizes go through one for all. */
#define ROWS(NAME, X, OUT, CODES) \
static __attribute__((noinline)) void NAME##_edge(X *restrict a, X *restrict b, OUT *restrict o, CODES *restrict c, \
    i64 n, i64 step, i64 to_right, int right, int down, int flag) { \
  NAME##_row(a, b, o, c, n, step, to_right, right, down, flag); } \
INLINE void NAME##_whole(X *restrict a, X *restrict b, OUT *restrict o, CODES *restrict c, i64 n, int flag) { \
  if (n < 8) { NAME##_edge(a, b, o, c, n, 2, 1, 1, 1, flag); return; } \
  for (i64 k = 0; k < n; k += 8) { \
    i64 j = k < n - 8 ? k : n - 8; \
    NAME##_eight(a + 2 * j, b + 2 * j, o + j, c + j, flag); } } \
void NAME(X *x, OUT *out, CODES *codes, i64 first, i64 last, i64 H, i64 W, i64 h, i64 w, i64 inner, int flag) { \
  for (i64 r = first; r < last; r++) { \
    i64 i = r % h, down = 2 * i + 1 < H, full = W / 2 < w ? W / 2 : w; \
    X *a = x + (r / h * H + 2 * i) * W * inner, *b = a + (down ? W * inner : 0); \
    OUT *o = out + r * w * inner; CODES *c = codes + r * w * inner; \
    if (inner == 1) { \
      if (down) NAME##_whole(a, b, o, c, full, flag); \
      else NAME##_edge(a, b, o, c, full, 2, 1, 1, 0, flag); \
    } else for (i64 j = 0; j < full; j++) { \
      i64 k = j * inner; \
      if (down) NAME##_row(a + 2 * k, b + 2 * k, o + k, c + k, inner, 1, inner, 1, 1, flag); \
      else NAME##_edge(a + 2 * k, b + 2 * k, o + k, c + k, inner, 1, inner, 1, 0, flag); } \
    i64 k = full * inner; \
    if (full < w) NAME##_edge(a + 2 * k, b + 2 * k, o + k, c + k, inner, 1, 0, 0, down, flag); } }
"""
_PACKING = r"""
#include <stdint.h>
/* Blocks [first, last) of `total` codes, of which numbers e, e + groups, e + 2 groups, e + 3 groups share byte e. */
void pack(const uint8_t *restrict codes, uint8_t *restrict packed, int64_t first, int64_t last,
    int64_t total, int64_t groups) {
  for (int64_t r = first; r < last; r++) {
    const uint8_t *from = codes + r * total; uint8_t *to = packed + r * groups;
    for (int64_t e = 0; e < groups; e++) to[e] = from[e];
    for (int k = 1; k < 4; k++) {
      int64_t rest = total - k * groups, n = rest < groups ? rest : groups;
      for (int64_t e = 0; e < n; e++) to[e] |= from[k * groups + e] << 2 * k; } } }

void unpack(const uint8_t *restrict packed, uint8_t *restrict codes, int64_t first, int64_t last,
    int64_t total, int64_t groups) {
  for (int64_t r = first; r < last; r++) {
    const uint8_t *from = packed + r * groups; uint8_t *to = codes + r * total;
    for (int k = 0; k < 4; k++) {
      int64_t rest = total - k * groups, n = rest < groups ? rest : groups;
      for (int64_t e = 0; e < n; e++) to[k * groups + e] = from[e] >> 2 * k & 3; } } }
"""
_INSTANCES = {
    16: "POOL(pool, u16, WINS_HALF) ROWS(pool, const u16, u16, u8)",
    32: "POOL(pool, float, WINS_FLOAT) ROWS(pool, const float, float, u8)",
    64: "POOL(pool, double, WINS_FLOAT) ROWS(pool, const double, double, u8)",
}
_INFINITY_BITS = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80, torch.float32: 0, torch.float64: 0}
_SMALLEST = 1 << 16  # elements before pooling; below, all ways take some tens of microseconds


def _source(bits: int) -> str:
    """C for elements of one width, which compiles three times faster than for all."""
    macros = _MACROS.replace("BITS", f"u{bits}")
    movers = f"PLACE(place, u{bits}) ROWS(place, u{bits}, const u{bits}, const u8)\n"
    movers += f"PICK(pick, u{bits}) ROWS(pick, const u{bits}, u{bits}, const u8)\n"
    return macros + _INSTANCES[bits] + "\n" + movers


def _library(dtype: torch.dtype) -> ctypes.CDLL | None:
    return compile_c(_source(dtype.itemsize * 8))


def _serves(tensor: Tensor, items: int) -> bool:
    # Subclasses (fake tensors, wrappers) have no memory to point at.
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu"
    return plain and tensor.dtype in _INFINITY_BITS and items >= _SMALLEST and _library(tensor.dtype) is not None


def _dense(tensor: Tensor) -> tuple[Tensor, torch.memory_format]:
    """The tensor without gaps and its order: NHWC if it is that already, else NCHW."""
    if not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor, torch.channels_last
    return tensor.contiguous(), torch.contiguous_format


def _call(name: str, large: Tensor, small: Tensor, codes: Tensor, order: torch.memory_format, flag: int) -> None:
    function = getattr(_library(large.dtype), name)
    batch, channels, height, width = large.shape
    rows, columns = small.shape[2:]
    inner = channels if order is torch.channels_last else 1
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (large, small, codes)]
    sizes = [ctypes.c_int64(size) for size in (height, width, rows, columns, inner)]
    split(
        lambda first, last: function(*pointers, ctypes.c_int64(first), ctypes.c_int64(last), *sizes, flag),
        batch * channels // inner * rows,
        large.numel(),
    )


def pack(codes: Tensor, groups: int) -> Tensor | None:
    """Codes (N, C, h, w), four channels a byte: (N, groups, h, w) uint8."""
    return _repack("pack", codes, groups, codes.shape[1], groups)


def unpack(packed: Tensor, channels: int) -> Tensor | None:
    """The inverse of `pack`: (N, channels, h, w) uint8."""
    return _repack("unpack", packed, channels, channels, packed.shape[1])


def _repack(name: str, source: Tensor, out_channels: int, channels: int, groups: int) -> Tensor | None:
    batch, _, rows, columns = source.shape
    plain = type(source) is Tensor and source.device.type == "cpu"
    if not plain or batch * channels * rows * columns < _SMALLEST // 4:
        return None
    library = compile_c(_PACKING)
    if library is None:
        return None
    source, order = _dense(source)
    out = torch.empty((batch, out_channels, rows, columns), dtype=torch.uint8, memory_format=order)
    blocks, unit = (batch * rows * columns, 1) if order is torch.channels_last else (batch, rows * columns)
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (source, out)]
    getattr(library, name)(*pointers, *(ctypes.c_int64(n) for n in (0, blocks, channels * unit, groups * unit)))
    return out


def pool(x: Tensor, pooled: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
    """(N, C, H, W) -> maxima (N, C, h, w) and codes uint8 of the same shape."""
    if not _serves(x, x.numel()):
        return None
    x, order = _dense(x)
    out = torch.empty((*x.shape[:2], *pooled), dtype=x.dtype, memory_format=order)
    codes = torch.empty_like(out, dtype=torch.uint8)
    _call("pool", x, out, codes, order, _INFINITY_BITS[x.dtype])
    return out, codes


def place(values: Tensor, codes: Tensor, size: tuple[int, int], clean: bool) -> Tensor | None:
    """Values at their windows' codes, zeros elsewhere: (N, C, H, W); None where no kernel serves.

    Args:
        values: (N, C, h, w) float, one a window.
        codes: (N, C, h, w) uint8, which of a window's four cells gets the value.
        size: (H, W) of the result in cells.
        clean: whether -0 becomes 0, as in a gradient that PyTorch sums.
    """
    if not _serves(values, values.shape[0] * values.shape[1] * size[0] * size[1]):
        return None
    values, order = _dense(values)
    out = torch.empty((*values.shape[:2], *size), dtype=values.dtype, memory_format=order)
    if size[0] > 2 * values.shape[2] or size[1] > 2 * values.shape[3]:
        out.zero_()  # floor mode: the last row or column belongs to no window
    _call("place", out, values, codes.contiguous(memory_format=order), order, int(clean))
    return out


def pick(x: Tensor, codes: Tensor) -> Tensor | None:
    """The value of each window (N, C, H, W) that its code names: (N, C, h, w)."""
    if not _serves(x, x.numel()):
        return None
    x, order = _dense(x)
    out = torch.empty(codes.shape, dtype=x.dtype, memory_format=order)
    _call("pick", x, out, codes.contiguous(memory_format=order), order, 0)
    return out
