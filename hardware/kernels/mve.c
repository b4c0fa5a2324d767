/* Kernels for cores with the M-profile vector extension (Cortex-M55, M85): 16 bytes at a time.
 *
 * Narrow weights are unpacked to bytes before they are used: a row for each four pixels, a whole
 * depthwise layer once. */
#include "kernels.h"
#include <arm_mve.h>

#define MAX_PATCH 32768

static int8_t columns[4 * MAX_PATCH] __attribute__((aligned(8)));
static int8_t unpacked[4 * MAX_PATCH] __attribute__((aligned(8)));

static int row_bytes(int n, int bits) { return bits == 8 ? n : (n * bits + 31) / 32 * 4; }

/* Unpacks n weights of a row; writes up to 63 more bytes than n. */
static void unpack(const int8_t *row, int n, int bits, int8_t *out) {
  if (bits == 4) {
    for (int k = 0; k < n; k += 32, row += 16, out += 32) {
      uint8x16_t v = vldrbq_u8((const uint8_t *)row);
      int8x16x2_t t;
      t.val[0] = vsubq_n_s8(vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))), 8);
      t.val[1] = vsubq_n_s8(vreinterpretq_s8_u8(vshrq_n_u8(v, 4)), 8);
      vst2q_s8(out, t);
    }
  } else {
    uint8x16_t mask = vdupq_n_u8(3);
    for (int k = 0; k < n; k += 64, row += 16, out += 64) {
      uint8x16_t v = vldrbq_u8((const uint8_t *)row);
      int8x16x4_t t;
      t.val[0] = vsubq_n_s8(vreinterpretq_s8_u8(vandq_u8(v, mask)), 2);
      t.val[1] = vsubq_n_s8(vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(v, 2), mask)), 2);
      t.val[2] = vsubq_n_s8(vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(v, 4), mask)), 2);
      t.val[3] = vsubq_n_s8(vreinterpretq_s8_u8(vshrq_n_u8(v, 6)), 2);
      vst4q_s8(out, t);
    }
  }
}

static inline int in_offset(const layer_t *L) { return L->abits == 8 ? IN_OFFSET8 : IN_OFFSET4; }
static inline int pixel_bytes(int channels, int bits) { return bits == 8 ? channels : (channels + 1) / 2; }

/* Widens n 4-bit activations of a pixel to bytes; writes up to 31 more. */
static void widen(const uint8_t *pixel, int n, int8_t *out) {
  for (int k = 0; k < n; k += 32, pixel += 16, out += 32) {
    uint8x16_t v = vldrbq_z_u8(pixel, vctp8q((n - k + 1) / 2));
    int8x16x2_t t;
    t.val[0] = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
    t.val[1] = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
    vst2q_s8(out, t);
  }
}

static inline int32x4_t finish4(int32x4_t s, int32x4_t m, int32x4_t sh) {
  s = vrshlq_s32(vqrdmulhq_s32(s, m), vnegq_s32(sh));
  s = vaddq_n_s32(s, OUT_OFFSET);
  return vminq_s32(vmaxq_s32(s, vdupq_n_s32(-128)), vdupq_n_s32(127));
}

static void patch(const layer_t *L, int oy, int ox, int8_t *col) {
  int pitch = pixel_bytes(L->in_pitch, L->abits);
  for (int ky = 0; ky < L->kh; ky++) {
    int y = oy * L->sh - L->pt + ky;
    for (int kx = 0; kx < L->kw; kx++, col += L->ic) {
      int x = ox * L->sw - L->pl + kx;
      int inside = y >= 0 && x >= 0 && y < L->ih && x < L->iw;
      const int8_t *s = input + (y * L->iw + x) * pitch;
      if (L->abits == 4 && inside) {
        widen((const uint8_t *)s, L->ic, col);
        continue;
      }
      for (int k = 0; k < L->ic; k += 16) {
        mve_pred16_t p = vctp8q(L->ic - k);
        int8x16_t v = inside ? vldrbq_z_s8(s + k, p) : vdupq_n_s8((int8_t)-in_offset(L));
        vstrbq_p_s8(col + k, v, p);
      }
    }
  }
}

/* Up to four patches, `stride` bytes apart, times all rows. */
static void multiply(const int8_t *c, int stride, int patches, int n, const layer_t *L, int8_t *o) {
  int bytes = row_bytes(n, L->wbits), oc = L->oc, pitch = L->out_pitch;
  for (int r = 0; r < oc; r++) {
    const int8_t *w = weights + r * bytes;
    const int8_t *p0 = c, *p1 = c + stride, *p2 = p1 + stride, *p3 = p2 + stride;
    int32_t a0 = bias[r], a1 = a0, a2 = a0, a3 = a0, sum = 0;
    if (L->wbits != 8) {
      unpack(w, n, L->wbits, unpacked);
      w = unpacked;
    }
    for (int k = n; k > 0; k -= 16) {
      mve_pred16_t p = vctp8q(k);
      int8x16_t v = vldrbq_z_s8(w, p);
      sum = vaddvaq_s8(sum, v);
      a0 = vmladavaq_s8(a0, v, vldrbq_z_s8(p0, p));
      a1 = vmladavaq_s8(a1, v, vldrbq_z_s8(p1, p));
      a2 = vmladavaq_s8(a2, v, vldrbq_z_s8(p2, p));
      a3 = vmladavaq_s8(a3, v, vldrbq_z_s8(p3, p));
      w += 16;
      p0 += 16;
      p1 += 16;
      p2 += 16;
      p3 += 16;
    }
    sum *= in_offset(L);
    int32x4_t t = {a0 + sum, a1 + sum, a2 + sum, a3 + sum};
    t = finish4(t, vdupq_n_s32(multiplier[r]), vdupq_n_s32(shift[r]));
    o[r] = (int8_t)t[0];
    if (patches > 1) o[pitch + r] = (int8_t)t[1];
    if (patches > 2) o[2 * pitch + r] = (int8_t)t[2];
    if (patches > 3) o[3 * pitch + r] = (int8_t)t[3];
  }
}

static void conv(const layer_t *L) {
  int pixels = L->oh * L->ow, n = L->kh * L->kw * L->ic, held = 0;
  int8_t *o = output;
  if (L->abits == 8 && L->kh == 1 && L->kw == 1 && L->sh == 1 && L->sw == 1) {
    for (int p = 0; p < pixels; p += 4, o += 4 * L->out_pitch)
      multiply(input + p * L->in_pitch, L->in_pitch, pixels - p < 4 ? pixels - p : 4, n, L, o);
    return;
  }
  for (int p = 0; p < pixels; p++) {
    patch(L, p / L->ow, p % L->ow, columns + held * n);
    if (++held == 4 || p == pixels - 1) {
      multiply(columns, n, held, n, L, o);
      o += held * L->out_pitch;
      held = 0;
    }
  }
}

static void linear(const layer_t *L) {
  int n = L->ic, bytes = row_bytes(n, L->wbits);
  const int8_t *wide = input;
  if (L->abits == 4) {
    widen((const uint8_t *)input, n, columns);
    wide = columns;
  }
  for (int r = 0; r < L->oc; r += 2) {
    int q = r + 1 < L->oc ? r + 1 : r;
    const int8_t *w0 = weights + r * bytes, *w1 = weights + q * bytes, *x = wide;
    int32_t s0 = bias[r], s1 = bias[q], z0 = 0, z1 = 0;
    if (L->wbits != 8) {
      unpack(w0, n, L->wbits, unpacked);
      unpack(w1, n, L->wbits, unpacked + MAX_PATCH);
      w0 = unpacked;
      w1 = unpacked + MAX_PATCH;
    }
    for (int k = n; k > 0; k -= 16, x += 16, w0 += 16, w1 += 16) {
      mve_pred16_t p = vctp8q(k);
      int8x16_t v = vldrbq_z_s8(x, p), a = vldrbq_z_s8(w0, p), b = vldrbq_z_s8(w1, p);
      s0 = vmladavaq_s8(s0, v, a);
      s1 = vmladavaq_s8(s1, v, b);
      z0 = vaddvaq_s8(z0, a);
      z1 = vaddvaq_s8(z1, b);
    }
    output[r] = finish(s0 + in_offset(L) * z0, r);
    output[q] = finish(s1 + in_offset(L) * z1, q);
  }
}

/* Activations of up to four channels from c on, zero point added; lanes behind the last are 0. */
static inline int32x4_t four(const uint8_t *pixel, int c, mve_pred16_t q, int bits) {
  if (bits == 8) return vaddq_n_s32(vldrbq_z_s32((const int8_t *)pixel + c, q), IN_OFFSET8);
  const uint32x4_t bytes = {0, 0, 1, 1};
  const int32x4_t shifts = {0, -4, 0, -4};
  uint32x4_t v = vldrbq_gather_offset_z_u32(pixel + c / 2, bytes, q);
  v = vandq_u32(vshlq_u32(v, shifts), vdupq_n_u32(15));
  return vaddq_n_s32(vreinterpretq_s32_u32(v), IN_OFFSET4);
}

static inline __attribute__((always_inline)) void depthwise_bits(const layer_t *L, int abits) {
  int C = L->ic, M = L->oc / C, taps = L->kh * L->kw, pixel = pixel_bytes(C, abits);
  const int8_t *all = weights;
  if (L->wbits != 8) {
    int bytes = row_bytes(L->oc, L->wbits);
    for (int t = 0; t < taps; t++)
      unpack(weights + t * bytes, L->oc, L->wbits, unpacked + t * L->oc);
    all = unpacked;
  }
  for (int p = 0; p < L->oh * L->ow; p++) {
    int8_t *o = output + p * L->oc;
    int y0 = p / L->ow * L->sh - L->pt, x0 = p % L->ow * L->sw - L->pl;
    int ky0 = y0 < 0 ? -y0 : 0, kx0 = x0 < 0 ? -x0 : 0;
    int ky1 = L->kh < L->ih - y0 ? L->kh : L->ih - y0;
    int kx1 = L->kw < L->iw - x0 ? L->kw : L->iw - x0;
    for (int c = 0; M == 1 && c < C; c += 4) {
      mve_pred16_t q = vctp32q(C - c);
      int32x4_t s = vldrwq_z_s32(bias + c, q);
      for (int ky = ky0; ky < ky1; ky++) {
        const uint8_t *ip = (const uint8_t *)input + ((y0 + ky) * L->iw + x0 + kx0) * pixel;
        const int8_t *wp = all + (ky * L->kw + kx0) * C + c;
        for (int kx = kx0; kx < kx1; kx++, ip += pixel, wp += C)
          s = vaddq_s32(s, vmulq_s32(four(ip, c, q, abits), vldrbq_z_s32(wp, q)));
      }
      s = finish4(s, vldrwq_z_s32(multiplier + c, q), vldrwq_z_s32(shift + c, q));
      vstrbq_p_s32(o + c, s, q);
    }
    for (int r = 0; M > 1 && r < L->oc; r++) {
      int32_t s = bias[r];
      for (int ky = ky0; ky < ky1; ky++)
        for (int kx = kx0; kx < kx1; kx++) {
          const uint8_t *ip = (const uint8_t *)input + ((y0 + ky) * L->iw + x0 + kx) * pixel;
          int c = r / M;
          int x = abits == 8 ? (int8_t)ip[c] + IN_OFFSET8 : (ip[c >> 1] >> (c & 1) * 4 & 15) + IN_OFFSET4;
          s += x * all[(ky * L->kw + kx) * L->oc + r];
        }
      o[r] = finish(s, r);
    }
  }
}

static void depthwise(const layer_t *L) {
  if (L->abits == 8) depthwise_bits(L, 8);
  else depthwise_bits(L, 4);
}

void run_weighted(const layer_t *L) {
  if (L->kind == CONV) conv(L);
  else if (L->kind == DEPTHWISE) depthwise(L);
  else linear(L);
}
