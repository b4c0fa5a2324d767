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

/* What is stored for a weight, as a byte. */
static inline __attribute__((always_inline)) int value(const int8_t *w, int i, int bits,
                                                       int power_of_two) {
  int v = field(w, i, bits);
  return power_of_two ? powers[v + 8 & 15] : v;
}

/* Rows of powers of two, each on whole words. */
static inline __attribute__((always_inline)) void plain_rows(const layer_t *L, int bits) {
  int n = L->ic, bytes = bits == 8 ? n : (n * bits + 31) / 32 * 4;
  int8_t *o = output;
  for (int r = 0; r < L->oc; r++) {
    const int8_t *w = weights + r * bytes;
    int k = 0;
    for (; bits == 4 && k + 1 < n; k += 2, o += 2) {
      int pair = (uint8_t)*w++;
      o[0] = powers[pair & 15];
      o[1] = powers[pair >> 4];
    }
    if (bits == 4 && k < n) *o++ = powers[*w & 15];
    for (; bits == 8 && k < n; k++) *o++ = powers[w[k] + 8 & 15];
  }
}

/* Rows with a bitmap in front of gapless weights. */
static inline __attribute__((always_inline)) void sparse_rows(const layer_t *L, int bits,
                                                              int power_of_two) {
  int at = 0;
  const uint32_t *mark = marks;
  int8_t *o = output;
  for (int r = 0; r < L->oc; r++)
    for (int left = L->ic; left > 0; left -= 32) {
      uint32_t m = *mark++;
      int n = left < 32 ? left : 32;
#ifdef __ARM_FEATURE_CLZ
      /* Clears up to three bytes of what comes next, which is not written yet. */
      for (int j = 0; j < n; j += 4) __builtin_memset(o + j, 0, 4);
      for (; m; m &= m - 1) o[__builtin_ctz(m)] = (int8_t)value(weights, at++, bits, power_of_two);
      o += n;
#else
      for (; n > 0; n--, m >>= 1) *o++ = m & 1 ? (int8_t)value(weights, at++, bits, power_of_two) : 0;
#endif
    }
}

void unpack_weights(const layer_t *L) {
  switch (L->wbits * 4 + L->bitmap * 2 + L->power_of_two) {
  case 8 * 4 + 1: plain_rows(L, 8); break;
  case 4 * 4 + 1: plain_rows(L, 4); break;
  case 8 * 4 + 2: sparse_rows(L, 8, 0); break;
  case 4 * 4 + 2: sparse_rows(L, 4, 0); break;
  case 2 * 4 + 2: sparse_rows(L, 2, 0); break;
  case 8 * 4 + 3: sparse_rows(L, 8, 1); break;
  default: sparse_rows(L, 4, 1); break;
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
