/* Integer kernels of a network exported by nni-joint-ga. C11 or C++11, no dependencies.
 *
 * Activations are stored (height, width, channels); `real = scale * (q - zero point)`. Bytes are
 * signed. A right shift of a negative number must be arithmetic, as it is with gcc, clang, IAR and
 * armcc.
 *
 * This file holds what all cores share. What a core does in its own way is in one of
 *   kernels_mve.h       vector extension of Cortex-M55, M85 (Helium)
 *   kernels_dsp.h       two 16-bit lanes: Cortex-M4, M7, M33 and others with the DSP extension
 *   kernels_portable.h  plain C
 * Each of these defines, as `static` functions:
 *
 *   convolve(in, out, rows, window, scratch)
 *       Rows of weights over the channels of one group. `scratch`: convolve_bytes bytes.
 *   multiply_bytes(x, out, rows)
 *       The same for the only pixel of `out`, whose patch is rows->n bytes from x on. No scratch.
 *   depthwise_bytes(in, out, rows, window, scratch)
 *       One filter for each channel, all channels; rows->weights are int8 and lie tap by tap over
 *       all channels. `scratch`: as many bytes as weights, but at least 4 for each channel, if
 *       the window leaves the image; else NULL.
 *   add_bytes(a, b, o, n, terms)
 *       o[i] = clamp((a[i] * m[0] + b[i] * m[1] + constant) >> shift); nothing overflows 32 bits.
 *   max_bytes(o, x, n)
 *       o[i] = max(o[i], x[i]).
 *   accumulate_bytes(sums, x, n)
 *       sums[i] += x[i], from int8 to int32. (Helium defines window_sums instead.)
 *
 * They may read no byte outside their tensors and rows of weights. Weights of 2 and 4 bits: field
 * i of a row lies at bit i * bits of its 32-bit words, as `w + 2^(bits - 1)`; each row starts on a
 * word, and fields behind the last weight hold the code of 0. All pointers to activations and
 * 8-bit weights may be unaligned; scratch and weights of fewer bits are aligned to words.
 */
#ifndef JOINT_GA_KERNELS_H
#define JOINT_GA_KERNELS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#if INT_MAX < 2147483647
#error "these kernels count in int, which must have 32 bits"
#endif

/* Widths of the weights that kernels are compiled for; a network defines its own. */
#ifndef KERNELS_WIDTHS
#define KERNELS_WIDTHS (8 | 4 | 2)
#endif

#if defined(__GNUC__)
#define KERNELS_INLINE static inline __attribute__((always_inline))
#define KERNELS_FUNCTION static __attribute__((noinline, unused))
#else
#define KERNELS_INLINE static inline
#define KERNELS_FUNCTION static inline
#endif

/* Whether weights have some width, false at compile time where none have. */
#define KERNELS_HAVE(bits, width) (((KERNELS_WIDTHS) & (width)) && (bits) == (width))

/* A tensor of 1, 2 or 4 bytes (signed) an element. */
typedef struct {
  void *data;
  int32_t height, width, channels;
  int8_t bytes;
  int32_t zero_point;
} tensor_t;

typedef struct {
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
} window_t;

/* Weights of one layer; the layout is described in weights.h. */
typedef struct {
  const void *weights;
  const int32_t *bias, *multiplier, *shift; /* of each output channel, see `requantize` */
  uint8_t bits; /* 2, 4 or 8 */
  uint8_t power_of_two; /* weights are codes: sign and exponent */
  const uint32_t *bitmap; /* of the weights that are stored; NULL: all are */
} layer_t;

/* Rows of weights of one group of a convolution, ready to be multiplied. */
typedef struct {
  const void *weights; /* of the first row */
  int32_t bits; /* 2, 4 or 8 */
  int32_t row_bytes;
  int32_t n; /* weights in a row: kernel_h * kernel_w * in_channels */
  int32_t count; /* rows */
  int32_t in_channel, in_channels; /* the group's first channel of the input, and its number */
  int32_t out_channel; /* of the first row */
  const int32_t *bias, *multiplier, *shift; /* of the first row */
  int32_t low, high; /* bounds of the output */
} rows_t;

typedef struct {
  int32_t multiplier[2], constant, shift, low, high;
} terms_t;

/* Scratch of `convolve`, in bytes, as hardware/memory/kernel_scratch.py has it: two patches of
 * 16-bit numbers or four of bytes, and unless each patch is one pixel of the image, the place where
 * the bytes of one are gathered. Each is rounded up to 16 numbers.
 */
KERNELS_INLINE int32_t convolve_bytes(int32_t n, int is_pointwise) {
  return (is_pointwise ? 4 : 5) * ((n + 15) & ~15);
}

/* The upper word of a product. */
KERNELS_INLINE int32_t multiply_high(int32_t a, int32_t b) {
#if defined(__thumb__) && !defined(__thumb2__)
  /* No long multiplication: four short ones. b is not negative. */
  const uint32_t low_a = (uint32_t)a & 0xffff, low_b = (uint32_t)b & 0xffff;
  const int32_t high_a = a >> 16, high_b = b >> 16;
  const int32_t middle = high_a * (int32_t)low_b + (int32_t)(low_a * low_b >> 16);
  const uint32_t rest = low_a * (uint32_t)high_b + ((uint32_t)middle & 0xffff);
  return high_a * high_b + (middle >> 16) + (int32_t)(rest >> 16);
#else
  return (int32_t)(((int64_t)a * b) >> 32);
#endif
}

/* From an accumulator to the output's integer, before its clamp: the left shift in byte 1 of
 * `shift`, the right shift in byte 0. The bias holds both zero points and the rounding.
 */
KERNELS_INLINE int32_t requantize(int32_t acc, int32_t bias, int32_t multiplier, int32_t shift) {
  const int32_t wide = (int32_t)((uint32_t)acc << (shift >> 8));
  return (multiply_high(wide, multiplier) + bias) >> (shift & 255);
}

KERNELS_INLINE int32_t clamp(int32_t v, int32_t low, int32_t high) {
  v = v < low ? low : v;
  return v > high ? high : v;
}

/* Stores a number that is within the bounds of its type. */
KERNELS_INLINE void store(const tensor_t *t, size_t i, int32_t v) {
  if (t->bytes == 1)
    ((int8_t *)t->data)[i] = (int8_t)v;
  else if (t->bytes == 2)
    ((int16_t *)t->data)[i] = (int16_t)v;
  else
    ((int32_t *)t->data)[i] = v;
}

KERNELS_INLINE int32_t load(const tensor_t *t, size_t i) {
  if (t->bytes == 1) return ((const int8_t *)t->data)[i];
  if (t->bytes == 2) return ((const int16_t *)t->data)[i];
  return ((const int32_t *)t->data)[i];
}

/* Finishes the accumulator of row `row` for pixel number `pixel` of the output. */
KERNELS_INLINE void finish(const tensor_t *out, const rows_t *r, int32_t pixel, int32_t row,
                           int32_t acc) {
  const int32_t v = requantize(acc, r->bias[row], r->multiplier[row], r->shift[row]);
  store(out, (size_t)pixel * (size_t)out->channels + (size_t)(r->out_channel + row),
        clamp(v, r->low, r->high));
}

/* Four bytes at any address. `memcpy` itself is a call where a firmware is built -ffreestanding. */
#if defined(__GNUC__)
#define KERNELS_COPY_WORD(to, from) __builtin_memcpy(to, from, 4)
#else
#include <string.h>
#define KERNELS_COPY_WORD(to, from) memcpy(to, from, 4)
#endif

KERNELS_INLINE uint32_t load_word(const void *from) {
  uint32_t v;
  KERNELS_COPY_WORD(&v, from);
  return v;
}

KERNELS_INLINE void store_word(void *to, uint32_t v) { KERNELS_COPY_WORD(to, &v); }

/* Keeps a compiler from taking a loop for a memcpy or memset, which is slower in small libraries. */
#if defined(__GNUC__)
#define KERNELS_OWN_LOOP() __asm__ volatile("")
#else
#define KERNELS_OWN_LOOP() ((void)0)
#endif

/* Whether words may be read and written anywhere. */
#if defined(__ARM_ARCH) && !defined(__ARM_FEATURE_UNALIGNED)
#define KERNELS_WORDS_FIT(a, b) ((((uintptr_t)(a) | (uintptr_t)(b)) & 3) == 0)
#else
#define KERNELS_WORDS_FIT(a, b) 1
#endif

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1) && defined(__GNUC__) && \
    !defined(__ARM_BIG_ENDIAN)
#define KERNELS_MVE
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__) && \
    defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN)
#define KERNELS_DSP
#endif

#if defined(KERNELS_MVE)
static const int8_t *patch_at(const tensor_t *in, const window_t *k, const rows_t *r, int32_t oy,
                              int32_t ox, int8_t *to);
#include "kernels_mve.h"
#else
KERNELS_FUNCTION void copy_bytes(int8_t *to, const int8_t *from, int32_t n) {
  if (KERNELS_WORDS_FIT(to, from))
    for (; n >= 4; n -= 4, to += 4, from += 4) {
      KERNELS_OWN_LOOP();
      store_word(to, load_word(from));
    }
  for (; n > 0; n--) {
    KERNELS_OWN_LOOP();
    *to++ = *from++;
  }
}

KERNELS_FUNCTION void fill_bytes(int8_t *to, int32_t value, int32_t n) {
  const uint32_t word = (uint32_t)(value & 255) * UINT32_C(0x01010101);
  if (KERNELS_WORDS_FIT(to, to))
    for (; n >= 4; n -= 4, to += 4) {
      KERNELS_OWN_LOOP();
      store_word(to, word);
    }
  for (; n > 0; n--) {
    KERNELS_OWN_LOOP();
    *to++ = (int8_t)value;
  }
}
#endif

/* Part of a kernel's rows (or columns) that lies inside the image: [first, last). */
KERNELS_INLINE void inside(int32_t start, int32_t dilation, int32_t kernel, int32_t size,
                           int32_t *first, int32_t *last) {
  *first = 0;
  *last = kernel;
  if (start < 0) *first = dilation == 1 ? -start : (-start + dilation - 1) / dilation;
  if (start + (kernel - 1) * dilation >= size)
    *last = start >= size ? 0 : dilation == 1 ? size - start : (size - start + dilation - 1) / dilation;
}

/* The inputs of one output pixel, (kernel_h, kernel_w, in_channels), with the zero point where the
 * window leaves the image: where they lie if that is in one piece, else gathered in `to`.
 */
KERNELS_FUNCTION const int8_t *patch_at(const tensor_t *in, const window_t *k, const rows_t *r,
                                        int32_t oy, int32_t ox, int8_t *to) {
  const int8_t *const image = (const int8_t *)in->data + r->in_channel;
  const int32_t ic = r->in_channels, pitch = in->channels, run = k->kernel_w * ic;
  const int32_t x0 = ox * k->stride_w - k->pad_left;
  const int whole = k->dilation_w == 1 && (ic == pitch || k->kernel_w == 1);
  int32_t y = oy * k->stride_h - k->pad_top;
  int32_t left = x0 < 0 ? -x0 : 0, right = x0 + k->kernel_w - in->width;
  int8_t *o = to;
  int32_t ky;
  right = right < 0 ? 0 : right;
  if (left > k->kernel_w || right > k->kernel_w) left = k->kernel_w, right = 0;
  if (k->kernel_h == 1 && whole && left + right == 0 && (uint32_t)y < (uint32_t)in->height)
    return image + ((ptrdiff_t)y * in->width + x0) * pitch;
  for (ky = 0; ky < k->kernel_h; ky++, y += k->dilation_h) {
    if ((uint32_t)y >= (uint32_t)in->height) {
      fill_bytes(o, in->zero_point, run);
      o += run;
    } else if (whole) {
      const int8_t *const from = image + ((ptrdiff_t)y * in->width + x0 + left) * pitch;
      const int32_t middle = run - (left + right) * ic;
      if (left) fill_bytes(o, in->zero_point, left * ic);
      o += left * ic;
      copy_bytes(o, from, middle);
      o += middle;
      if (right) fill_bytes(o, in->zero_point, right * ic);
      o += right * ic;
    } else {
      int32_t kx, x = x0;
      for (kx = 0; kx < k->kernel_w; kx++, x += k->dilation_w, o += ic) {
        if ((uint32_t)x < (uint32_t)in->width)
          copy_bytes(o, image + ((ptrdiff_t)y * in->width + x) * pitch, ic);
        else
          fill_bytes(o, in->zero_point, ic);
      }
    }
  }
  return to;
}

#if defined(KERNELS_MVE)
/* Included above. */
#elif defined(KERNELS_DSP)
#include "kernels_dsp.h"
#else
#include "kernels_portable.h"
#endif

/* What weights stand for that are stored as codes: 0, or the sign and exponent of a power of two. */
KERNELS_INLINE int8_t power_of_two(int32_t code) {
  static const int8_t powers[16] = {0, -64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64};
  return powers[(code + 8) & 15];
}

/* Number `at` of the weights behind a bitmap: a byte, or a field of a word. */
KERNELS_INLINE int8_t stored_weight(const layer_t *l, uint32_t at) {
  const uint32_t bits = l->bits, log2_bits = bits == 4 ? 2 : 1;
  int32_t v;
  if (bits == 8) {
    v = ((const int8_t *)l->weights)[at];
  } else {
    const uint32_t word = ((const uint32_t *)l->weights)[at >> (5 - log2_bits)];
    v = (int32_t)((word >> ((at << log2_bits) & 31)) & ((1u << bits) - 1)) - (1 << (bits - 1));
  }
  return l->power_of_two ? power_of_two(v) : (int8_t)v;
}

/* One row of n weights of which the bits of `marks` say whether they are stored. */
KERNELS_FUNCTION void unpack_marked(const layer_t *l, const uint32_t *marks, int32_t n, int8_t *to,
                                    uint32_t *next) {
  uint32_t at = *next;
  fill_bytes(to, 0, n);
  for (; n > 0; n -= 32, to += 32) {
    uint32_t seen = *marks++;
#if defined(__GNUC__) && (!defined(__ARM_ARCH) || defined(__ARM_FEATURE_CLZ))
    for (; seen; seen &= seen - 1) to[__builtin_ctz((unsigned)seen)] = stored_weight(l, at++);
#else
    int8_t *o = to;
    for (; seen; seen >>= 1, o++)
      if (seen & 1) *o = stored_weight(l, at++);
#endif
  }
  *next = at;
}

/* Unpacks `count` rows of n weights to bytes, from row `first` on. Of weights behind a bitmap, rows
 * must be asked for in order: `next` counts those that were read, from 0 on.
 */
KERNELS_FUNCTION void unpack_rows(const layer_t *l, int32_t first, int32_t count, int32_t n,
                                  int8_t *to, uint32_t *next) {
  const int32_t bits = l->bits, words = (n * bits + 31) / 32, marks = (n + 31) / 32;
  const uint32_t *const fields = (const uint32_t *)l->weights;
  int32_t row, i;
  for (row = first; row < first + count; row++, to += n) {
    if (l->bitmap) {
      unpack_marked(l, l->bitmap + (size_t)row * (size_t)marks, n, to, next);
      continue;
    }
    if (bits == 8) {
      copy_bytes(to, (const int8_t *)l->weights + (size_t)row * (size_t)n, n);
    } else {
#if defined(KERNELS_MVE)
      unpack_fields((const int8_t *)(fields + (size_t)row * (size_t)words), n, bits, to);
#else
      const uint32_t *word = fields + (size_t)row * (size_t)words, mask = (1u << bits) - 1;
      const int32_t offset = 1 << (bits - 1);
      int32_t left = 0;
      uint32_t v = 0;
      for (i = 0; i < n; i++, v >>= bits, left -= bits) {
        if (left == 0) v = *word++, left = 32;
        to[i] = (int8_t)((int32_t)(v & mask) - offset);
      }
#endif
    }
    for (i = 0; i < n && l->power_of_two; i++) to[i] = power_of_two(to[i]);
  }
}

/* Whether weights must be unpacked to bytes before any kernel can read them. */
KERNELS_INLINE int is_coded(const layer_t *l) { return l->power_of_two || l->bitmap; }

#define KERNELS_UNPACKED_ROWS 8

/* A layer with one output pixel whose patch is the whole image as it lies in memory. */
KERNELS_INLINE int is_single(const tensor_t *in, const tensor_t *out, const window_t *k, int groups) {
  return out->height == 1 && out->width == 1 && k->kernel_h == in->height &&
         k->kernel_w == in->width && k->pad_top == 0 && k->pad_left == 0 &&
         (groups == 1 || in->height * in->width == 1) &&
         (k->dilation_h == 1 || k->kernel_h == 1) && (k->dilation_w == 1 || k->kernel_w == 1);
}

/* Convolution with any number of groups, or a linear layer.
 *
 * `scratch`: for coded weights a block of min(KERNELS_UNPACKED_ROWS, rows of a group) rows of n
 * bytes, rounded up to 16 bytes; behind it convolve_bytes, unless the layer is `is_single`.
 */
KERNELS_FUNCTION void convolution(const tensor_t *in, const tensor_t *out, const layer_t *l,
                                  const window_t *k, int groups, int32_t low, int32_t high,
                                  int8_t *scratch) {
  const int32_t ic = in->channels / groups, oc = out->channels / groups;
  const int32_t n = k->kernel_h * k->kernel_w * ic;
  const int coded = is_coded(l), single = is_single(in, out, k, groups);
  const int32_t block = coded && oc > KERNELS_UNPACKED_ROWS ? KERNELS_UNPACKED_ROWS : oc;
  int8_t *const unpacked = scratch;
  uint32_t next = 0;
  int32_t group, done;
  rows_t r;
  r.bits = coded ? 8 : l->bits;
  r.row_bytes = r.bits == 8 ? n : (n * r.bits + 31) / 32 * 4;
  r.n = n;
  r.in_channels = ic;
  r.low = low;
  r.high = high;
  if (coded) scratch += (block * n + 15) & ~15;
  for (group = 0; group < groups; group++) {
    r.in_channel = group * ic;
    for (done = 0; done < oc; done += block) {
      const int32_t first = group * oc + done;
      r.count = oc - done < block ? oc - done : block;
      r.out_channel = first;
      r.bias = l->bias + first;
      r.multiplier = l->multiplier + first;
      r.shift = l->shift + first;
      if (coded) {
        unpack_rows(l, first, r.count, n, unpacked, &next);
        r.weights = unpacked;
      } else {
        r.weights = (const int8_t *)l->weights + (size_t)first * (size_t)r.row_bytes;
      }
      if (single)
        multiply_bytes((const int8_t *)in->data + r.in_channel, out, &r);
      else
        convolve(in, out, &r, k, scratch);
    }
  }
}

/* Whether a window reaches beyond the image anywhere. */
KERNELS_INLINE int leaves_image(const tensor_t *in, const tensor_t *out, const window_t *k) {
  const int32_t y = (out->height - 1) * k->stride_h - k->pad_top;
  const int32_t x = (out->width - 1) * k->stride_w - k->pad_left;
  return k->pad_top > 0 || k->pad_left > 0 || y + (k->kernel_h - 1) * k->dilation_h >= in->height ||
         x + (k->kernel_w - 1) * k->dilation_w >= in->width;
}

/* One filter for each channel.
 *
 * `scratch`: for weights that are not plain bytes all of them, unpacked, rounded up to 16 bytes;
 * behind it max(taps, 4) * channels bytes if the window leaves the image.
 */
KERNELS_FUNCTION void depthwise(const tensor_t *in, const tensor_t *out, const layer_t *l,
                                const window_t *k, int32_t low, int32_t high, int8_t *scratch) {
  const int32_t channels = in->channels, taps = k->kernel_h * k->kernel_w;
  uint32_t next = 0;
  rows_t r;
  r.weights = l->weights;
  r.bits = 8;
  r.row_bytes = channels;
  r.n = taps * channels;
  r.count = channels;
  r.in_channel = 0;
  r.in_channels = channels;
  r.out_channel = 0;
  r.bias = l->bias;
  r.multiplier = l->multiplier;
  r.shift = l->shift;
  r.low = low;
  r.high = high;
  if (is_coded(l) || l->bits != 8) {
    unpack_rows(l, 0, taps, channels, scratch, &next);
    r.weights = scratch;
    scratch += (r.n + 15) & ~15;
  }
  depthwise_bytes(in, out, &r, k, leaves_image(in, out, k) ? scratch : NULL);
}

/* Sum of one or two tensors of bytes; of one (m[1] = 0): a change of scale. */
KERNELS_FUNCTION void add(const tensor_t *in, int count, const tensor_t *out,
                          const terms_t *terms) {
  const int8_t *const a = (const int8_t *)in[0].data, *const b = (const int8_t *)in[count - 1].data;
  add_bytes(a, b, (int8_t *)out->data, out->height * out->width * out->channels, terms);
}

/* Sum of tensors of any width, each with its own factor; of one tensor: a change of scale. */
KERNELS_FUNCTION void sum(const tensor_t *in, const int32_t *multiplier, int count, int shift,
                          const tensor_t *out, int32_t low, int32_t high) {
  const size_t size = (size_t)out->height * (size_t)out->width * (size_t)out->channels;
  size_t i;
  for (i = 0; i < size; i++) {
    int64_t v = (int64_t)1 << (shift - 1);
    int j;
    for (j = 0; j < count; j++)
      v += ((int64_t)load(&in[j], i) - in[j].zero_point) * multiplier[j];
    v = (v >> shift) + out->zero_point;
    store(out, i, v < low ? low : v > high ? high : (int32_t)v);
  }
}

/* Clamps what was copied, where the bounds are narrower than the type. */
KERNELS_INLINE void clamp_all(const tensor_t *out, int32_t low, int32_t high) {
  const size_t size = (size_t)out->height * (size_t)out->width * (size_t)out->channels;
  const int32_t most = out->bytes == 1 ? INT8_MAX : out->bytes == 2 ? INT16_MAX : INT32_MAX;
  size_t i;
  if (low <= -most - 1 && high >= most) return;
#if defined(KERNELS_MVE)
  if (out->bytes == 1) {
    clamp_bytes((int8_t *)out->data, (int32_t)size, low, high);
    return;
  }
#endif
  for (i = 0; i < size; i++) store(out, i, clamp(load(out, i), low, high));
}

/* Tensors side by side along the channels, all stored alike. */
KERNELS_FUNCTION void concatenation(const tensor_t *in, int count, const tensor_t *out, int32_t low,
                                    int32_t high) {
  const int32_t positions = out->height * out->width;
  int8_t *to = (int8_t *)out->data;
  int32_t p;
  int j;
  for (p = 0; p < positions; p++)
    for (j = 0; j < count; j++) {
      const int32_t run = in[j].channels * in[j].bytes;
      copy_bytes(to, (const int8_t *)in[j].data + (ptrdiff_t)p * run, run);
      to += run;
    }
  clamp_all(out, low, high);
}

KERNELS_FUNCTION void max_pool(const tensor_t *in, const tensor_t *out, const window_t *k,
                               int32_t low, int32_t high) {
  const int32_t channels = in->channels;
  const int32_t least = in->bytes == 1 ? INT8_MIN : in->bytes == 2 ? INT16_MIN : INT32_MIN;
  size_t to = 0;
  int32_t oy, ox;
  for (oy = 0; oy < out->height; oy++) {
    int32_t ky0, ky1;
    const int32_t y0 = oy * k->stride_h - k->pad_top;
    inside(y0, k->dilation_h, k->kernel_h, in->height, &ky0, &ky1);
    for (ox = 0; ox < out->width; ox++, to += (size_t)channels) {
      int32_t kx0, kx1, ky, kx, c;
      const int32_t x0 = ox * k->stride_w - k->pad_left;
      inside(x0, k->dilation_w, k->kernel_w, in->width, &kx0, &kx1);
      if (in->bytes == 1)
        fill_bytes((int8_t *)out->data + to, least, channels);
      else
        for (c = 0; c < channels; c++) store(out, to + (size_t)c, least);
      for (ky = ky0; ky < ky1; ky++)
        for (kx = kx0; kx < kx1; kx++) {
          const int32_t y = y0 + ky * k->dilation_h, x = x0 + kx * k->dilation_w;
          const size_t from = (size_t)(y * in->width + x) * (size_t)channels;
          if (in->bytes == 1) {
            max_bytes((int8_t *)out->data + to, (const int8_t *)in->data + from, channels);
            continue;
          }
          for (c = 0; c < channels; c++) {
            const int32_t v = load(in, from + (size_t)c), held = load(out, to + (size_t)c);
            store(out, to + (size_t)c, v > held ? v : held);
          }
        }
    }
  }
  clamp_all(out, low, high);
}

#define KERNELS_POOLED 32

#if !defined(KERNELS_MVE)
/* sums[i]: of from[i] over a window; `line`, `step`: bytes from a row, a column to the next. */
KERNELS_INLINE void window_sums(int32_t *sums, const int8_t *from, int32_t n, int32_t rows,
                                int32_t columns, int32_t line, int32_t step) {
  int32_t i, ky, kx;
  for (i = 0; i < n; i++) sums[i] = 0;
  for (ky = 0; ky < rows; ky++)
    for (kx = 0; kx < columns; kx++) accumulate_bytes(sums, from + ky * line + kx * step, n);
}

/* Means of bytes from their sums. */
KERNELS_INLINE void finish_sums(const int32_t *sums, int8_t *o, int32_t n, int32_t bias,
                                int32_t multiplier, int32_t shift, int32_t low, int32_t high) {
  int32_t i;
  for (i = 0; i < n; i++)
    o[i] = (int8_t)clamp(requantize(sums[i], bias, multiplier, shift), low, high);
}
#endif

/* Mean over a window of bytes without padding; bias, multiplier and shift as of `requantize`. */
KERNELS_FUNCTION void average_pool(const tensor_t *in, const tensor_t *out, const window_t *k,
                                   int32_t bias, int32_t multiplier, int32_t shift, int32_t low,
                                   int32_t high) {
  const int32_t channels = in->channels, line = in->width * channels;
  int32_t sums[KERNELS_POOLED], oy, ox, c, i;
  size_t to = 0;
  for (oy = 0; oy < out->height; oy++)
    for (ox = 0; ox < out->width; ox++)
      for (c = 0; c < channels; c += KERNELS_POOLED) {
        const int32_t n = channels - c < KERNELS_POOLED ? channels - c : KERNELS_POOLED;
        const int8_t *const from = (const int8_t *)in->data + oy * k->stride_h * line +
                                   ox * k->stride_w * channels + c;
        window_sums(sums, from, n, k->kernel_h, k->kernel_w, line, channels);
        if (out->bytes == 1)
          finish_sums(sums, (int8_t *)out->data + to, n, bias, multiplier, shift, low, high);
        else
          for (i = 0; i < n; i++)
            store(out, to + (size_t)i,
                  clamp(requantize(sums[i], bias, multiplier, shift), low, high));
        to += (size_t)n;
      }
}

/* The same of wider numbers, in 64 bits. */
KERNELS_FUNCTION void average_pool_wide(const tensor_t *in, const tensor_t *out, const window_t *k,
                                        int32_t multiplier, int shift, int32_t low, int32_t high) {
  size_t to = 0;
  int32_t oy, ox, c, ky, kx;
  for (oy = 0; oy < out->height; oy++)
    for (ox = 0; ox < out->width; ox++)
      for (c = 0; c < in->channels; c++, to++) {
        int64_t total = 0;
        for (ky = 0; ky < k->kernel_h; ky++)
          for (kx = 0; kx < k->kernel_w; kx++) {
            const int32_t y = oy * k->stride_h + ky, x = ox * k->stride_w + kx;
            const size_t at = (size_t)(y * in->width + x) * (size_t)in->channels;
            total += (int64_t)load(in, at + (size_t)c) - in->zero_point;
          }
        total = ((total * multiplier + ((int64_t)1 << (shift - 1))) >> shift) + out->zero_point;
        store(out, to, total < low ? low : total > high ? high : (int32_t)total);
      }
}

#endif
