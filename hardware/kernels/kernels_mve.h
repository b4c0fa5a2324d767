/* Kernels for cores with the M-profile vector extension (Helium: Cortex-M55, M85), which kernels.h
 * includes. 16 bytes at a time, all loops tail-predicated: lanes behind the last byte are neither
 * read nor added.
 *
 * A convolution multiplies four patches with one row of weights after the other, or one patch with
 * four rows where fewer than four pixels are left. Weights of 4 and 2 bits stay packed until they
 * are in registers, in one of two ways. Spread: 16 bytes are split into 8 / bits vectors, weight i
 * into number i % (8 / bits); activations are de-interleaved alike. In order: what is left of a row
 * is loaded into wider lanes, and each field is moved to a byte of its lane. What is stored is
 * w + 2^(bits - 1), so sums begin at -2^(bits - 1) times the sum of the patch.
 */
#ifndef JOINT_GA_KERNELS_MVE_H
#define JOINT_GA_KERNELS_MVE_H

#include <arm_mve.h>

/* In what follows: VMLADAVA adds to registers of even number ("Te"), addresses of widening and
 * narrowing accesses are in low registers ("l").
 */
#define MVE_LOAD(q, from) "vldrb.8 " q ", [%[" from "]], #16\n"
#define MVE_ADD(sum, q, r) "vmladava.s8 %[" sum "], " q ", " r "\n"
#define MVE_MASK(q) "vand " q ", " q ", %q[mask]\n"
#define MVE_PART(to, right) "vshr.u8 " to ", q0, #" right "\n"
#define MVE_JOIN(lane, left) "vshl.i" lane " q1, q0, #" left "\n vorr q0, q0, q1\n"
/* 16 weights in order. */
#define MVE_LOAD_ORDER_4(w) "vldrb.u16 q0, [%[" w "]], #8\n" MVE_JOIN("16", "4") MVE_MASK("q0")
#define MVE_LOAD_ORDER_2(w)                                                                        \
  "vldrb.u32 q0, [%[" w "]], #4\n" MVE_JOIN("32", "12") MVE_JOIN("32", "6") MVE_MASK("q0")

/* A turn of four patches: weights to q0 to q3, then each patch. */
#define MVE_FOUR(DO, p) DO(p "0", "a") DO(p "1", "b") DO(p "2", "c") DO(p "3", "d")
#define MVE_PATCH_1(x, sum) MVE_LOAD("q4", x) MVE_ADD(sum, "q0", "q4")
#define MVE_PATCH_2(x, sum) MVE_PATCH_1(x, sum) MVE_LOAD("q4", x) MVE_ADD(sum, "q1", "q4")
#define MVE_PATCH_4(x, sum)                                                                        \
  MVE_PATCH_2(x, sum) MVE_LOAD("q4", x) MVE_ADD(sum, "q2", "q4") MVE_LOAD("q4", x)                 \
  MVE_ADD(sum, "q3", "q4")
#define MVE_SPLIT_4 MVE_LOAD("q0", "w") MVE_PART("q1", "4") MVE_MASK("q0")
#define MVE_SPLIT_2                                                                                \
  MVE_LOAD("q0", "w") MVE_PART("q1", "2") MVE_PART("q2", "4") MVE_PART("q3", "6") MVE_MASK("q0")   \
  MVE_MASK("q1") MVE_MASK("q2")
/* Bytes, or lr bytes of packed weights that are spread and `rest` weights in order. */
#define MVE_PATCHES_8                                                                              \
  "dlstp.8 lr, %[rest]\n 1:\n" MVE_LOAD("q0", "w") MVE_FOUR(MVE_PATCH_1, "x") "letp lr, 1b\n"
#define MVE_PATCHES_BITS(split, patch, in_order)                                                   \
  "wlstp.8 lr, lr, 2f\n 1:\n" split MVE_FOUR(patch, "x") "letp lr, 1b\n 2:\n"              \
  "wlstp.8 lr, %[rest], 4f\n 3:\n" in_order("w") MVE_FOUR(MVE_PATCH_1, "x") "letp lr, 3b\n 4:\n"

/* A turn of four rows: the patch to q2 to q5, then each row. */
#define MVE_ROW_8(w, sum) MVE_LOAD("q0", w) MVE_ADD(sum, "q0", "q2")
#define MVE_ROW_ORDER_4(w, sum) MVE_LOAD_ORDER_4(w) MVE_ADD(sum, "q0", "q2")
#define MVE_ROW_ORDER_2(w, sum) MVE_LOAD_ORDER_2(w) MVE_ADD(sum, "q0", "q2")
#define MVE_ROW_SPREAD_4(w, sum)                                                                   \
  MVE_LOAD("q0", w) MVE_PART("q1", "4") MVE_ADD(sum, "q1", "q3") MVE_MASK("q0")                    \
  MVE_ADD(sum, "q0", "q2")
#define MVE_ROW_SPREAD_2(w, sum)                                                                   \
  MVE_LOAD("q0", w) MVE_PART("q1", "2") MVE_MASK("q1") MVE_ADD(sum, "q1", "q3")                    \
  MVE_PART("q1", "4") MVE_MASK("q1") MVE_ADD(sum, "q1", "q4") MVE_PART("q1", "6")                  \
  MVE_ADD(sum, "q1", "q5") MVE_MASK("q0") MVE_ADD(sum, "q0", "q2")

/* Likewise, with `spread` turns. */
#define MVE_ROWS_8                                                                                 \
  "ldr lr, %[rest]\n dlstp.8 lr, lr\n 1:\n" MVE_LOAD("q2", "x") MVE_FOUR(MVE_ROW_8, "w")          \
  "letp lr, 1b\n"
#define MVE_ROWS_BITS(loads, row, row_in_order)                                                    \
  "ldr lr, %[spread]\n wls lr, lr, 2f\n 1:\n" loads MVE_FOUR(row, "w") "le lr, 1b\n 2:\n"        \
  "ldr lr, %[rest]\n wlstp.8 lr, lr, 4f\n 3:\n" MVE_LOAD("q2", "x") MVE_FOUR(row_in_order, "w")  \
  "letp lr, 3b\n 4:\n"
#define MVE_LOAD_2 "vld20.8 {q2, q3}, [%[x]]\n vld21.8 {q2, q3}, [%[x]]!\n"
#define MVE_LOAD_4                                                                                 \
  "vld40.8 {q2, q3, q4, q5}, [%[x]]\n vld41.8 {q2, q3, q4, q5}, [%[x]]\n"                          \
  "vld42.8 {q2, q3, q4, q5}, [%[x]]\n vld43.8 {q2, q3, q4, q5}, [%[x]]!\n"

/* Four patches, the numbers at which their sums begin, and bytes of a row that are spread. */
typedef struct {
  const int8_t *x[4];
  int32_t start[4];
  int32_t spread;
} mve_patches_t;

#define MVE_PATCHES(loops, low, field)                                                             \
  __asm__ volatile("ldr lr, [%[x3], #32]\n"                                                        \
                   "ldrd %[x0], %[x1], [%[x3]]\n ldrd %[a], %[b], [%[x3], #16]\n"                  \
                   "ldrd %[c], %[d], [%[x3], #24]\n ldrd %[x2], %[x3], [%[x3], #8]\n" loops        \
                   "str %[a], [%[sums]]\n str %[b], [%[sums], #16]\n"                              \
                   "str %[c], [%[sums], #32]\n str %[d], [%[sums], #48]\n"                         \
                   : [w] "+&" low(w), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2),              \
                     [x3] "+&r"(x3), [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d)    \
                   : [rest] "r"(rest), [sums] "r"(sums), [mask] "w"(vdupq_n_u8(field))             \
                   : "q0", "q1", "q2", "q3", "q4", "lr", "memory")

/* sums[4 * i] = patch i by a row of weights. Returns where the weights' pointer ended. */
KERNELS_INLINE const int8_t *mve_patches(const mve_patches_t *p, const int8_t *w, int32_t rest,
                                         int32_t bits, int32_t *sums) {
  const void *x0, *x1, *x2, *x3 = p;
  int32_t a, b, c, d;
  if (bits == 8)
    MVE_PATCHES(MVE_PATCHES_8, "r", 0);
  else if (bits == 4)
    MVE_PATCHES(MVE_PATCHES_BITS(MVE_SPLIT_4, MVE_PATCH_2, MVE_LOAD_ORDER_4), "l", 15);
  else
    MVE_PATCHES(MVE_PATCHES_BITS(MVE_SPLIT_2, MVE_PATCH_4, MVE_LOAD_ORDER_2), "l", 3);
  return w;
}

#define MVE_ROWS(loops, low, field)                                                                \
  __asm__ volatile(loops                                                                           \
                   "vmov %q[v][2], %q[v][0], %[a], %[c]\n vmov %q[v][3], %q[v][1], %[b], %[d]\n"   \
                   : [v] "=w"(v), [x] "+r"(x), [w0] "+" low(w0), [w1] "+" low(w1),                 \
                     [w2] "+" low(w2), [w3] "+" low(w3), [a] "+Te"(a), [b] "+Te"(b),               \
                     [c] "+Te"(c), [d] "+Te"(d)                                                    \
                   : [spread] "m"(spread), [rest] "m"(rest), [mask] "w"(vdupq_n_u8(field))         \
                   : "q0", "q1", "q2", "q3", "q4", "q5", "lr", "memory")

/* Lane i: a patch, as it lies, by row i of `rows` rows; lanes behind the last row repeat it. */
KERNELS_INLINE int32x4_t mve_rows(const int8_t *x, int32_t start, const int8_t *w0, int32_t bytes,
                                  int32_t rows, int32_t spread, int32_t rest, int32_t bits) {
  const int8_t *w1 = w0 + (rows > 1 ? bytes : 0), *w2 = w1 + (rows > 2 ? bytes : 0);
  const int8_t *w3 = w2 + (rows > 3 ? bytes : 0);
  int32x4_t v;
  int32_t a = start, b = start, c = start, d = start;
  if (bits == 8)
    MVE_ROWS(MVE_ROWS_8, "r", 0);
  else if (bits == 4)
    MVE_ROWS(MVE_ROWS_BITS(MVE_LOAD_2, MVE_ROW_SPREAD_4, MVE_ROW_ORDER_4), "l", 15);
  else
    MVE_ROWS(MVE_ROWS_BITS(MVE_LOAD_4, MVE_ROW_SPREAD_2, MVE_ROW_ORDER_2), "l", 3);
  return v;
}

/* `n` may be 0. */
KERNELS_INLINE void copy_bytes(int8_t *to, const int8_t *from, int32_t n) {
  __asm__ volatile("wlstp.8 lr, %[n], 2f\n 1:\n vldrb.8 q0, [%[from]], #16\n"
                   "vstrb.8 q0, [%[to]], #16\n letp lr, 1b\n 2:\n"
                   : [to] "+r"(to), [from] "+r"(from)
                   : [n] "r"(n)
                   : "q0", "lr", "memory");
}

KERNELS_INLINE void fill_bytes(int8_t *to, int32_t value, int32_t n) {
  const int8x16_t v = vdupq_n_s8((int8_t)value);
  __asm__ volatile("wlstp.8 lr, %[n], 2f\n 1:\n vstrb.8 %q[v], [%[to]], #16\n letp lr, 1b\n 2:\n"
                   : [to] "+r"(to)
                   : [n] "r"(n), [v] "w"(v)
                   : "lr", "memory");
}

#define MVE_UNPACK(load, field)                                                                    \
  __asm__ volatile("dlstp.8 lr, %[n]\n 1:\n" load("w") "vsub.i8 q0, q0, %q[zero]\n"                \
                   "vstrb.8 q0, [%[to]], #16\n letp lr, 1b\n"                                      \
                   : [w] "+l"(w), [to] "+r"(to)                                                    \
                   : [n] "r"(n), [mask] "w"(vdupq_n_u8(field)),                                    \
                     [zero] "w"(vdupq_n_u8((uint8_t)(1 << (bits - 1))))                            \
                   : "q0", "q1", "lr", "memory")

/* n weights of 4 or 2 bits as bytes. */
KERNELS_INLINE void unpack_fields(const int8_t *w, int32_t n, int32_t bits, int8_t *to) {
  if (bits == 4)
    MVE_UNPACK(MVE_LOAD_ORDER_4, 15);
  else
    MVE_UNPACK(MVE_LOAD_ORDER_2, 3);
}

/* `requantize`, before the clamp. */
KERNELS_INLINE int32x4_t mve_requantize(int32x4_t v, int32x4_t bias, int32x4_t multiplier,
                                        int32x4_t shift) {
  v = vmulhq_s32(vshlq_s32(v, vshrq_n_s32(shift, 8)), multiplier);
  return vshlq_s32(vaddq_s32(v, bias), vnegq_s32(shift));
}

/* Up to four channels from `row` on, to outputs of any width from number `at` on. */
KERNELS_INLINE void mve_finish_rows(int32x4_t v, const rows_t *r, int32_t row, const tensor_t *out,
                                    int32_t at) {
  const mve_pred16_t p = vctp32q((uint32_t)(r->count - row));
  v = mve_requantize(v, vldrwq_z_s32(r->bias + row, p), vldrwq_z_s32(r->multiplier + row, p),
                     vldrwq_z_s32(r->shift + row, p));
  v = vminq_s32(vmaxq_s32(v, vdupq_n_s32(r->low)), vdupq_n_s32(r->high));
  if (out->bytes == 1)
    vstrbq_p_s32((int8_t *)out->data + at, v, p);
  else if (out->bytes == 2)
    vstrhq_p_s32((int16_t *)out->data + at, v, p);
  else
    vstrwq_p_s32((int32_t *)out->data + at, v, p);
}

/* Numbers of a patch that are spread: whole groups of 16 bytes of weights, and what is left if only
 * the last of its vectors would not be full. The rest is multiplied in order.
 */
KERNELS_INLINE int32_t mve_spread_numbers(int32_t n, int32_t bits) {
  const int32_t group = 128 / bits, left = n & (group - 1);
  if (bits == 8) return 0;
  return left > group - 16 ? n - left + group : n - left;
}

KERNELS_INLINE int32_t mve_sum(const int8_t *x, int32_t n) {
  int32_t sum = 0;
  __asm__ volatile("wlstp.8 lr, %[n], 2f\n 1:\n vldrb.8 q0, [%[x]], #16\n"
                   "vaddva.s8 %[sum], q0\n letp lr, 1b\n 2:\n"
                   : [x] "+r"(x), [sum] "+Te"(sum)
                   : [n] "r"(n)
                   : "q0", "lr", "memory");
  return sum;
}

#define MVE_SPREAD(load, store)                                                                    \
  __asm__ volatile("wls lr, %[turns], 2f\n 1:\n" load store "le lr, 1b\n 2:\n"                    \
                   : [x] "+r"(to), [sum] "+Te"(sum)                                                \
                   : [turns] "r"(turns)                                                            \
                   : "q2", "q3", "q4", "q5", "lr", "memory")
#define MVE_STORE(q) "vaddva.s8 %[sum], " q "\n vstrb.8 " q ", [%[x]], #16\n"

/* Spreads `spread` numbers of a patch, in `to` if any; returns the sum of all n. */
KERNELS_FUNCTION int32_t mve_spread(const int8_t *x, int32_t n, int32_t bits, int32_t spread,
                                    int8_t *to) {
  const int32_t rest = n - spread, turns = bits == 4 ? spread >> 5 : spread >> 6;
  int32_t sum = rest > 0 ? mve_sum(x + spread, rest) : 0;
  if (spread == 0) return sum;
  if (x != to) copy_bytes(to, x, n);
  if (rest < 0) fill_bytes(to + n, 0, -rest);
  if (bits == 4)
    MVE_SPREAD("vld20.8 {q2, q3}, [%[x]]\n vld21.8 {q2, q3}, [%[x]]\n",
               MVE_STORE("q2") MVE_STORE("q3"));
  else
    MVE_SPREAD("vld40.8 {q2, q3, q4, q5}, [%[x]]\n vld41.8 {q2, q3, q4, q5}, [%[x]]\n"
               "vld42.8 {q2, q3, q4, q5}, [%[x]]\n vld43.8 {q2, q3, q4, q5}, [%[x]]\n",
               MVE_STORE("q2") MVE_STORE("q3") MVE_STORE("q4") MVE_STORE("q5"));
  return sum;
}

#define MVE_FINISH(offset)                                                                         \
  "vldrw.32 %q[v], [%[sums], #" offset "]\n vshl.s32 %q[v], %q[v], %q[left]\n"                     \
  "vmulh.s32 %q[v], %q[v], %q[m]\n vadd.i32 %q[v], %q[v], %q[b]\n"                                \
  "vshl.s32 %q[v], %q[v], %q[right]\n vmax.s32 %q[v], %q[v], %q[low]\n"                           \
  "vmin.s32 %q[v], %q[v], %q[high]\n vstrb.32 %q[v], [%[o]]\n"

/* Up to four rows, from `row` on, of four pixels that lie `pitch` apart; sums: of a pixel each. */
KERNELS_INLINE void mve_finish_four(const int32_t *sums, const rows_t *r, int32_t row,
                                    int32_t count, int8_t *o, int32_t pitch) {
  int32x4_t v, left, right, m, b;
  __asm__ volatile("dlstp.32 lr, %[count]\n 1:\n"
                   "vldrw.32 %q[right], [%[shift]]\n vldrw.32 %q[m], [%[multiplier]]\n"
                   "vldrw.32 %q[b], [%[bias]]\n vshr.s32 %q[left], %q[right], #8\n"
                   "vneg.s32 %q[right], %q[right]\n" MVE_FINISH("0")
                   "add %[o], %[pitch]\n" MVE_FINISH("16")
                   "add %[o], %[pitch]\n" MVE_FINISH("32")
                   "add %[o], %[pitch]\n" MVE_FINISH("48") "letp lr, 1b\n"
                   : [o] "+l"(o), [v] "=&w"(v), [left] "=&w"(left), [right] "=&w"(right),
                     [m] "=&w"(m), [b] "=&w"(b)
                   : [count] "r"(count), [sums] "r"(sums), [shift] "r"(r->shift + row),
                     [multiplier] "r"(r->multiplier + row), [bias] "r"(r->bias + row),
                     [pitch] "r"(pitch), [low] "w"(vdupq_n_s32(r->low)),
                     [high] "w"(vdupq_n_s32(r->high))
                   : "lr", "memory");
}

/* All rows of four patches; o: the first pixel's first output of a byte, pixels `pitch` apart. */
KERNELS_INLINE void mve_four(const mve_patches_t *p, const rows_t *r, int32_t bits, int8_t *o,
                             int32_t pitch) {
  const int8_t *w = (const int8_t *)r->weights;
  const int32_t numbers = mve_spread_numbers(r->n, bits), spread = p->spread;
  const int32_t rest = numbers < r->n ? r->n - numbers : 0;
  const int32_t back = r->row_bytes - ((spread + 15) & ~15) - ((rest + 15) >> 4) * 2 * bits;
  int32_t sums[16], row;
  for (row = 0; row < r->count; row += 4) {
    const int32_t rows = r->count - row < 4 ? r->count - row : 4;
    int32_t *to = sums, *const end = sums + rows;
    do {
      w = mve_patches(p, w, rest, bits, to++) + back;
    } while (to < end);
    mve_finish_four(sums, r, row, rows, o + row, pitch);
  }
}

KERNELS_FUNCTION void mve_four_8(const mve_patches_t *p, const rows_t *r, int8_t *o,
                                 int32_t pitch) {
  mve_four(p, r, 8, o, pitch);
}

KERNELS_FUNCTION void mve_four_4(const mve_patches_t *p, const rows_t *r, int8_t *o,
                                 int32_t pitch) {
  mve_four(p, r, 4, o, pitch);
}

KERNELS_FUNCTION void mve_four_2(const mve_patches_t *p, const rows_t *r, int8_t *o,
                                 int32_t pitch) {
  mve_four(p, r, 2, o, pitch);
}

/* All rows of one patch, as it lies; `at`: number of the pixel's first output. Loads that
 * de-interleave need whole words: a patch at another address is multiplied in order.
 */
KERNELS_FUNCTION void mve_one(const int8_t *x, const rows_t *r, const tensor_t *out, int32_t at) {
  const int8_t *w = (const int8_t *)r->weights;
  const int32_t bits = r->bits, bytes = r->row_bytes, group = 128 / bits;
  const int32_t spread = bits == 8 || ((uintptr_t)x & 3) ? 0 : r->n / group;
  const int32_t rest = r->n - spread * group;
  const int32_t start = bits == 8 ? 0 : -mve_sum(x, r->n) * (1 << (bits - 1));
  int32_t row;
  for (row = 0; row < r->count; row += 4, at += 4, w += 4 * bytes) {
    const int32_t left = r->count - row;
    int32x4_t v;
    if (bits == 8)
      v = mve_rows(x, start, w, bytes, left, spread, rest, 8);
    else if (bits == 4)
      v = mve_rows(x, start, w, bytes, left, spread, rest, 4);
    else
      v = mve_rows(x, start, w, bytes, left, spread, rest, 2);
    mve_finish_rows(v, r, row, out, at);
  }
}

/* `patch_at`, with a short way where the window lies inside and its rows are in one piece. */
KERNELS_INLINE const int8_t *mve_patch_at(const tensor_t *in, const window_t *k, const rows_t *r,
                                          int32_t oy, int32_t ox, int8_t *to) {
  const int32_t y = oy * k->stride_h - k->pad_top, x = ox * k->stride_w - k->pad_left;
  const int32_t line = in->width * in->channels, run = k->kernel_w * r->in_channels;
  const int8_t *from = (const int8_t *)in->data + r->in_channel + y * line + x * in->channels;
  int8_t *const patch = to, *const end = to + r->n;
  if (y < 0 || x < 0 || y + (k->kernel_h - 1) * k->dilation_h >= in->height ||
      x + k->kernel_w > in->width ||
      (k->kernel_w > 1 && (k->dilation_w > 1 || r->in_channels < in->channels)))
    return patch_at(in, k, r, oy, ox, to);
  if (k->kernel_h == 1) return from;
  for (; to < end; to += run, from += k->dilation_h * line) copy_bytes(to, from, run);
  return patch;
}

KERNELS_FUNCTION void convolve(const tensor_t *in, const tensor_t *out, const rows_t *r,
                               const window_t *k, int8_t *scratch) {
  const int32_t n = r->n, bits = r->bits, pitch = out->channels, each = (n + 15) & ~15;
  const int32_t pixels = out->height * out->width, spread = mve_spread_numbers(n, bits);
  int32_t pixel, oy = 0, ox = 0, at = r->out_channel;
  for (pixel = 0; pixel < pixels; pixel += 4, at += 4 * pitch) {
    const int32_t count = pixels - pixel < 4 ? pixels - pixel : 4;
    const int is_one_by_one = count < 4 || out->bytes > 1;
    int8_t *const o = (int8_t *)out->data + at, *to = scratch;
    mve_patches_t p;
    int32_t i;
    p.spread = spread < n ? spread * bits / 8 : r->row_bytes;
    for (i = 0; i < count; i++, to += each) {
      p.x[i] = mve_patch_at(in, k, r, oy, ox, to);
      p.start[i] = 0;
      if (is_one_by_one) {
        mve_one(p.x[i], r, out, at + i * pitch);
      } else if (bits < 8) {
        p.start[i] = -mve_spread(p.x[i], n, bits, spread, to) * (1 << (bits - 1));
        if (spread) p.x[i] = to;
      }
      if (++ox == out->width) ox = 0, oy++;
    }
    if (is_one_by_one) continue;
    if (bits == 8)
      mve_four_8(&p, r, o, pitch);
    else if (bits == 4)
      mve_four_4(&p, r, o, pitch);
    else
      mve_four_2(&p, r, o, pitch);
  }
}

KERNELS_INLINE void multiply_bytes(const int8_t *x, const tensor_t *out, const rows_t *r) {
  mve_one(x, r, out, r->out_channel);
}

/* Where a depthwise filter's inputs lie: bytes from a row, and from a column, to the next. */
typedef struct {
  const int8_t *x;
  int32_t row, column;
} mve_taps_t;

/* Eight channels of a tap: sums of those of even and of odd number lie apart, as VMULLB and VMULLT
 * give them.
 */
#define MVE_TAP(at, even, odd)                                                                     \
  "vldrb.s16 %q[s], [%[x], #" at "]\n vldrb.s16 %q[t], [%[w], #" at "]\n"                          \
  "vmullb.s16 %q[u], %q[s], %q[t]\n vadd.i32 %q[" even "], %q[" even "], %q[u]\n"                  \
  "vmullt.s16 %q[u], %q[s], %q[t]\n vadd.i32 %q[" odd "], %q[" odd "], %q[u]\n"

/* Products of a whole filter. `next`: from behind a row of the patch to the next row. */
#define MVE_TAPS(products, ...)                                                                    \
  __asm__ volatile("2:\n dls lr, %[width]\n 1:\n" products                                         \
                   "add %[x], %[column]\n add %[w], %[channels]\n le lr, 1b\n"                     \
                   "add %[x], %[next]\n subs %[height], #1\n bne 2b\n"                             \
                   : [x] "+l"(x), [w] "+l"(w), [height] "+r"(height), [s] "=&w"(s), [t] "=&w"(t),  \
                     [u] "=&w"(u), __VA_ARGS__                                                     \
                   : [width] "r"(k->kernel_w), [column] "r"(taps->column), [next] "r"(next),       \
                     [channels] "r"(channels)                                                      \
                   : "lr", "cc", "memory")

/* From sums to eight bytes; the tables' pointers move on. */
#define MVE_FINISH_8(even, odd)                                                                    \
  "vld20.32 {q4, q5}, [%[shift]]\n vld21.32 {q4, q5}, [%[shift]]!\n"                               \
  "vshr.s32 q6, q4, #8\n vshr.s32 q7, q5, #8\n"                                                    \
  "vshl.s32 %q[" even "], %q[" even "], q6\n vshl.s32 %q[" odd "], %q[" odd "], q7\n"              \
  "vld20.32 {q6, q7}, [%[multiplier]]\n vld21.32 {q6, q7}, [%[multiplier]]!\n"                     \
  "vmulh.s32 %q[" even "], %q[" even "], q6\n vmulh.s32 %q[" odd "], %q[" odd "], q7\n"            \
  "vld20.32 {q6, q7}, [%[bias]]\n vld21.32 {q6, q7}, [%[bias]]!\n"                                 \
  "vadd.i32 %q[" even "], %q[" even "], q6\n vadd.i32 %q[" odd "], %q[" odd "], q7\n"              \
  "vneg.s32 q4, q4\n vneg.s32 q5, q5\n"                                                            \
  "vshl.s32 %q[" even "], %q[" even "], q4\n vshl.s32 %q[" odd "], %q[" odd "], q5\n"              \
  "vdup.16 q4, %[low]\n vdup.16 q5, %[high]\n"                                                     \
  "vqmovnb.s32 q6, %q[" even "]\n vqmovnt.s32 q6, %q[" odd "]\n"                                   \
  "vmax.s16 q6, q6, q4\n vmin.s16 q6, q6, q5\n vstrb.16 q6, [%[o]], #8\n"
#define MVE_FINISH_CHANNELS(steps, ...)                                                            \
  __asm__ volatile(steps                                                                           \
                   : [o] "+l"(o), [shift] "+r"(shift), [multiplier] "+r"(multiplier),              \
                     [bias] "+r"(bias), __VA_ARGS__                                                \
                   : [low] "r"(r->low), [high] "r"(r->high)                                        \
                   : "q4", "q5", "q6", "q7", "memory")

/* 8 or 16 channels of a pixel, from number c on, to bytes. */
KERNELS_INLINE void mve_channels(const mve_taps_t *taps, const rows_t *r, const window_t *k,
                                 int32_t c, int32_t count, int8_t *o) {
  const int32_t channels = r->count, next = taps->row - k->kernel_w * taps->column;
  const int8_t *x = taps->x + c, *w = (const int8_t *)r->weights + c;
  const int32_t *bias = r->bias + c, *multiplier = r->multiplier + c, *shift = r->shift + c;
  int32_t height = k->kernel_h;
  int32x4_t a = vdupq_n_s32(0), b = a, d = a, e = a, s, t, u;
  o += c;
  if (count == 16) {
    MVE_TAPS(MVE_TAP("0", "a", "b") MVE_TAP("8", "d", "e"), [a] "+w"(a), [b] "+w"(b), [d] "+w"(d),
             [e] "+w"(e));
    MVE_FINISH_CHANNELS(MVE_FINISH_8("a", "b") MVE_FINISH_8("d", "e"), [a] "+w"(a), [b] "+w"(b),
                        [d] "+w"(d), [e] "+w"(e));
  } else {
    MVE_TAPS(MVE_TAP("0", "a", "b"), [a] "+w"(a), [b] "+w"(b));
    MVE_FINISH_CHANNELS(MVE_FINISH_8("a", "b"), [a] "+w"(a), [b] "+w"(b));
  }
}

/* All channels of a pixel, at least eight. The last block ends with the last channel and so may do
 * some channels twice.
 */
KERNELS_INLINE void mve_depthwise(const mve_taps_t *taps, const rows_t *r, const window_t *k,
                                    int8_t *o) {
  const int32_t channels = r->count;
  int32_t c;
  for (c = 0; c + 16 <= channels; c += 16) mve_channels(taps, r, k, c, 16, o);
  if (c == channels) return;
  if (channels - c > 8 && channels >= 16)
    mve_channels(taps, r, k, channels - 16, 16, o);
  else
    for (; c < channels; c += 8)
      mve_channels(taps, r, k, c + 8 > channels ? channels - 8 : c, 8, o);
}

/* The same of any number of channels and any output, four at a time; `at`: of the first output. */
KERNELS_FUNCTION void mve_depthwise_few(const mve_taps_t *taps, const rows_t *r, const window_t *k,
                                        const tensor_t *out, int32_t at) {
  const int32_t channels = r->count;
  int32_t c, ky, kx;
  for (c = 0; c < channels; c += 4) {
    const mve_pred16_t p = vctp32q((uint32_t)(channels - c));
    const int8_t *w = (const int8_t *)r->weights + c;
    int32x4_t v = vdupq_n_s32(0);
    for (ky = 0; ky < k->kernel_h; ky++) {
      const int8_t *x = taps->x + ky * taps->row + c;
      for (kx = 0; kx < k->kernel_w; kx++, x += taps->column, w += channels)
        v = vaddq_s32(v, vmulq_s32(vldrbq_z_s32(x, p), vldrbq_z_s32(w, p)));
    }
    mve_finish_rows(v, r, c, out, at + c);
  }
}

KERNELS_FUNCTION void depthwise_bytes(const tensor_t *in, const tensor_t *out, const rows_t *r,
                                      const window_t *k, int8_t *patch) {
  const int32_t channels = in->channels;
  const int32_t reach_y = (k->kernel_h - 1) * k->dilation_h;
  const int32_t reach_x = (k->kernel_w - 1) * k->dilation_w;
  int32_t oy, ox, at = 0;
  for (oy = 0; oy < out->height; oy++)
    for (ox = 0; ox < out->width; ox++, at += channels) {
      const int32_t y = oy * k->stride_h - k->pad_top, x = ox * k->stride_w - k->pad_left;
      mve_taps_t taps;
      if (y >= 0 && x >= 0 && y + reach_y < in->height && x + reach_x < in->width) {
        taps.x = (const int8_t *)in->data + ((ptrdiff_t)y * in->width + x) * channels;
        taps.row = k->dilation_h * in->width * channels;
        taps.column = k->dilation_w * channels;
      } else {
        taps.x = patch_at(in, k, r, oy, ox, patch);
        taps.row = k->kernel_w * channels;
        taps.column = channels;
      }
      if (channels < 8 || out->bytes > 1)
        mve_depthwise_few(&taps, r, k, out, at);
      else
        mve_depthwise(&taps, r, k, (int8_t *)out->data + at);
    }
}

/* Sums of bytes in 32 bits, four at a time. */
KERNELS_FUNCTION void add_bytes(const int8_t *a, const int8_t *b, int8_t *o, int32_t n,
                                const terms_t *t) {
  const int32x4_t low = vdupq_n_s32(t->low), high = vdupq_n_s32(t->high);
  const int32x4_t factor = vdupq_n_s32(t->multiplier[0]);
  const int32_t right = -t->shift;
  __asm__ volatile("wlstp.32 lr, %[n], 2f\n 1:\n"
                   "vldrb.s32 q0, [%[a]], #4\n vmlas.s32 q0, %q[factor], %[constant]\n"
                   "vldrb.s32 q1, [%[b]], #4\n vmla.s32 q0, q1, %[second]\n"
                   "vshl.s32 q0, %[right]\n vmax.s32 q0, q0, %q[low]\n"
                   "vmin.s32 q0, q0, %q[high]\n vstrb.32 q0, [%[o]], #4\n letp lr, 1b\n 2:\n"
                   : [a] "+l"(a), [b] "+l"(b), [o] "+l"(o)
                   : [n] "r"(n), [factor] "w"(factor), [constant] "r"(t->constant),
                     [second] "r"(t->multiplier[1]), [right] "r"(right), [low] "w"(low),
                     [high] "w"(high)
                   : "q0", "q1", "lr", "memory");
}

KERNELS_INLINE void max_bytes(int8_t *o, const int8_t *x, int32_t n) {
  __asm__ volatile("wlstp.8 lr, %[n], 2f\n 1:\n vldrb.8 q0, [%[o]]\n vldrb.8 q1, [%[x]], #16\n"
                   "vmax.s8 q0, q0, q1\n vstrb.8 q0, [%[o]], #16\n letp lr, 1b\n 2:\n"
                   : [o] "+r"(o), [x] "+r"(x)
                   : [n] "r"(n)
                   : "q0", "q1", "lr", "memory");
}

KERNELS_INLINE void clamp_bytes(int8_t *o, int32_t n, int32_t low, int32_t high) {
  __asm__ volatile("wlstp.8 lr, %[n], 2f\n 1:\n vldrb.8 q0, [%[o]]\n vmax.s8 q0, q0, %q[low]\n"
                   "vmin.s8 q0, q0, %q[high]\n vstrb.8 q0, [%[o]], #16\n letp lr, 1b\n 2:\n"
                   : [o] "+r"(o)
                   : [n] "r"(n), [low] "w"(vdupq_n_s8((int8_t)low)),
                     [high] "w"(vdupq_n_s8((int8_t)high))
                   : "q0", "lr", "memory");
}

/* Sums over a window of n channels, four at a time. */
KERNELS_FUNCTION void window_sums(int32_t *sums, const int8_t *from, int32_t n, int32_t rows,
                                  int32_t columns, int32_t line, int32_t step) {
  int32_t c, ky;
  for (c = 0; c + 16 <= n; c += 16) {
    int32x4_t a = vdupq_n_s32(0), b = a, d = a, e = a, t;
    for (ky = 0; ky < rows; ky++) {
      const int8_t *x = from + ky * line + c;
      __asm__ volatile("dls lr, %[columns]\n 1:\n"
                       "vldrb.s32 %q[t], [%[x]]\n vadd.i32 %q[a], %q[a], %q[t]\n"
                       "vldrb.s32 %q[t], [%[x], #4]\n vadd.i32 %q[b], %q[b], %q[t]\n"
                       "vldrb.s32 %q[t], [%[x], #8]\n vadd.i32 %q[d], %q[d], %q[t]\n"
                       "vldrb.s32 %q[t], [%[x], #12]\n vadd.i32 %q[e], %q[e], %q[t]\n"
                       "add %[x], %[step]\n le lr, 1b\n"
                       : [x] "+l"(x), [a] "+w"(a), [b] "+w"(b), [d] "+w"(d), [e] "+w"(e),
                         [t] "=&w"(t)
                       : [columns] "r"(columns), [step] "r"(step)
                       : "lr", "memory");
    }
    vstrwq_s32(sums + c, a);
    vstrwq_s32(sums + c + 4, b);
    vstrwq_s32(sums + c + 8, d);
    vstrwq_s32(sums + c + 12, e);
  }
  for (; c < n; c += 4) {
    const mve_pred16_t p = vctp32q((uint32_t)(n - c));
    int32x4_t a = vdupq_n_s32(0);
    for (ky = 0; ky < rows; ky++) {
      const int8_t *x = from + ky * line + c;
      int32_t kx;
      for (kx = 0; kx < columns; kx++, x += step) a = vaddq_s32(a, vldrbq_z_s32(x, p));
    }
    vstrwq_p_s32(sums + c, a, p);
  }
}

/* Means of bytes from their sums. */
KERNELS_FUNCTION void finish_sums(const int32_t *sums, int8_t *o, int32_t n, int32_t bias,
                                  int32_t multiplier, int32_t shift, int32_t low, int32_t high) {
  const int32x4_t offset = vdupq_n_s32(bias), factor = vdupq_n_s32(multiplier);
  const int32x4_t right = vdupq_n_s32(shift);
  int32_t i;
  for (i = 0; i < n; i += 4) {
    const mve_pred16_t p = vctp32q((uint32_t)(n - i));
    const int32x4_t v = mve_requantize(vldrwq_z_s32(sums + i, p), offset, factor, right);
    vstrbq_p_s32(o + i, vminq_s32(vmaxq_s32(v, vdupq_n_s32(low)), vdupq_n_s32(high)), p);
  }
}

#endif
