/* Kernels in plain C, for cores without SIMD; included by kernels.h, which says what they do.
 *
 * One patch times two rows at a time: what Cortex-M0+ has registers for.
 */
#ifndef JOINT_GA_KERNELS_PORTABLE_H
#define JOINT_GA_KERNELS_PORTABLE_H

KERNELS_INLINE int32_t sum_bytes(const int8_t *x, int32_t n) {
  int32_t total = 0, i;
  for (i = 0; i < n; i++) total += x[i];
  return total;
}

/* Products of n inputs with two rows of bytes. */
KERNELS_FUNCTION void dot_bytes(const int8_t *x, const int8_t *w0, const int8_t *w1, int32_t n,
                                int32_t *sums) {
  int32_t s0 = 0, s1 = 0, i = -n;
  x += n;
  w0 += n;
  w1 += n;
#if defined(__GNUC__) && defined(__thumb__) && !defined(__thumb2__)
  /* One index for three arrays and the sums in high registers, which compilers do not find. */
  if (n > 0)
    __asm__ volatile(
        ".syntax unified\n"
        "movs %[s1], #0\n mov r12, %[s1]\n mov lr, %[s1]\n"
        "1:\n"
        "ldrsb %[s0], [%[x], %[i]]\n ldrsb %[s1], [%[w0], %[i]]\n"
        "muls %[s1], %[s0], %[s1]\n add r12, %[s1]\n"
        "ldrsb %[s1], [%[w1], %[i]]\n muls %[s1], %[s0], %[s1]\n add lr, %[s1]\n"
        "adds %[i], %[i], #1\n bne 1b\n"
        "mov %[s0], r12\n mov %[s1], lr\n"
        : [s0] "=&l"(s0), [s1] "=&l"(s1), [i] "+l"(i)
        : [x] "l"(x), [w0] "l"(w0), [w1] "l"(w1)
        : "cc", "memory", "r12", "lr");
#else
  for (; i < 0; i++) {
    const int32_t v = x[i];
    s0 += v * w0[i];
    s1 += v * w1[i];
  }
#endif
  sums[0] = s0;
  sums[1] = s1;
}

/* Field i of a word. Two shifts: Cortex-M0+ has no cheaper way. */
#define KERNELS_FIELD(word, i, bits) ((int32_t)((word) << (32 - (bits) * ((i) + 1)) >> (32 - (bits))))
#define KERNELS_MULTIPLY_FIELD(i) \
  do { \
    const int32_t value = x[i]; \
    s0 += value * KERNELS_FIELD(u, i, bits); \
    s1 += value * KERNELS_FIELD(v, i, bits); \
  } while (0)

/* The same with rows of 4- or 2-bit fields, which are the weights plus `1 << (bits - 1)`. */
KERNELS_INLINE void dot_fields(const int8_t *x, const uint32_t *w0, const uint32_t *w1, int32_t n,
                               int bits, int32_t *sums) {
  int32_t s0 = 0, s1 = 0;
  for (; n >= 32 / bits; n -= 32 / bits, x += 32 / bits) {
    const uint32_t u = *w0++, v = *w1++;
    KERNELS_MULTIPLY_FIELD(0);
    KERNELS_MULTIPLY_FIELD(1);
    KERNELS_MULTIPLY_FIELD(2);
    KERNELS_MULTIPLY_FIELD(3);
    KERNELS_MULTIPLY_FIELD(4);
    KERNELS_MULTIPLY_FIELD(5);
    KERNELS_MULTIPLY_FIELD(6);
    KERNELS_MULTIPLY_FIELD(7);
    if (bits == 4) continue;
    KERNELS_MULTIPLY_FIELD(8);
    KERNELS_MULTIPLY_FIELD(9);
    KERNELS_MULTIPLY_FIELD(10);
    KERNELS_MULTIPLY_FIELD(11);
    KERNELS_MULTIPLY_FIELD(12);
    KERNELS_MULTIPLY_FIELD(13);
    KERNELS_MULTIPLY_FIELD(14);
    KERNELS_MULTIPLY_FIELD(15);
  }
  if (n > 0) {
    uint32_t u = *w0, v = *w1;
    for (; n > 0; n--, x++, u >>= bits, v >>= bits) KERNELS_MULTIPLY_FIELD(0);
  }
  sums[0] = s0;
  sums[1] = s1;
}

KERNELS_FUNCTION void dot_4bit(const int8_t *x, const void *w0, const void *w1, int32_t n,
                               int32_t *sums) {
  dot_fields(x, (const uint32_t *)w0, (const uint32_t *)w1, n, 4, sums);
}

KERNELS_FUNCTION void dot_2bit(const int8_t *x, const void *w0, const void *w1, int32_t n,
                               int32_t *sums) {
  dot_fields(x, (const uint32_t *)w0, (const uint32_t *)w1, n, 2, sums);
}

/* One patch times all rows, to pixel number `pixel` of the output. */
KERNELS_FUNCTION void multiply_pixel(const int8_t *x, const tensor_t *out, const rows_t *r,
                                     int32_t pixel) {
  const int8_t *w = (const int8_t *)r->weights;
  const int32_t offset = KERNELS_WIDTHS == 8 || r->bits == 8 ? 0 : -(1 << (r->bits - 1)) * sum_bytes(x, r->n);
  int32_t row, sums[2] = {0, 0};
  for (row = 0; row < r->count; row += 2) {
    const int8_t *const next = row + 1 < r->count ? w + r->row_bytes : w;
    if (KERNELS_HAVE(r->bits, 8)) dot_bytes(x, w, next, r->n, sums);
    if (KERNELS_HAVE(r->bits, 4)) dot_4bit(x, w, next, r->n, sums);
    if (KERNELS_HAVE(r->bits, 2)) dot_2bit(x, w, next, r->n, sums);
    finish(out, r, pixel, row, sums[0] + offset);
    if (row + 1 < r->count) finish(out, r, pixel, row + 1, sums[1] + offset);
    w += 2 * r->row_bytes;
  }
}

KERNELS_INLINE void multiply_bytes(const int8_t *x, const tensor_t *out, const rows_t *r) {
  multiply_pixel(x, out, r, 0);
}

KERNELS_FUNCTION void convolve(const tensor_t *in, const tensor_t *out, const rows_t *r,
                               const window_t *k, int8_t *scratch) {
  int32_t oy, ox, pixel = 0;
  for (oy = 0; oy < out->height; oy++)
    for (ox = 0; ox < out->width; ox++, pixel++)
      multiply_pixel(patch_at(in, k, r, oy, ox, scratch), out, r, pixel);
}

#define KERNELS_CHANNELS 32

KERNELS_FUNCTION void accumulate_products(int32_t *sums, const int8_t *x, const int8_t *w,
                                          int32_t n) {
  int32_t i;
  for (i = 0; i < n; i++) *sums++ += x[i] * w[i];
}

KERNELS_FUNCTION void accumulate_scaled(int32_t *sums, int32_t factor, const int8_t *w, int32_t n) {
  int32_t i;
  for (i = 0; i < n; i++) *sums++ += factor * w[i];
}

/* Some channels of one pixel, tap by tap; taps outside the image stand for the zero point. */
KERNELS_INLINE void depthwise_taps(const tensor_t *in, const window_t *k, int32_t y0, int32_t x0,
                                   const int8_t *w, int32_t c, int32_t n, int32_t *sums) {
  const int8_t *const image = (const int8_t *)in->data + c;
  int32_t ky, kx, y = y0, i;
  for (i = 0; i < n; i++) sums[i] = 0;
  for (ky = 0; ky < k->kernel_h; ky++, y += k->dilation_h) {
    const int8_t *const line = image + (ptrdiff_t)y * in->width * in->channels;
    int32_t x = x0;
    for (kx = 0; kx < k->kernel_w; kx++, x += k->dilation_w, w += in->channels) {
      if ((uint32_t)y < (uint32_t)in->height && (uint32_t)x < (uint32_t)in->width)
        accumulate_products(sums, line + (ptrdiff_t)x * in->channels, w, n);
      else
        accumulate_scaled(sums, in->zero_point, w, n);
    }
  }
}

KERNELS_FUNCTION void depthwise_bytes(const tensor_t *in, const tensor_t *out, const rows_t *r,
                                      const window_t *k, int8_t *scratch) {
  const int32_t channels = in->channels;
  int32_t oy, ox, c, i, pixel = 0, sums[KERNELS_CHANNELS];
  (void)scratch;
  for (oy = 0; oy < out->height; oy++)
    for (ox = 0; ox < out->width; ox++, pixel++)
      for (c = 0; c < channels; c += KERNELS_CHANNELS) {
        const int32_t n = channels - c < KERNELS_CHANNELS ? channels - c : KERNELS_CHANNELS;
        depthwise_taps(in, k, oy * k->stride_h - k->pad_top, ox * k->stride_w - k->pad_left,
                       (const int8_t *)r->weights + c, c, n, sums);
        for (i = 0; i < n; i++) finish(out, r, pixel, c + i, sums[i]);
      }
}

KERNELS_INLINE void add_bytes(const int8_t *a, const int8_t *b, int8_t *o, int32_t n,
                              const terms_t *t) {
  const int32_t m0 = t->multiplier[0], m1 = t->multiplier[1], constant = t->constant;
  const int32_t shift = t->shift, low = t->low, high = t->high;
  int32_t i;
  for (i = 0; i < n; i++)
    o[i] = (int8_t)clamp((a[i] * m0 + b[i] * m1 + constant) >> shift, low, high);
}

KERNELS_INLINE void max_bytes(int8_t *o, const int8_t *x, int32_t n) {
  int32_t i;
  for (i = 0; i < n; i++) o[i] = x[i] > o[i] ? x[i] : o[i];
}

KERNELS_INLINE void accumulate_bytes(int32_t *sums, const int8_t *x, int32_t n) {
  int32_t i;
  for (i = 0; i < n; i++) sums[i] += x[i];
}

#endif
