/* Plain C kernels for cores without SIMD (Cortex-M0+): one multiply at a time, two pixels by two
 * output channels at once, so that a loaded value is used twice. */
#include "kernels.h"

#define MAX_PATCH 32768

/* Two widened patches, zero up to the next whole byte of packed weights. */
static int16_t columns[2][MAX_PATCH];

static inline int32_t column_sum(const int16_t *c, int n) {
  int32_t sum = 0;
  for (int k = 0; k < n; k++) sum += c[k];
  return sum;
}

#define BITS_SOURCE "scalar_bits.h"
#include "every_bits.h"
