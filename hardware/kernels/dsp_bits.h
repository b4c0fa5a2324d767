/* DSP kernels for one pair of bit-widths, WBITS and ABITS; included once for each pair. */

#define FIELDS (32 / WBITS) /* weights in a word */
#if ABITS == 8
#define IN_OFFSET IN_OFFSET8
#define PIXEL_BYTES(c) (c)
#else
#define IN_OFFSET IN_OFFSET4
#define PIXEL_BYTES(c) (((c) + 1) / 2)
#endif
#if WBITS == 8
#define ROW_BYTES(n) (n)
#else
#define ROW_BYTES(n) (((n) + FIELDS - 1) / FIELDS * 4)
#define MASK (((1u << WBITS) - 1) * 0x00010001u)
#define ZERO (1 << (WBITS - 1))
#endif

/* Lanes of four activations: (0, 2) and (1, 3), zero point added. */
static inline void NAME(lanes)(const uint8_t *s, uint32_t *even, uint32_t *odd) {
#if ABITS == 8
  uint32_t v = load32(s), e = __sxtb16(v), o = __sxtb16(rotate8(v));
#else
  uint32_t v = load16(s), e = (v | v << 8) & 0x000F000Fu, o = (v >> 4 | v << 4) & 0x000F000Fu;
#endif
  *even = __sadd16(e, LANES(IN_OFFSET));
  *odd = __sadd16(o, LANES(IN_OFFSET));
}

static inline int NAME(value)(const uint8_t *pixel, int c) {
#if ABITS == 8
  return (int8_t)pixel[c] + IN_OFFSET;
#else
  return (pixel[c >> 1] >> (c & 1) * 4 & 15) + IN_OFFSET;
#endif
}

/* Widens n values of a pixel to position k of a patch. */
static inline void NAME(widen)(const uint8_t *pixel, int n, int16_t *col, int k) {
  if ((n & 3) == 0) {
    uint32_t *d = (uint32_t *)(col + k);
    for (; n > 0; n -= 4, pixel += PIXEL_BYTES(4), d += 2) NAME(lanes)(pixel, d, d + 1);
  } else {
    for (int c = 0; c < n; c++) col[position(k + c)] = NAME(value)(pixel, c);
  }
}

static inline void NAME(pad_patch)(int16_t *col, int k) {
  for (; k % (FIELDS > 4 ? FIELDS : 4); k++) col[position(k)] = 0;
}

static void NAME(patch)(const layer_t *L, int oy, int ox, int16_t *col) {
  int C = L->ic, k = 0;
  for (int ky = 0; ky < L->kh; ky++) {
    int y = oy * L->sh - L->pt + ky;
    for (int kx = 0; kx < L->kw; kx++, k += C) {
      int x = ox * L->sw - L->pl + kx;
      if (y < 0 || x < 0 || y >= L->ih || x >= L->iw) {
        if ((C & 3) == 0) {
          uint32_t *d = (uint32_t *)(col + k);
          for (int c = 0; c < C; c += 2) *d++ = 0;
        } else {
          for (int c = 0; c < C; c++) col[position(k + c)] = 0;
        }
      } else {
        NAME(widen)((const uint8_t *)input + (y * L->iw + x) * PIXEL_BYTES(L->in_pitch), C, col, k);
      }
    }
  }
  NAME(pad_patch)(col, k);
}

/* Two patches times all rows, two rows at a time; an odd last row is computed twice. */
static void NAME(multiply)(const int16_t *c0, const int16_t *c1, int n, int oc, int8_t *o0,
                           int8_t *o1) {
  int bytes = ROW_BYTES(n);
  int32_t z0 = 0, z1 = 0;
#if WBITS != 8
  z0 = -ZERO * lane_sum(c0, n);
  z1 = -ZERO * lane_sum(c1, n);
#endif
  for (int r = 0; r < oc; r += 2) {
    int q = r + 1 < oc ? r + 1 : r;
    const int8_t *w0 = weights + r * bytes, *w1 = weights + q * bytes;
    int32_t s00 = bias[r] + z0, s01 = bias[r] + z1, s10 = bias[q] + z0, s11 = bias[q] + z1;
    const uint32_t *p0 = (const uint32_t *)c0, *p1 = (const uint32_t *)c1;
#define MACS(a, b) \
  { \
    uint32_t x0 = *p0++, x1 = *p1++; \
    s00 = __smlad(a, x0, s00); \
    s01 = __smlad(a, x1, s01); \
    s10 = __smlad(b, x0, s10); \
    s11 = __smlad(b, x1, s11); \
  }
    for (int k = n; k > 0; k -= FIELDS) {
      uint32_t u = load32(w0), v = load32(w1);
      w0 += 4;
      w1 += 4;
#if WBITS == 8
      MACS(__sxtb16(u), __sxtb16(v));
      MACS(__sxtb16(rotate8(u)), __sxtb16(rotate8(v)));
#else
#pragma GCC unroll 8
      for (int j = 0; j < 16; j += WBITS) MACS((u >> j) & MASK, (v >> j) & MASK);
#endif
    }
    o0[r] = finish(s00, r);
    o1[r] = finish(s01, r);
    o0[q] = finish(s10, q);
    o1[q] = finish(s11, q);
  }
}

static void NAME(conv)(const layer_t *L) {
  int pixels = L->oh * L->ow, n = L->kh * L->kw * L->ic, held = 0;
  int8_t *o = output;
  for (int p = 0; p < pixels; p++) {
    NAME(patch)(L, p / L->ow, p % L->ow, columns[held]);
    if (++held == 2) {
      NAME(multiply)(columns[0], columns[1], n, L->oc, o, o + L->out_pitch);
      o += 2 * L->out_pitch;
      held = 0;
    }
  }
  if (held) NAME(multiply)(columns[0], columns[0], n, L->oc, o, o);
}

static void NAME(linear)(const layer_t *L) {
  int n = L->ic;
  /* The input is widened once, at all bit-widths: narrow weights gain nothing by that. */
  int16_t *col = columns[0];
  NAME(widen)((const uint8_t *)input, n, col, 0);
  NAME(pad_patch)(col, n);
  int bytes = ROW_BYTES(n);
  int32_t z = 0;
#if WBITS != 8
  z = -ZERO * lane_sum(col, n);
#endif
  for (int r = 0; r < L->oc; r += 2) {
    int q = r + 1 < L->oc ? r + 1 : r;
    const int8_t *w0 = weights + r * bytes, *w1 = weights + q * bytes;
    int32_t s0 = bias[r] + z, s1 = bias[q] + z;
    const uint32_t *p = (const uint32_t *)col;
    for (int k = n; k > 0; k -= FIELDS, w0 += 4, w1 += 4) {
      uint32_t u = load32(w0), v = load32(w1);
#if WBITS == 8
      s0 = __smlad(__sxtb16(u), p[0], s0);
      s1 = __smlad(__sxtb16(v), p[0], s1);
      s0 = __smlad(__sxtb16(rotate8(u)), p[1], s0);
      s1 = __smlad(__sxtb16(rotate8(v)), p[1], s1);
      p += 2;
#else
#pragma GCC unroll 8
      for (int j = 0; j < 16; j += WBITS) {
        uint32_t x = *p++;
        s0 = __smlad((u >> j) & MASK, x, s0);
        s1 = __smlad((v >> j) & MASK, x, s1);
      }
#endif
    }
    output[r] = finish(s0, r);
    output[q] = finish(s1, q);
  }
}

static inline int NAME(weight)(const int8_t *row, int c) {
#if WBITS == 8
  return row[c];
#else
  int p = position(c % FIELDS);
  uint32_t word = load32(row + c / FIELDS * 4);
  return (int)(word >> ((p >> 1) * WBITS + (p & 1) * 16) & ((1 << WBITS) - 1)) - ZERO;
#endif
}

/* Lanes of the weights of four channels: (0, 2) and (1, 3). */
static inline void NAME(weight_lanes)(const int8_t *row, int c, uint32_t *even, uint32_t *odd) {
#if WBITS == 8
  uint32_t w = load32(row + c);
  *even = __sxtb16(w);
  *odd = __sxtb16(rotate8(w));
#else
  uint32_t w = load32(row + c / FIELDS * 4) >> (c % FIELDS / 2 * WBITS);
  *even = __ssub16(w & MASK, LANES(ZERO));
  *odd = __ssub16((w >> WBITS) & MASK, LANES(ZERO));
#endif
}

static void NAME(depthwise)(const layer_t *L) {
  int C = L->ic, M = L->oc / C, bytes = ROW_BYTES(L->oc), pixel = PIXEL_BYTES(C);
  for (int p = 0; p < L->oh * L->ow; p++) {
    int8_t *o = output + p * L->oc;
    int y0 = p / L->ow * L->sh - L->pt, x0 = p % L->ow * L->sw - L->pl;
    int ky0 = y0 < 0 ? -y0 : 0, kx0 = x0 < 0 ? -x0 : 0;
    int ky1 = L->kh < L->ih - y0 ? L->kh : L->ih - y0;
    int kx1 = L->kw < L->iw - x0 ? L->kw : L->iw - x0;
    int c = 0;
    for (; M == 1 && c + 4 <= C; c += 4) {
      int32_t s0 = bias[c], s1 = bias[c + 1], s2 = bias[c + 2], s3 = bias[c + 3];
      for (int ky = ky0; ky < ky1; ky++) {
        const uint8_t *ip = (const uint8_t *)input + ((y0 + ky) * L->iw + x0 + kx0) * pixel;
        const int8_t *wp = weights + (ky * L->kw + kx0) * bytes;
        ip += PIXEL_BYTES(c);
        for (int kx = kx0; kx < kx1; kx++, ip += pixel, wp += bytes) {
          uint32_t ae, ao, we, wo;
          NAME(lanes)(ip, &ae, &ao);
          NAME(weight_lanes)(wp, c, &we, &wo);
          s0 = __smlabb(ae, we, s0);
          s2 = __smlatt(ae, we, s2);
          s1 = __smlabb(ao, wo, s1);
          s3 = __smlatt(ao, wo, s3);
        }
      }
      o[c] = finish(s0, c);
      o[c + 1] = finish(s1, c + 1);
      o[c + 2] = finish(s2, c + 2);
      o[c + 3] = finish(s3, c + 3);
    }
    for (int r = c; r < L->oc; r++) {
      int32_t s = bias[r];
      for (int ky = ky0; ky < ky1; ky++)
        for (int kx = kx0; kx < kx1; kx++) {
          const uint8_t *ip = (const uint8_t *)input + ((y0 + ky) * L->iw + x0 + kx) * pixel;
          s += NAME(value)(ip, r / M) * NAME(weight)(weights + (ky * L->kw + kx) * bytes, r);
        }
      o[r] = finish(s, r);
    }
  }
}

static void NAME(run)(const layer_t *L) {
  if (L->kind == CONV) NAME(conv)(L);
  else if (L->kind == DEPTHWISE) NAME(depthwise)(L);
  else NAME(linear)(L);
}

#undef MACS
#undef FIELDS
#undef IN_OFFSET
#undef PIXEL_BYTES
#undef ROW_BYTES
#undef MASK
#undef ZERO
