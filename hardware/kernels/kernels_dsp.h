/* Kernels for cores with the DSP extension; included by kernels.h, which says what they do.
 *
 * Two patches are widened to 16 bits in such an order that one instruction gives the two lanes of
 * weights that belong to a word of them: SXTB16 of four bytes, or a mask of packed fields. They are
 * then multiplied with two rows at a time. Lanes hold the values
 *     8 bits    (0, 2) (1, 3) of each 4, the last n % 4 of both patches side by side behind them
 *     4 bits    (0, 4) (1, 5) (2, 6) (3, 7) of each 8
 *     2 bits    (0, 8) ... (7, 15) of each 16
 * and zeros behind the last value. Words of the two patches alternate.
 */
#ifndef JOINT_GA_KERNELS_DSP_H
#define JOINT_GA_KERNELS_DSP_H

#include <arm_acle.h>

KERNELS_INLINE int32_t load_lanes(const int8_t *from) { return (int32_t)load_word(from); }

/* Bytes 0 and 2 of a word, or 1 and 3. */
KERNELS_INLINE int32_t even_bytes(int32_t v) { return __sxtb16(v); }

KERNELS_INLINE int32_t odd_bytes(int32_t v) {
  int32_t lanes;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(lanes) : "r"(v));
  return lanes;
}

/* The low, or high, halves of two words. */
KERNELS_INLINE int32_t low_halves(int32_t first, int32_t second) {
  int32_t lanes;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(lanes) : "r"(first), "r"(second));
  return lanes;
}

KERNELS_INLINE int32_t high_halves(int32_t first, int32_t second) {
  int32_t lanes;
  __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(lanes) : "r"(first), "r"(second));
  return lanes;
}

KERNELS_INLINE int32_t to_byte(int32_t v) {
  __asm__("ssat %0, #8, %0" : "+r"(v));
  return v;
}

/* `requantize`, with shifts by the low byte of a register. */
KERNELS_INLINE int32_t scaled(int32_t acc, int32_t bias, int32_t multiplier, int32_t shift) {
  int32_t v = multiply_high((int32_t)((uint32_t)acc << (shift >> 8)), multiplier) + bias;
  __asm__("asr %0, %0, %1" : "+r"(v) : "r"(shift));
  return v;
}

KERNELS_INLINE int is_full_byte(int32_t low, int32_t high) { return low == -128 && high == 127; }

/* Lanes of 8 values for 4-bit weights, or half of those of 16 values for 2-bit weights. */
KERNELS_INLINE void spread(const int8_t *first, const int8_t *second, int32_t *lanes) {
  const int32_t a = load_lanes(first), b = load_lanes(second);
  const int32_t ae = even_bytes(a), ao = odd_bytes(a), be = even_bytes(b), bo = odd_bytes(b);
  lanes[0] = low_halves(ae, be);
  lanes[1] = low_halves(ao, bo);
  lanes[2] = high_halves(ae, be);
  lanes[3] = high_halves(ao, bo);
}

/* Lanes for a word of packed weights, and the sum of the values. */
KERNELS_INLINE int32_t spread_word(const int8_t *x, int32_t bits, int32_t *lanes, int32_t sum) {
  const int32_t fields = 32 / bits;
  int32_t i;
  spread(x, x + fields / 2, lanes);
  if (bits == 2) spread(x + 4, x + 12, lanes + 4);
#pragma GCC unroll 8
  for (i = 0; i < fields / 2; i++) sum = __smlad(lanes[i], 0x00010001, sum);
  return sum;
}

KERNELS_INLINE int32_t widen_packed(const int8_t *x, int32_t n, int32_t *column, int32_t bits) {
  const int32_t fields = 32 / bits;
  int32_t sum = 0, lanes[8], i;
  int8_t rest[16];
  for (; n > 0; n -= fields, x += fields) {
    if (n < fields) {
      fill_bytes(rest, 0, fields);
      copy_bytes(rest, x, n);
      x = rest;
    }
    sum = spread_word(x, bits, lanes, sum);
#pragma GCC unroll 8
    for (i = 0; i < fields / 2; i++, column += 2) *column = lanes[i];
  }
  return sum;
}

KERNELS_FUNCTION int32_t widen4(const int8_t *x, int32_t n, int32_t *column) {
  return widen_packed(x, n, column, 4);
}

KERNELS_FUNCTION int32_t widen2(const int8_t *x, int32_t n, int32_t *column) {
  return widen_packed(x, n, column, 2);
}

KERNELS_FUNCTION void widen8(const int8_t *x, int32_t n, int32_t *columns, int32_t which) {
  int32_t *column = columns + which;
  int16_t *rest;
  for (; n >= 8; n -= 8, x += 8, column += 8) {
    const int32_t a = load_lanes(x), b = load_lanes(x + 4);
    column[0] = even_bytes(a);
    column[2] = odd_bytes(a);
    column[4] = even_bytes(b);
    column[6] = odd_bytes(b);
  }
  if (n >= 4) {
    const int32_t a = load_lanes(x);
    column[0] = even_bytes(a);
    column[2] = odd_bytes(a);
    n -= 4;
    x += 4;
    column += 4;
  }
  rest = (int16_t *)(void *)(column - which) + which;
  for (; n > 0; n--, rest += 2) *rest = *x++;
}

/* What packed fields, which are weights plus `1 << (bits - 1)`, count too much. */
KERNELS_INLINE int32_t widen(const int8_t *x, int32_t n, int32_t *columns, int32_t which,
                             int32_t bits) {
  if (KERNELS_HAVE(bits, 4)) return -8 * widen4(x, n, columns + which);
  if (KERNELS_HAVE(bits, 2)) return -2 * widen2(x, n, columns + which);
  widen8(x, n, columns, which);
  return 0;
}

/* Outputs of anything but bytes. */
KERNELS_FUNCTION void finish_wide(const tensor_t *out, const rows_t *r, int32_t pixel, int32_t row,
                                  int32_t acc) {
  finish(out, r, pixel, row, acc);
}

/* Inner loops are written out, so that -Os makes them no slower. Lanes `t` of word `u` of the first
 * row, then of word `v` of the second, times the words `a` and `b` of two patches.
 */
#define MULTIPLY_FIRST "smlad %[s00], %[t], %[a], %[s00]\n smlad %[s01], %[t], %[b], %[s01]\n"
#define MULTIPLY_SECOND "smlad %[s10], %[t], %[a], %[s10]\n smlad %[s11], %[t], %[b], %[s11]\n"
#define NEXT_WORDS "ldrd %[a], %[b], [%[x]], #8\n"
#define MULTIPLY_LANES(first, second) \
  NEXT_WORDS first "\n" MULTIPLY_FIRST second "\n" MULTIPLY_SECOND
#define MULTIPLY_BYTES \
  MULTIPLY_LANES("sxtb16 %[t], %[u]", "sxtb16 %[t], %[v]") \
  MULTIPLY_LANES("sxtb16 %[t], %[u], ror #8", "sxtb16 %[t], %[v], ror #8")
#define MULTIPLY_FIELDS(shift) \
  MULTIPLY_LANES("and %[t], %[m], %[u], lsr #" shift, "and %[t], %[m], %[v], lsr #" shift)
#define MULTIPLY_4_FIELDS \
  MULTIPLY_LANES("and %[t], %[m], %[u]", "and %[t], %[m], %[v]") \
  MULTIPLY_FIELDS("4") MULTIPLY_FIELDS("8") MULTIPLY_FIELDS("12")
#define MULTIPLY_8_FIELDS \
  MULTIPLY_LANES("and %[t], %[m], %[u]", "and %[t], %[m], %[v]") \
  MULTIPLY_FIELDS("2") MULTIPLY_FIELDS("4") MULTIPLY_FIELDS("6") MULTIPLY_FIELDS("8") \
  MULTIPLY_FIELDS("10") MULTIPLY_FIELDS("12") MULTIPLY_FIELDS("14")

#define NEXT_WEIGHTS "ldr %[u], [%[w0]], #4\n ldr %[v], [%[w1]], #4\n"

typedef struct {
  int32_t s00, s01, s10, s11;
} sums_t;

/* Plain variables: fields might take a register for their address. */
#define SUMS_FROM(s) int32_t s00 = (s)->s00, s01 = (s)->s01, s10 = (s)->s10, s11 = (s)->s11
#define SUMS_TO(s) (s)->s00 = s00, (s)->s01 = s01, (s)->s10 = s10, (s)->s11 = s11
#define SUMS_OPERANDS [s00] "+r"(s00), [s01] "+r"(s01), [s10] "+r"(s10), [s11] "+r"(s11)
#define OTHER_OPERANDS \
  [x] "+r"(x), [w0] "+r"(w0), [w1] "+r"(w1), [u] "=&r"(u), [v] "=&r"(v), [a] "=&r"(a), \
      [b] "=&r"(b), [t] "=&r"(t)

KERNELS_INLINE void multiply_rows8(const int32_t *x, const int8_t *w0, const int8_t *w1, int32_t n,
                                   sums_t *s) {
  int32_t k = n >> 3, u, v, a, b, t;
  SUMS_FROM(s);
  if (k > 0)
    __asm__ volatile("1:\n" NEXT_WEIGHTS MULTIPLY_BYTES NEXT_WEIGHTS MULTIPLY_BYTES
                     "subs %[k], #1\n bne 1b\n"
                     : SUMS_OPERANDS, OTHER_OPERANDS, [k] "+r"(k)
                     :
                     : "cc", "memory");
  if (n & 4)
    __asm__ volatile(NEXT_WEIGHTS MULTIPLY_BYTES : SUMS_OPERANDS, OTHER_OPERANDS : : "memory");
  for (k = n & 3; k > 0; k--) {
    const int32_t first = *w0++, second = *w1++, both = *x++;
    s00 = __smlabb(first, both, s00);
    s01 = __smlabt(first, both, s01);
    s10 = __smlabb(second, both, s10);
    s11 = __smlabt(second, both, s11);
  }
  SUMS_TO(s);
}

#define MULTIPLY_PACKED(fields) \
  __asm__ volatile(NEXT_WEIGHTS fields \
                   : SUMS_OPERANDS, OTHER_OPERANDS \
                   : [m] "r"(mask) \
                   : "memory")

/* k words of fields in each row. The count is not an operand: all registers are taken. */
KERNELS_INLINE void multiply_packed(const int32_t *x, const int8_t *w0, const int8_t *w1, int32_t k,
                                    int32_t bits, sums_t *s) {
  const int32_t mask = bits == 4 ? 0x000f000f : 0x00030003;
  int32_t u, v, a, b, t;
  SUMS_FROM(s);
  if (bits == 4) {
    do MULTIPLY_PACKED(MULTIPLY_4_FIELDS);
    while (--k > 0);
  } else {
    do MULTIPLY_PACKED(MULTIPLY_8_FIELDS);
    while (--k > 0);
  }
  SUMS_TO(s);
}

/* Two patches times all rows, to the pixels `pixel` and, of two, the next one. */
KERNELS_INLINE void multiply_columns(const int32_t *columns, const tensor_t *out, const rows_t *r,
                                     int32_t pixel, int two, int32_t z0, int32_t z1, int32_t bits) {
  const int8_t *w = (const int8_t *)r->weights;
  const int full = is_full_byte(r->low, r->high);
  int8_t *o0 = (int8_t *)out->data + (ptrdiff_t)pixel * out->channels + r->out_channel;
  int8_t *o1 = two ? o0 + out->channels : o0;
  int32_t row;
  for (row = 0; row < r->count; row += 2) {
    const int last = row + 1 >= r->count;
    const int8_t *const w0 = w, *const w1 = last ? w : w + r->row_bytes;
    sums_t s = {z0, z1, z0, z1};
    w = w1 + r->row_bytes;
    if (bits == 8)
      multiply_rows8(columns, w0, w1, r->n, &s);
    else
      multiply_packed(columns, w0, w1, r->row_bytes / 4, bits, &s);
    if (out->bytes == 1) {
      const int32_t *const b = r->bias + row, *const m = r->multiplier + row;
      const int32_t *const sh = r->shift + row;
      s.s00 = scaled(s.s00, b[0], m[0], sh[0]);
      s.s01 = scaled(s.s01, b[0], m[0], sh[0]);
      if (!last) {
        s.s10 = scaled(s.s10, b[1], m[1], sh[1]);
        s.s11 = scaled(s.s11, b[1], m[1], sh[1]);
      }
      if (full) {
        o1[row] = (int8_t)to_byte(s.s01);
        o0[row] = (int8_t)to_byte(s.s00);
        if (last) continue;
        o1[row + 1] = (int8_t)to_byte(s.s11);
        o0[row + 1] = (int8_t)to_byte(s.s10);
      } else {
        o1[row] = (int8_t)clamp(s.s01, r->low, r->high);
        o0[row] = (int8_t)clamp(s.s00, r->low, r->high);
        if (last) continue;
        o1[row + 1] = (int8_t)clamp(s.s11, r->low, r->high);
        o0[row + 1] = (int8_t)clamp(s.s10, r->low, r->high);
      }
    } else {
      finish_wide(out, r, pixel, row, s.s00);
      if (two) finish_wide(out, r, pixel + 1, row, s.s01);
      if (!last) finish_wide(out, r, pixel, row + 1, s.s10);
      if (two && !last) finish_wide(out, r, pixel + 1, row + 1, s.s11);
    }
  }
}

KERNELS_FUNCTION void multiply_columns8(const int32_t *columns, const tensor_t *out,
                                        const rows_t *r, int32_t pixel, int two) {
  multiply_columns(columns, out, r, pixel, two, 0, 0, 8);
}

KERNELS_FUNCTION void multiply_columns4(const int32_t *columns, const tensor_t *out,
                                        const rows_t *r, int32_t pixel, int two,
                                        const int32_t *zeros) {
  multiply_columns(columns, out, r, pixel, two, zeros[0], zeros[1], 4);
}

KERNELS_FUNCTION void multiply_columns2(const int32_t *columns, const tensor_t *out,
                                        const rows_t *r, int32_t pixel, int two,
                                        const int32_t *zeros) {
  multiply_columns(columns, out, r, pixel, two, zeros[0], zeros[1], 2);
}

KERNELS_FUNCTION void convolve(const tensor_t *in, const tensor_t *out, const rows_t *r,
                               const window_t *k, int8_t *scratch) {
  int32_t *const columns = (int32_t *)(void *)scratch;
  int8_t *const gathered = scratch + convolve_bytes(r->n, 1);
  int32_t oy, ox, pixel = 0, zeros[2] = {0, 0};
  int held = 0;
  for (oy = 0; oy < out->height; oy++)
    for (ox = 0; ox < out->width; ox++, pixel++) {
      zeros[held] = widen(patch_at(in, k, r, oy, ox, gathered), r->n, columns, held, r->bits);
      held++;
      if (held < 2 && pixel + 1 < out->height * out->width) continue;
      pixel -= held - 1;
      if (KERNELS_HAVE(r->bits, 8)) multiply_columns8(columns, out, r, pixel, held == 2);
      if (KERNELS_HAVE(r->bits, 4)) multiply_columns4(columns, out, r, pixel, held == 2, zeros);
      if (KERNELS_HAVE(r->bits, 2)) multiply_columns2(columns, out, r, pixel, held == 2, zeros);
      pixel += held - 1;
      held = 0;
    }
}

/* Inputs times two rows of bytes. */
KERNELS_FUNCTION void dot8(const int8_t *x, const int8_t *w0, const int8_t *w1, int32_t n,
                           int32_t *sums) {
  int32_t s0 = 0, s1 = 0, k = n >> 2, v, a, b, e, t;
  if (k > 0)
    __asm__ volatile(
        "1:\n"
        "ldr %[v], [%[x]], #4\n ldr %[a], [%[w0]], #4\n ldr %[b], [%[w1]], #4\n"
        "sxtb16 %[e], %[v]\n sxtb16 %[v], %[v], ror #8\n"
        "sxtb16 %[t], %[a]\n smlad %[s0], %[e], %[t], %[s0]\n"
        "sxtb16 %[a], %[a], ror #8\n smlad %[s0], %[v], %[a], %[s0]\n"
        "sxtb16 %[t], %[b]\n smlad %[s1], %[e], %[t], %[s1]\n"
        "sxtb16 %[b], %[b], ror #8\n smlad %[s1], %[v], %[b], %[s1]\n"
        "subs %[k], #1\n bne 1b\n"
        : [s0] "+r"(s0), [s1] "+r"(s1), [x] "+r"(x), [w0] "+r"(w0), [w1] "+r"(w1), [k] "+r"(k),
          [v] "=&r"(v), [a] "=&r"(a), [b] "=&r"(b), [e] "=&r"(e), [t] "=&r"(t)
        :
        : "cc", "memory");
  n &= 3;
  for (; n > 0; n--, x++) {
    s0 += *x * *w0++;
    s1 += *x * *w1++;
  }
  sums[0] = s0;
  sums[1] = s1;
}

/* Lanes `l` of inputs times the fields of two rows from bit `shift` on. */
#define DOT_FIELDS(l, shift) \
  "and %[o], %[m], %[u]" shift "\n smlad %[s0], %[o], %[" l "], %[s0]\n" \
  "and %[o], %[m], %[v]" shift "\n smlad %[s1], %[o], %[" l "], %[s1]\n"
/* Every second byte of two words, half a word of fields apart. */
#define DOT_WORDS(first, second, turn, shift, later) \
  "ldr %[e], [%[x], #" first "]\n ldr %[o], [%[x], #" second "]\n" \
  "sxtb16 %[e], %[e]" turn "\n sxtb16 %[o], %[o]" turn "\n" \
  "pkhtb %[q], %[o], %[e], asr #16\n pkhbt %[e], %[e], %[o], lsl #16\n" \
  DOT_FIELDS("e", shift) DOT_FIELDS("q", later)
#define DOT_4BIT \
  DOT_WORDS("0", "4", "", "", ", lsr #8") DOT_WORDS("0", "4", ", ror #8", ", lsr #4", ", lsr #12") \
  "adds %[x], #8\n"
#define DOT_2BIT \
  DOT_WORDS("0", "8", "", "", ", lsr #4") DOT_WORDS("0", "8", ", ror #8", ", lsr #2", ", lsr #6") \
  DOT_WORDS("4", "12", "", ", lsr #8", ", lsr #12") \
  DOT_WORDS("4", "12", ", ror #8", ", lsr #10", ", lsr #14") \
  "adds %[x], #16\n"
#define DOT_LOOP(what) \
  __asm__ volatile("1:\n ldr %[u], [%[w0]], #4\n ldr %[v], [%[w1]], #4\n" what \
                   "subs %[k], #1\n bne 1b\n" \
                   : [s0] "+r"(s0), [s1] "+r"(s1), [x] "+r"(x), [w0] "+r"(w0), [w1] "+r"(w1), \
                     [k] "+r"(k), [u] "=&r"(u), [v] "=&r"(v), [e] "=&r"(e), [o] "=&r"(o), \
                     [q] "=&r"(q) \
                   : [m] "r"(mask) \
                   : "cc", "memory")

/* Inputs times two rows of fields, which are the weights plus `1 << (bits - 1)`. */
KERNELS_INLINE void dot_packed(const int8_t *x, const int8_t *w0, const int8_t *w1, int32_t n,
                               int32_t *sums, int32_t bits) {
  const int32_t fields = 32 / bits, mask = bits == 4 ? 0x000f000f : 0x00030003;
  int32_t s0 = 0, s1 = 0, k = n / fields, u, v, e, o, q;
  int8_t rest[16];
  for (n -= k * fields;; n = 0) {
    if (k > 0 && bits == 4) DOT_LOOP(DOT_4BIT);
    if (k > 0 && bits == 2) DOT_LOOP(DOT_2BIT);
    if (n == 0) break;
    fill_bytes(rest, 0, fields);
    copy_bytes(rest, x, n);
    x = rest;
    k = 1;
  }
  sums[0] = s0;
  sums[1] = s1;
}

KERNELS_FUNCTION void dot4(const int8_t *x, const int8_t *w0, const int8_t *w1, int32_t n,
                           int32_t *sums) {
  dot_packed(x, w0, w1, n, sums, 4);
}

KERNELS_FUNCTION void dot2(const int8_t *x, const int8_t *w0, const int8_t *w1, int32_t n,
                           int32_t *sums) {
  dot_packed(x, w0, w1, n, sums, 2);
}

KERNELS_FUNCTION int32_t sum_bytes(const int8_t *x, int32_t n) {
  int32_t sum = 0;
  for (; n >= 4; n -= 4, x += 4) {
    const int32_t v = load_lanes(x);
    sum = __smlad(even_bytes(v), 0x00010001, sum);
    sum = __smlad(odd_bytes(v), 0x00010001, sum);
  }
  for (; n > 0; n--) sum += *x++;
  return sum;
}

KERNELS_FUNCTION void multiply_bytes(const int8_t *x, const tensor_t *out, const rows_t *r) {
  const int8_t *w = (const int8_t *)r->weights;
  const int32_t zero = KERNELS_WIDTHS == 8 || r->bits == 8 ? 0 : -(1 << (r->bits - 1)) * sum_bytes(x, r->n);
  int32_t row, sums[2] = {0, 0};
  for (row = 0; row < r->count; row += 2, w += 2 * r->row_bytes) {
    const int last = row + 1 >= r->count;
    const int8_t *const w1 = last ? w : w + r->row_bytes;
    if (KERNELS_HAVE(r->bits, 8)) dot8(x, w, w1, r->n, sums);
    if (KERNELS_HAVE(r->bits, 4)) dot4(x, w, w1, r->n, sums);
    if (KERNELS_HAVE(r->bits, 2)) dot2(x, w, w1, r->n, sums);
    finish_wide(out, r, 0, row, sums[0] + zero);
    if (!last) finish_wide(out, r, 0, row + 1, sums[1] + zero);
  }
}

/* The part of a depthwise window that lies on the image: lines `line` and columns `step` bytes
 * apart. `shift` has the negative zero point, or 0, in both lanes.
 */
typedef struct {
  const int8_t *x, *w;
  int32_t rows, columns, line, step, w_line, channels, shift;
} taps_t;

/* One tap of four channels: words `v` of inputs and `u` of weights. */
#define MULTIPLY_TAP \
  "sxtb16 %[a], %[u]\n sxtab16 %[b], %[z], %[v]\n" \
  "smlabb %[s0], %[b], %[a], %[s0]\n smlatt %[s2], %[b], %[a], %[s2]\n" \
  "sxtb16 %[a], %[u], ror #8\n sxtab16 %[b], %[z], %[v], ror #8\n" \
  "smlabb %[s1], %[b], %[a], %[s1]\n smlatt %[s3], %[b], %[a], %[s3]\n"
#define TAP_SUMS [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3)
#define TAP_WORDS [u] "=&r"(u), [v] "=&r"(v), [a] "=&r"(a), [b] "=&r"(b)

/* Four channels from `c` on; `sums` holds what they start from. */
KERNELS_FUNCTION void depthwise4(const taps_t *t, int32_t c, int32_t *sums) {
  int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3], ky, kx, u, v, a, b;
  const int32_t step = t->step, channels = t->channels, z = t->shift;
  const int8_t *x = t->x + c, *w = t->w + c;
  if (t->columns == 3) {
    for (ky = t->rows; ky > 0; ky--, x += t->line, w += t->w_line)
      __asm__ volatile(
          "ldr %[v], [%[x]]\n ldr %[u], [%[w]]\n" MULTIPLY_TAP
          "ldr %[v], [%[x], %[step]]\n ldr %[u], [%[w], %[next]]\n" MULTIPLY_TAP
          "ldr %[v], [%[x], %[step], lsl #1]\n ldr %[u], [%[w], %[next], lsl #1]\n" MULTIPLY_TAP
          : TAP_SUMS, TAP_WORDS
          : [x] "r"(x), [w] "r"(w), [step] "r"(step), [next] "r"(channels), [z] "r"(z)
          : "memory");
  } else {
    for (ky = t->rows; ky > 0; ky--, x += t->line, w += t->w_line) {
      const int8_t *from = x, *weights = w;
      for (kx = t->columns; kx > 0; kx--)
        __asm__ volatile(
            "ldr %[v], [%[x]]\n ldr %[u], [%[w]]\n" MULTIPLY_TAP
            "add %[x], %[step]\n add %[w], %[next]\n"
            : TAP_SUMS, TAP_WORDS, [x] "+r"(from), [w] "+r"(weights)
            : [step] "r"(step), [next] "r"(channels), [z] "r"(z)
            : "memory");
    }
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

/* Outputs of four channels from `c` on. */
KERNELS_FUNCTION void finish4(const int32_t *sums, const rows_t *r, int32_t c, int8_t *o) {
  const int32_t *const b = r->bias + c, *const m = r->multiplier + c, *const sh = r->shift + c;
  const int32_t v0 = scaled(sums[0], b[0], m[0], sh[0]), v1 = scaled(sums[1], b[1], m[1], sh[1]);
  const int32_t v2 = scaled(sums[2], b[2], m[2], sh[2]), v3 = scaled(sums[3], b[3], m[3], sh[3]);
  if (is_full_byte(r->low, r->high)) {
    o[0] = (int8_t)to_byte(v0);
    o[1] = (int8_t)to_byte(v1);
    o[2] = (int8_t)to_byte(v2);
    o[3] = (int8_t)to_byte(v3);
  } else {
    o[0] = (int8_t)clamp(v0, r->low, r->high);
    o[1] = (int8_t)clamp(v1, r->low, r->high);
    o[2] = (int8_t)clamp(v2, r->low, r->high);
    o[3] = (int8_t)clamp(v3, r->low, r->high);
  }
}

KERNELS_INLINE int32_t depthwise1(const taps_t *t, int32_t c, int32_t acc) {
  const int8_t *x = t->x + c, *w = t->w + c;
  const int32_t shift = (int16_t)t->shift;
  int32_t ky, kx;
  for (ky = t->rows; ky > 0; ky--, x += t->line, w += t->w_line)
    for (kx = 0; kx < t->columns; kx++)
      acc += (x[kx * t->step] + shift) * w[kx * t->channels];
  return acc;
}

KERNELS_FUNCTION void depthwise_pixel(const taps_t *t, const tensor_t *out, const rows_t *r,
                                      int32_t pixel, const int32_t *starts) {
  const int32_t channels = t->channels;
  int8_t *const o = (int8_t *)out->data + (ptrdiff_t)pixel * channels;
  int32_t c, i, s[4] = {0, 0, 0, 0};
  if (channels < 4) {
    for (c = 0; c < channels; c++)
      finish_wide(out, r, pixel, c, depthwise1(t, c, starts ? starts[c] : 0));
    return;
  }
  for (c = 0; c < channels; c += 4) {
    /* The last four may overlap those before. */
    if (c > channels - 4) c = channels - 4;
#pragma GCC unroll 4
    for (i = 0; i < 4; i++) s[i] = starts ? starts[c + i] : 0;
    depthwise4(t, c, s);
    if (out->bytes == 1) {
      finish4(s, r, c, o + c);
    } else {
      for (i = 0; i < 4; i++) finish_wide(out, r, pixel, c + i, s[i]);
    }
  }
}

KERNELS_FUNCTION void accumulate_bytes(int32_t *sums, const int8_t *x, int32_t n) {
  int32_t k = n >> 2, v, a, b, c, d;
  if (k > 0)
    __asm__ volatile(
        "1:\n"
        "ldr %[v], [%[x]], #4\n ldrd %[a], %[b], [%[s]]\n ldrd %[c], %[d], [%[s], #8]\n"
        "sxtab %[a], %[a], %[v]\n sxtab %[b], %[b], %[v], ror #8\n"
        "sxtab %[c], %[c], %[v], ror #16\n sxtab %[d], %[d], %[v], ror #24\n"
        "strd %[a], %[b], [%[s]], #8\n strd %[c], %[d], [%[s]], #8\n"
        "subs %[k], #1\n bne 1b\n"
        : [s] "+r"(sums), [x] "+r"(x), [k] "+r"(k), [v] "=&r"(v), [a] "=&r"(a), [b] "=&r"(b),
          [c] "=&r"(c), [d] "=&r"(d)
        :
        : "cc", "memory");
  n &= 3;
  for (; n > 0; n--) *sums++ += *x++;
}

/* Zero points times the sums of each channel's weights. */
KERNELS_FUNCTION void depthwise_starts(const int8_t *w, int32_t taps, int32_t channels,
                                       int32_t zero_point, int32_t *starts) {
  int32_t c, i;
  for (c = 0; c < channels; c++) starts[c] = 0;
  for (i = 0; i < taps; i++, w += channels) accumulate_bytes(starts, w, channels);
  for (c = 0; c < channels; c++) starts[c] *= zero_point;
}

/* Taps that leave the image stand for the zero point, which the bias takes for all taps: the zero
 * point is taken from the inputs of those that do not, and added for all at once.
 */
KERNELS_FUNCTION void depthwise_bytes(const tensor_t *in, const tensor_t *out, const rows_t *r,
                                      const window_t *k, int8_t *scratch) {
  const int32_t channels = in->channels, step = k->dilation_w * channels;
  const int8_t *const w = (const int8_t *)r->weights;
  int32_t *const starts = (int32_t *)(void *)scratch;
  int32_t oy, ox, pixel = 0;
  taps_t t;
  t.line = k->dilation_h * in->width * channels;
  t.step = step;
  t.w_line = k->kernel_w * channels;
  t.channels = channels;
  t.shift = 0;
  if (starts) {
    depthwise_starts(w, k->kernel_h * k->kernel_w, channels, in->zero_point, starts);
    t.shift = low_halves(-in->zero_point, -in->zero_point);
  }
  for (oy = 0; oy < out->height; oy++) {
    const int32_t y0 = oy * k->stride_h - k->pad_top;
    int32_t ky0, ky1;
    inside(y0, k->dilation_h, k->kernel_h, in->height, &ky0, &ky1);
    t.rows = ky1 - ky0;
    for (ox = 0; ox < out->width; ox++, pixel++) {
      const int32_t x0 = ox * k->stride_w - k->pad_left;
      const int32_t y = y0 + ky0 * k->dilation_h;
      int32_t kx0, kx1;
      inside(x0, k->dilation_w, k->kernel_w, in->width, &kx0, &kx1);
      t.columns = kx1 - kx0;
      t.x = (const int8_t *)in->data + ((ptrdiff_t)y * in->width + x0) * channels + kx0 * step;
      t.w = w + (ky0 * k->kernel_w + kx0) * channels;
      depthwise_pixel(&t, out, r, pixel, starts);
    }
  }
}

KERNELS_FUNCTION void add_bytes(const int8_t *a, const int8_t *b, int8_t *o, int32_t n,
                                const terms_t *t) {
  const int32_t m0 = t->multiplier[0], m1 = t->multiplier[1], constant = t->constant;
  const int32_t shift = t->shift, low = t->low, high = t->high;
  const int full = is_full_byte(low, high);
  for (; n > 0; n--) {
    const int32_t v = (*a++ * m0 + (*b++ * m1 + constant)) >> shift;
    *o++ = (int8_t)(full ? to_byte(v) : clamp(v, low, high));
  }
}

KERNELS_FUNCTION void max_bytes(int8_t *o, const int8_t *x, int32_t n) {
  for (; n >= 4; n -= 4, o += 4, x += 4) {
    const uint32_t held = load_word(o), v = load_word(x);
    (void)__ssub8((int32_t)v, (int32_t)held);
    store_word(o, __sel(v, held));
  }
  for (; n > 0; n--, o++, x++) *o = *x > *o ? *x : *o;
}

#endif
