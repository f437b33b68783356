"""Whether the compressed data of a baseline JPEG can be what an encoder wrote: damage that decoders pass over.

Decoders resynchronise after damaged bytes and go on with wrong brightness and colours, often without a word. Here the
Huffman codes are walked as in decoding (ITU-T T.81, annex F.2.2), without transforming anything back, and what no
encoder writes is noticed: codes that are in no table, runs beyond a block's 64 coefficients, numbers larger than 8-bit
pictures can have, data that end before or long after the last block. A small C kernel does it in a few milliseconds a
megapixel; without a compiler there is no answer.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import cast

from toolkit.ops.native import compile_c

_SAYS = {
    1: "its data end before the last block",
    2: "a code is in no table",
    3: "a brightness is out of range",
    4: "a restart marker is missing",
    5: "a block has more than 64 coefficients",
    6: "data are left after the last block",
}

# What is left after the last block counts from 8 bytes on: some cameras and editors leave a few, or pad.
_SOURCE = r"""
typedef unsigned char u8;
typedef unsigned long long u64;
typedef long long i64;

/* Canonical Huffman decoding; fast: length << 8 | value of the code that the next 9 bits begin with, 0 for longer. */
typedef struct { int first[17], last[17], start[17], set; u8 values[256]; unsigned short fast[512]; } Table;
typedef struct { const u8 *at, *end; u64 bits; int count; } Stream; /* count: of real bits in `bits`; may go below 0 */

static void fill(Stream *s) {
    while (s->count <= 48) {
        if (s->at >= s->end || (s->at[0] == 0xFF && (s->at + 1 >= s->end || s->at[1] != 0))) return;
        s->bits |= (u64)s->at[0] << (56 - s->count);
        s->count += 8;
        s->at += s->at[0] == 0xFF ? 2 : 1;
    }
}
static int take(Stream *s, int number) { /* at most 16 bits; beyond the end they are 0 and count goes below 0 */
    int value;
    if (!number) return 0;
    if (s->count < number) fill(s);
    value = (int)(s->bits >> (64 - number));
    s->bits <<= number;
    s->count -= number;
    return value;
}
static int symbol(Stream *s, const Table *t) {
    int n, code, fast;
    if (s->count < 16) fill(s);
    fast = t->fast[s->bits >> 55];
    if (fast) { take(s, fast >> 8); return fast & 255; }
    for (n = 10; n <= 16; n++) {
        code = (int)(s->bits >> (64 - n));
        if (t->last[n] >= 0 && code >= t->first[n] && code <= t->last[n]) {
            take(s, n);
            return t->values[t->start[n] + code - t->first[n]];
        }
    }
    return -1;
}
static int signed_number(Stream *s, int size) {
    int value = take(s, size);
    return size && value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
}
static int read_tables(const u8 *data, i64 body, i64 stop, Table *tables) {
    while (body < stop) {
        int n, i, code = 0, total = 0;
        Table *t;
        if (body + 17 > stop) return 0;
        t = &tables[(data[body] >> 4 & 1) * 4 + (data[body] & 3)];
        for (i = 0; i < 512; i++) t->fast[i] = 0;
        for (n = 1; n <= 16; n++) {
            int count = data[body + n];
            t->start[n] = total; t->first[n] = code; t->last[n] = count ? code + count - 1 : -1;
            code += count; total += count;
            if (code > 1 << n || total > 256) return 0;
            code <<= 1;
        }
        if (body + 17 + total > stop) return 0;
        for (n = 0; n < total; n++) t->values[n] = data[body + 17 + n];
        for (n = 1; n <= 9; n++)
            for (code = t->first[n]; code <= t->last[n]; code++)
                for (i = 0; i < 1 << (9 - n); i++)
                    t->fast[code << (9 - n) | i] = (unsigned short)(n << 8 | t->values[t->start[n] + code - t->first[n]]);
        t->set = 1;
        body += 17 + total;
    }
    return 1;
}
static int block(Stream *s, const Table *dc, const Table *ac, int step, int *before) {
    int k, size = symbol(s, dc);
    if (s->count < 0) return 1;
    if (size < 0 || size > 11) return 2;
    *before += signed_number(s, size);
    if (*before * step > 1024 + 2 * step || *before * step < -1024 - 2 * step) return 3;
    for (k = 1; k < 64; k++) {
        size = symbol(s, ac);
        if (s->count < 0) return 1;
        if (size < 0) return 2;
        if (size == 0) break;
        k += size >> 4;
        if (k > 63) return 5;
        size &= 15;
        if (size > 10) return 2;
        take(s, size);
    }
    return s->count < 0 ? 1 : 0;
}
/* 0: sound; 1 and above: see _SAYS; -1: another kind of file. */
int jpeg_damage(const u8 *data, i64 length) {
    Table tables[8];
    int quant[4] = {1, 1, 1, 1}, id[4], h[4], v[4], q[4], dc[4], ac[4], before[4];
    int parts = 0, width = 0, height = 0, restart = 0, hmax = 1, vmax = 1, i, j, n, found;
    i64 at = 2;
    for (i = 0; i < 8; i++) tables[i].set = 0;
    while (at + 4 <= length) {
        int marker = data[at + 1];
        i64 size = data[at + 2] << 8 | data[at + 3], body = at + 4, stop = at + 2 + size;
        if (data[at] != 0xFF) return -1;
        if (marker == 0xFF) { at++; continue; }
        if (size < 3 || stop > length) return -1;
        if (marker == 0xDB) {
            while (body < stop) {
                int wide = data[body] >> 4, which = data[body] & 15;
                if (which > 3 || body + 1 + 64 * (wide ? 2 : 1) > stop) return -1;
                quant[which] = wide ? data[body + 1] << 8 | data[body + 2] : data[body + 1];
                body += 1 + 64 * (wide ? 2 : 1);
            }
        } else if (marker == 0xC4) {
            if (!read_tables(data, body, stop, tables)) return -1;
        } else if (marker == 0xC0 || marker == 0xC1) {
            if (size < 8 || parts || data[body] != 8) return -1;
            height = data[body + 1] << 8 | data[body + 2];
            width = data[body + 3] << 8 | data[body + 4];
            parts = data[body + 5];
            if (parts < 1 || parts > 4 || size < 8 + 3 * parts || !height || !width) return -1;
            for (i = 0; i < parts; i++) {
                id[i] = data[body + 6 + 3 * i];
                h[i] = data[body + 7 + 3 * i] >> 4;
                v[i] = data[body + 7 + 3 * i] & 15;
                q[i] = data[body + 8 + 3 * i] & 3;
                if (h[i] < 1 || h[i] > 4 || v[i] < 1 || v[i] > 4) return -1;
                if (h[i] > hmax) hmax = h[i];
                if (v[i] > vmax) vmax = v[i];
            }
        } else if (marker > 0xC1 && marker <= 0xCF && marker != 0xC8 && marker != 0xCC) {
            return -1; /* progressive, lossless or arithmetic */
        } else if (marker == 0xDD) {
            if (size < 4) return -1;
            restart = data[body] << 8 | data[body + 1];
        } else if (marker == 0xDA) {
            i64 across, down, unit, rest = 0;
            Stream s = {data + stop, data + length, 0, 0};
            if (!parts || data[body] != parts || size < 6 + 2 * parts) return -1; /* one scan holds everything */
            for (i = 0; i < parts; i++) {
                for (j = 0; j < parts && id[j] != data[body + 1 + 2 * i]; j++) {}
                if (j != i) return -1;
                dc[i] = data[body + 2 + 2 * i] >> 4;
                ac[i] = 4 + (data[body + 2 + 2 * i] & 15);
                if (dc[i] > 3 || ac[i] > 7 || !tables[dc[i]].set || !tables[ac[i]].set) return -1;
                before[i] = 0;
            }
            if (parts == 1) h[0] = v[0] = hmax = vmax = 1; /* a single component is not interleaved */
            across = (width + 8 * hmax - 1) / (8 * hmax);
            down = (height + 8 * vmax - 1) / (8 * vmax);
            for (unit = 0; unit < across * down; unit++) {
                if (restart && unit && unit % restart == 0) {
                    if (s.at + 2 > s.end || s.at[0] != 0xFF || s.at[1] != 0xD0 + (unit / restart - 1) % 8) return 4;
                    s.at += 2; s.count = 0; s.bits = 0;
                    for (i = 0; i < parts; i++) before[i] = 0;
                }
                for (i = 0; i < parts; i++)
                    for (n = 0; n < h[i] * v[i]; n++) {
                        found = block(&s, &tables[dc[i]], &tables[ac[i]], quant[q[i]], &before[i]);
                        if (found) return found;
                    }
            }
            rest = s.count / 8;
            while (s.at + 1 < s.end && !(s.at[0] == 0xFF && s.at[1] != 0 && s.at[1] != 0xFF)) {
                rest += s.at[0] != 0 && s.at[0] != 0xFF; /* padding is of one or the other */
                s.at++;
            }
            return rest >= 8 ? 6 : 0;
        }
        at = stop;
    }
    return -1;
}
"""


def jpeg_damage(data: bytes) -> str | None:
    """What is wrong inside the compressed data of a JPEG, in words; "" when nothing is.

    None when nobody can tell: other files than baseline JPEGs (progressive ones too), no C compiler on the machine.
    """
    library = compile_c(_SOURCE)
    if library is None:
        return None
    found = _function(library)(data, len(data))
    return None if found < 0 else _SAYS.get(found, "")


@functools.cache
def _function(library: ctypes.CDLL) -> Callable[[bytes, int], int]:
    function = library.jpeg_damage
    function.argtypes, function.restype = [ctypes.c_char_p, ctypes.c_longlong], ctypes.c_int
    return cast(Callable[[bytes, int], int], function)
