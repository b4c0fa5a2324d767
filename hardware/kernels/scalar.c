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

#define WBITS 8
#define ABITS 8
#include "scalar_bits.h"
#undef ABITS
#define ABITS 4
#include "scalar_bits.h"
#undef ABITS
#undef WBITS
#define WBITS 4
#define ABITS 8
#include "scalar_bits.h"
#undef ABITS
#define ABITS 4
#include "scalar_bits.h"
#undef ABITS
#undef WBITS
#define WBITS 2
#define ABITS 8
#include "scalar_bits.h"
#undef ABITS
#define ABITS 4
#include "scalar_bits.h"
#undef ABITS
#undef WBITS

void run_weighted(const layer_t *L) {
  switch (L->wbits * 16 + L->abits) {
  case 8 * 16 + 8: run_w8a8(L); break;
  case 8 * 16 + 4: run_w8a4(L); break;
  case 4 * 16 + 8: run_w4a8(L); break;
  case 4 * 16 + 4: run_w4a4(L); break;
  case 2 * 16 + 8: run_w2a8(L); break;
  default: run_w2a4(L); break;
  }
}
