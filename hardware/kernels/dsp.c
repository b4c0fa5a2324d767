/* Kernels for cores with the DSP extension (Cortex-M4, M7, M33): two 16-bit lanes per multiply. */
#include "kernels.h"
#include <arm_acle.h>

#define LANES(a) (((uint32_t)(a) & 0xffff) | ((uint32_t)(a) << 16))
#define MAX_PATCH 32768

/* Two widened patches. Values come in the order 0, 2, 1, 3 of each four, which is what widening a
 * word of bytes with SXTB16 gives, and are zero up to the next multiple of 16. */
static int16_t columns[2][MAX_PATCH] __attribute__((aligned(8)));

static inline uint32_t rotate8(uint32_t v) { return (v >> 8) | (v << 24); }
static inline int position(int k) { return (k & ~3) | ((k & 1) << 1) | ((k >> 1) & 1); }

/* Sum of a patch of n values and of the zeros that fill it up to a multiple of four. */
static inline int32_t lane_sum(const int16_t *c, int n) {
  int32_t sum = 0;
  const uint32_t *p = (const uint32_t *)c;
  for (int i = 0; i < n; i += 4) {
    sum = __smlad(*p++, 0x00010001, sum);
    sum = __smlad(*p++, 0x00010001, sum);
  }
  return sum;
}

#define BITS_SOURCE "dsp_bits.h"
#include "every_bits.h"
