/* What all kernel sets share: the layer table, requantization, and the parameters of a layer.
 *
 * Activations lie as (height, width, channels), one byte each, or two to a byte at 4 bits with
 * every pixel starting on a byte. Weights lie as hardware/memory/weight_packing.py writes them. */
#ifndef KERNELS_H
#define KERNELS_H
#include <stdint.h>

typedef struct {
  uint8_t kind, wbits, abits, shift;
  uint16_t ih, iw, ic, oh, ow, oc, kh, kw, sh, sw, pt, pl;
  uint16_t in_pitch, out_pitch; /* channels of a whole pixel, of which a group has ic and oc */
  uint8_t bitmap, power_of_two; /* how the weights of UNPACK are stored */
} layer_t;

enum {
  CONV, DEPTHWISE, LINEAR, ADD, MUL, AVGPOOL, MAXPOOL, COPY, LOOKUP, SOFTMAX, LAYERNORM, UNPACK, SHIFT
};

/* Zero points: added to 8-bit signed and to 4-bit unsigned inputs, and to outputs. */
#define IN_OFFSET8 3
#define IN_OFFSET4 (-3)
#define OUT_OFFSET (-3)

extern int8_t weights[], input[], input2[], output[];
extern int32_t bias[], multiplier[], shift[];
extern uint32_t marks[];

static inline uint32_t load32(const void *p) {
  uint32_t v;
  __builtin_memcpy(&v, p, 4);
  return v;
}

static inline uint32_t load16(const void *p) {
  uint16_t v;
  __builtin_memcpy(&v, p, 2);
  return v;
}

/* round(v * m / 2^31 / 2^s), halves upwards. */
static inline int32_t requantize(int32_t v, int32_t m, int32_t s) {
  int32_t high = (int32_t)(((int64_t)v * m + (1ll << 30)) >> 31);
  return (high + ((1 << s) >> 1)) >> s;
}

static inline int8_t saturate8(int32_t v) {
#ifdef __ARM_FEATURE_SAT
  return (int8_t)__builtin_arm_ssat(v, 8);
#else
  return (int8_t)(v > 127 ? 127 : v < -128 ? -128 : v);
#endif
}

static inline int8_t finish(int32_t acc, int channel) {
  return saturate8(requantize(acc, multiplier[channel], shift[channel]) + OUT_OFFSET);
}

#define JOIN_(f, W, A) f##_w##W##a##A
#define JOIN(f, W, A) JOIN_(f, W, A)
#define NAME(f) JOIN(f, WBITS, ABITS)

void run_weighted(const layer_t *L);
void fill_tables(void);
void softmax(const layer_t *L);
void layernorm(const layer_t *L);
void unpack_weights(const layer_t *L);
void multiply_by_shifts(const layer_t *L);

#endif
