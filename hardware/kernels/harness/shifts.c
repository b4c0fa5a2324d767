/* Powers of two as shifts instead of products: counted to show that these are no faster. */
#include "../kernels.h"
#include "harness.h"

#define MAX_PATCH 32768

static int16_t columns[2][MAX_PATCH];

static void gather(const job_t *j, int oy, int ox, int16_t *col) {
  for (int ky = 0; ky < j->kh; ky++)
    for (int kx = 0; kx < j->kw; kx++, col += j->ic) {
      int y = oy * j->sh - j->pt + ky, x = ox * j->sw - j->pl + kx;
      const int8_t *s = input + (y * j->iw + x) * j->in_pitch;
      if (y < 0 || x < 0 || y >= j->ih || x >= j->iw)
        for (int c = 0; c < j->ic; c++) col[c] = 0;
      else
        for (int c = 0; c < j->ic; c++) col[c] = (int16_t)(s[c] + 3);
    }
}

/* One row of 4-bit codes times two patches: shift, change the sign, add. */
static void shifted(const int16_t *c0, const int16_t *c1, int n, int r, int8_t *o0, int8_t *o1) {
  const uint8_t *w = (const uint8_t *)weights + r * ((n * 4 + 31) / 32 * 4);
  int32_t s0 = 0, s1 = 0;
  for (int k = 0; k < n; k++) {
    int code = (w[k >> 1] >> (k & 1) * 4 & 15) - 8;
    if (code > 0) {
      s0 += c0[k] << (code - 1);
      s1 += c1[k] << (code - 1);
    } else if (code < 0 && code > -8) {
      s0 -= c0[k] << (-code - 1);
      s1 -= c1[k] << (-code - 1);
    }
  }
  o0[r] = (int8_t)clamp(requantize(s0, bias[r], multiplier[r], shift[r]), -128, 127);
  o1[r] = (int8_t)clamp(requantize(s1, bias[r], multiplier[r], shift[r]), -128, 127);
}

void multiply_by_shifts(const job_t *j) {
  int n = j->kh * j->kw * j->ic, pixels = j->oh * j->ow;
  for (int p = 0; p < pixels; p += 2) {
    int q = p + 1 < pixels ? p + 1 : p;
    gather(j, p / j->ow, p % j->ow, columns[0]);
    gather(j, q / j->ow, q % j->ow, columns[1]);
    for (int r = 0; r < j->oc; r++)
      shifted(columns[0], columns[1], n, r, output + p * j->out_pitch, output + q * j->out_pitch);
  }
}
