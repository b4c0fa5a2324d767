/* Weights that are stored sparse or as powers of two: unpacked to bytes, for the kernels of plain
 * weights, or multiplied by shifts. */
#include "kernels.h"

#define MAX_PATCH 32768

/* Code c of a power of two is its sign and exponent: 0, or +-2^(|c| - 1). */
static const int8_t powers[16] = {0, -64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64};

/* Field i of gapless weights. */
static inline __attribute__((always_inline)) int field(const int8_t *w, int i, int bits) {
  if (bits == 8) return w[i];
  int per_byte = 8 / bits;
  int v = (uint8_t)w[i / per_byte] >> i % per_byte * bits & ((1 << bits) - 1);
  return v - (1 << (bits - 1));
}

static inline __attribute__((always_inline)) void rows(const layer_t *L, int bits, int bitmap,
                                                       int power_of_two) {
  int n = L->ic, at = 0;
  int bytes = bits == 8 ? n : (n * bits + 31) / 32 * 4;
  const int8_t *w = weights;
  int8_t *o = output;
  const uint32_t *mark = marks;
  for (int r = 0; r < L->oc; r++) {
    if (!bitmap) {
      for (int k = 0; k < n; k++) {
        int v = field(w, k, bits);
        *o++ = (int8_t)(power_of_two ? powers[v + 8 & 15] : v);
      }
      w += bytes;
      continue;
    }
    for (int k = 0; k < n; k += 32) {
      uint32_t m = *mark++;
      for (int j = n - k < 32 ? n - k : 32; j > 0; j--, m >>= 1) {
        int v = 0;
        if (m & 1) {
          v = field(w, at++, bits);
          if (power_of_two) v = powers[v + 8 & 15];
        }
        *o++ = (int8_t)v;
      }
    }
  }
}

void unpack_weights(const layer_t *L) {
#define CASE(b) \
  case b * 4: rows(L, b, 0, 0); break; \
  case b * 4 + 1: rows(L, b, 0, 1); break; \
  case b * 4 + 2: rows(L, b, 1, 0); break; \
  case b * 4 + 3: rows(L, b, 1, 1); break;
  switch (L->wbits * 4 + L->bitmap * 2 + L->power_of_two) {
    CASE(8)
    CASE(4)
    CASE(2)
  }
}

static int16_t columns[2][MAX_PATCH];

static void gather(const layer_t *L, int oy, int ox, int16_t *col) {
  for (int ky = 0; ky < L->kh; ky++)
    for (int kx = 0; kx < L->kw; kx++, col += L->ic) {
      int y = oy * L->sh - L->pt + ky, x = ox * L->sw - L->pl + kx;
      const int8_t *s = input + (y * L->iw + x) * L->in_pitch;
      if (y < 0 || x < 0 || y >= L->ih || x >= L->iw)
        for (int c = 0; c < L->ic; c++) col[c] = 0;
      else
        for (int c = 0; c < L->ic; c++) col[c] = (int16_t)(s[c] + IN_OFFSET8);
    }
}

/* One row of 4-bit codes times two patches: shift, change the sign, add. */
static void shifted(const int16_t *c0, const int16_t *c1, int n, int r, int8_t *o0, int8_t *o1) {
  const uint8_t *w = (const uint8_t *)weights + r * ((n * 4 + 31) / 32 * 4);
  int32_t s0 = bias[r], s1 = bias[r];
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
  o0[r] = finish(s0, r);
  o1[r] = finish(s1, r);
}

void multiply_by_shifts(const layer_t *L) {
  int n = L->kh * L->kw * L->ic, pixels = L->oh * L->ow;
  for (int p = 0; p < pixels; p += 2) {
    int q = p + 1 < pixels ? p + 1 : p;
    gather(L, p / L->ow, p % L->ow, columns[0]);
    gather(L, q / L->ow, q % L->ow, columns[1]);
    for (int r = 0; r < L->oc; r++)
      shifted(columns[0], columns[1], n, r, output + p * L->out_pitch, output + q * L->out_pitch);
  }
}
