/* Integer kernels of a network exported by nni-joint-ga. C11, no dependencies.
 *
 * Activations are stored (height, width, channels). `real = scale * (q - zero point)`.
 * A right shift of a negative number must be arithmetic, as it is with gcc, clang, IAR and armcc.
 */
#ifndef JOINT_GA_KERNELS_H
#define JOINT_GA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* A tensor of 1 (unsigned), 2 or 4 (signed) bytes an element. */
typedef struct {
  void *data;
  int16_t height, width, channels;
  int8_t bytes;
  int32_t zero_point;
} tensor_t;

typedef struct {
  int16_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
} window_t;

/* Weights of one layer; the layout is described in weights.h. */
typedef struct {
  const void *weights;
  const int32_t *bias; /* may be NULL */
  const int32_t *multiplier, *shift;
  int8_t bits; /* 2, 4 or 8 */
  int8_t power_of_two; /* weights are codes: sign and exponent */
  const uint32_t *bitmap; /* of the weights that are stored; NULL: all are */
} layer_t;

static inline int32_t load(const tensor_t *t, size_t i) {
  if (t->bytes == 1) return ((const uint8_t *)t->data)[i];
  if (t->bytes == 2) return ((const int16_t *)t->data)[i];
  return ((const int32_t *)t->data)[i];
}

static inline void store(const tensor_t *t, size_t i, int64_t v, int32_t low, int32_t high) {
  v += t->zero_point;
  if (v < low) v = low;
  if (v > high) v = high;
  if (t->bytes == 1)
    ((uint8_t *)t->data)[i] = (uint8_t)v;
  else if (t->bytes == 2)
    ((int16_t *)t->data)[i] = (int16_t)v;
  else
    ((int32_t *)t->data)[i] = (int32_t)v;
}

static inline int64_t requantize(const layer_t *l, int c, int32_t acc) {
  const int shift = l->shift[c] & 255;
  int64_t v = (int64_t)acc * l->multiplier[c] + ((int64_t)1 << (shift - 1));
  if (l->bias) v += (int64_t)l->bias[c] * ((int64_t)1 << ((l->shift[c] >> 8) & 255));
  return v >> shift;
}

/* Whether the weights are stored as the int8 that kernels read. */
static inline int in_place(const layer_t *l) { return l->bits == 8 && !l->power_of_two && !l->bitmap; }

/* Number `i` of the weights behind a bitmap. */
static inline int stored_weight(const layer_t *l, size_t i) {
  if (l->bits == 8) return ((const int8_t *)l->weights)[i];
  const size_t per_word = (size_t)32 / l->bits;
  const uint32_t word = ((const uint32_t *)l->weights)[i / per_word];
  return (int)((word >> (i % per_word * l->bits)) & ((1u << l->bits) - 1)) - (1 << (l->bits - 1));
}

/* All weights of a row as they are stored: integers or codes. */
static inline void unpack_row(const layer_t *l, int row, int n, int8_t *to, size_t *next) {
  if (l->bitmap) {
    const uint32_t *marks = l->bitmap + (size_t)row * ((n + 31) / 32);
    for (int i = 0; i < n; i++)
      to[i] = (marks[i / 32] >> (i % 32)) & 1 ? (int8_t)stored_weight(l, (*next)++) : 0;
    return;
  }
  if (l->bits == 8) {
    for (int i = 0; i < n; i++) to[i] = ((const int8_t *)l->weights)[(size_t)row * n + i];
    return;
  }
  const int per_word = 32 / l->bits, offset = 1 << (l->bits - 1);
  const uint32_t mask = (1u << l->bits) - 1;
  const uint32_t *word = (const uint32_t *)l->weights + (size_t)row * ((n + per_word - 1) / per_word);
  for (int i = 0; i < n; word++) {
    uint32_t fields = *word;
    for (int j = 0; j < per_word && i < n; j++, i++, fields >>= l->bits)
      to[i] = (int8_t)((int)(fields & mask) - offset);
  }
}

/* Row `row` of `n` weights as int8: in place if they are stored so, else unpacked. Rows must be
 * asked for in order: `next` counts the stored weights that were read, from 0 on.
 */
static inline const int8_t *weight_row(const layer_t *l, int row, int n, int8_t *scratch,
                                       size_t *next) {
  if (in_place(l)) return (const int8_t *)l->weights + (size_t)row * n;
  unpack_row(l, row, n, scratch, next);
  for (int i = 0; l->power_of_two && i < n; i++) {
    const int code = scratch[i];
    if (code) scratch[i] = (int8_t)(code < 0 ? -(1 << (-code - 1)) : 1 << (code - 1));
  }
  return scratch;
}

static inline int32_t dot(const uint8_t *x, const int8_t *w, int n, int32_t zero_point) {
  int32_t acc = 0;
  for (int i = 0; i < n; i++) acc += (x[i] - zero_point) * w[i];
  return acc;
}

/* Part of a kernel's rows (or columns) that lies inside the image: [first, last). */
static inline void inside(int start, int dilation, int kernel, int size, int *first, int *last) {
  *first = start >= 0 ? 0 : (-start + dilation - 1) / dilation;
  *last = start >= size ? 0 : (size - start + dilation - 1) / dilation;
  if (*last > kernel) *last = kernel;
}

static inline void convolution(const tensor_t *in, const tensor_t *out, const layer_t *l,
                               const window_t *k, int groups, int32_t low, int32_t high,
                               int8_t *scratch) {
  const uint8_t *x = in->data;
  const int ic = in->channels / groups, oc = out->channels / groups;
  const int n = k->kernel_h * k->kernel_w * ic;
  const int whole = groups == 1 && k->dilation_w == 1; /* a kernel row is one run of bytes */
  size_t next = 0;
  for (int c = 0; c < out->channels; c++) {
    const int8_t *w = weight_row(l, c, n, scratch, &next);
    const int from = c / oc * ic;
    for (int oy = 0; oy < out->height; oy++) {
      int ky0, ky1;
      const int y0 = oy * k->stride_h - k->pad_top;
      inside(y0, k->dilation_h, k->kernel_h, in->height, &ky0, &ky1);
      for (int ox = 0; ox < out->width; ox++) {
        int kx0, kx1;
        int32_t acc = 0;
        const int x0 = ox * k->stride_w - k->pad_left;
        inside(x0, k->dilation_w, k->kernel_w, in->width, &kx0, &kx1);
        for (int ky = ky0; ky < ky1 && kx0 < kx1; ky++) {
          const uint8_t *line = x + (size_t)(y0 + ky * k->dilation_h) * in->width * in->channels + from;
          const int8_t *weights = w + ky * k->kernel_w * ic;
          if (whole) {
            acc += dot(line + (x0 + kx0) * ic, weights + kx0 * ic, (kx1 - kx0) * ic, in->zero_point);
            continue;
          }
          for (int kx = kx0; kx < kx1; kx++)
            acc += dot(line + (x0 + kx * k->dilation_w) * in->channels, weights + kx * ic, ic,
                       in->zero_point);
        }
        store(out, ((size_t)oy * out->width + ox) * out->channels + c, requantize(l, c, acc), low,
              high);
      }
    }
  }
}

static inline void depthwise(const tensor_t *in, const tensor_t *out, const layer_t *l,
                             const window_t *k, int32_t low, int32_t high, int8_t *scratch) {
  const uint8_t *x = in->data;
  const int channels = in->channels, taps = k->kernel_h * k->kernel_w;
  const int8_t *w = l->weights;
  if (!in_place(l)) {
    size_t next = 0;
    for (int t = 0; t < taps; t++) weight_row(l, t, channels, scratch + t * channels, &next);
    w = scratch;
  }
  for (int oy = 0; oy < out->height; oy++) {
    int ky0, ky1;
    const int y0 = oy * k->stride_h - k->pad_top;
    inside(y0, k->dilation_h, k->kernel_h, in->height, &ky0, &ky1);
    for (int ox = 0; ox < out->width; ox++) {
      int kx0, kx1;
      const int x0 = ox * k->stride_w - k->pad_left;
      inside(x0, k->dilation_w, k->kernel_w, in->width, &kx0, &kx1);
      for (int c = 0; c < channels; c++) {
        int32_t acc = 0;
        for (int ky = ky0; ky < ky1; ky++)
          for (int kx = kx0; kx < kx1; kx++) {
            const int y = y0 + ky * k->dilation_h, column = x0 + kx * k->dilation_w;
            acc += (x[((size_t)y * in->width + column) * channels + c] - in->zero_point) *
                   w[(ky * k->kernel_w + kx) * channels + c];
          }
        store(out, ((size_t)oy * out->width + ox) * channels + c, requantize(l, c, acc), low, high);
      }
    }
  }
}

/* Sum of tensors, each with its own factor; of one tensor: a change of scale. */
static inline void sum(const tensor_t *in, const int32_t *multiplier, int count, int shift,
                       const tensor_t *out, int32_t low, int32_t high) {
  const size_t size = (size_t)out->height * out->width * out->channels;
  for (size_t i = 0; i < size; i++) {
    int64_t v = (int64_t)1 << (shift - 1);
    for (int j = 0; j < count; j++)
      v += ((int64_t)load(&in[j], i) - in[j].zero_point) * multiplier[j];
    store(out, i, v >> shift, low, high);
  }
}

static inline void concatenation(const tensor_t *in, int count, const tensor_t *out, int32_t low,
                                 int32_t high) {
  const size_t positions = (size_t)out->height * out->width;
  size_t to = 0;
  for (size_t p = 0; p < positions; p++)
    for (int j = 0; j < count; j++)
      for (int c = 0; c < in[j].channels; c++, to++)
        store(out, to, (int64_t)load(&in[j], p * in[j].channels + c) - in[j].zero_point, low, high);
}

static inline void max_pool(const tensor_t *in, const tensor_t *out, const window_t *k, int32_t low,
                            int32_t high) {
  for (int oy = 0; oy < out->height; oy++) {
    int ky0, ky1;
    const int y0 = oy * k->stride_h - k->pad_top;
    inside(y0, k->dilation_h, k->kernel_h, in->height, &ky0, &ky1);
    for (int ox = 0; ox < out->width; ox++) {
      int kx0, kx1;
      const int x0 = ox * k->stride_w - k->pad_left;
      inside(x0, k->dilation_w, k->kernel_w, in->width, &kx0, &kx1);
      for (int c = 0; c < in->channels; c++) {
        int32_t best = INT32_MIN;
        for (int ky = ky0; ky < ky1; ky++)
          for (int kx = kx0; kx < kx1; kx++) {
            const int y = y0 + ky * k->dilation_h, x = x0 + kx * k->dilation_w;
            const int32_t v = load(in, ((size_t)y * in->width + x) * in->channels + c);
            if (v > best) best = v;
          }
        store(out, ((size_t)oy * out->width + ox) * out->channels + c,
              (int64_t)best - in->zero_point, low, high);
      }
    }
  }
}

static inline void average_pool(const tensor_t *in, const tensor_t *out, const window_t *k,
                                int32_t multiplier, int shift, int32_t low, int32_t high) {
  for (int oy = 0; oy < out->height; oy++)
    for (int ox = 0; ox < out->width; ox++)
      for (int c = 0; c < in->channels; c++) {
        int64_t total = 0;
        for (int ky = 0; ky < k->kernel_h; ky++)
          for (int kx = 0; kx < k->kernel_w; kx++) {
            const int y = oy * k->stride_h + ky, x = ox * k->stride_w + kx;
            total += load(in, ((size_t)y * in->width + x) * in->channels + c) - in->zero_point;
          }
        store(out, ((size_t)oy * out->width + ox) * out->channels + c,
              (total * multiplier + ((int64_t)1 << (shift - 1))) >> shift, low, high);
      }
}

#endif
