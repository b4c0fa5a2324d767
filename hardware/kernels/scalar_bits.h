/* Plain kernels for one pair of bit-widths, WBITS and ABITS; included once for each pair. */

#if ABITS == 8
#define IN_OFFSET IN_OFFSET8
#define PIXEL_BYTES(c) (c)
#else
#define IN_OFFSET IN_OFFSET4
#define PIXEL_BYTES(c) (((c) + 1) / 2)
#endif
#define PER_BYTE (8 / WBITS)
#if WBITS == 8
#define ROW_BYTES(n) (n)
#else
#define ROW_BYTES(n) (((n) * WBITS + 31) / 32 * 4)
#endif

static inline int NAME(value)(const uint8_t *pixel, int c) {
#if ABITS == 8
  return (int8_t)pixel[c] + IN_OFFSET;
#else
  return (pixel[c >> 1] >> (c & 1) * 4 & 15) + IN_OFFSET;
#endif
}

/* Zero points of narrow weights are taken out once per patch, not once per weight. */
#if WBITS == 8
#define ZERO 0
#else
#define ZERO (1 << (WBITS - 1))
#endif
#define FIELD(byte, j) ((byte) >> (j) * WBITS & ((1 << WBITS) - 1))

static void NAME(widen)(const uint8_t *pixel, int n, int16_t *col) {
  for (int c = 0; c < n; c++) col[c] = (int16_t)NAME(value)(pixel, c);
}

static void NAME(pad_patch)(int16_t *col, int n) {
  for (; n % PER_BYTE; n++) col[n] = 0;
}

static void NAME(patch)(const layer_t *L, int oy, int ox, int16_t *col) {
  int C = L->ic;
  int16_t *start = col;
  for (int ky = 0; ky < L->kh; ky++) {
    int y = oy * L->sh - L->pt + ky;
    for (int kx = 0; kx < L->kw; kx++, col += C) {
      int x = ox * L->sw - L->pl + kx;
      if (y < 0 || x < 0 || y >= L->ih || x >= L->iw)
        for (int c = 0; c < C; c++) col[c] = 0;
      else
        NAME(widen)((const uint8_t *)input + (y * L->iw + x) * PIXEL_BYTES(L->in_pitch), C, col);
    }
  }
  NAME(pad_patch)(start, (int)(col - start));
}

/* Two patches times all rows, two rows at a time; an odd last row is computed twice. */
static void NAME(multiply)(const int16_t *c0, const int16_t *c1, int n, int oc, int8_t *o0,
                           int8_t *o1) {
  int bytes = ROW_BYTES(n);
  int32_t z0 = -ZERO * (ZERO ? column_sum(c0, n) : 0), z1 = -ZERO * (ZERO ? column_sum(c1, n) : 0);
  for (int r = 0; r < oc; r += 2) {
    int q = r + 1 < oc ? r + 1 : r;
    const int8_t *w0 = weights + r * bytes, *w1 = weights + q * bytes;
    int32_t s00 = bias[r] + z0, s01 = bias[r] + z1, s10 = bias[q] + z0, s11 = bias[q] + z1;
    for (int k = 0; k < n; k += PER_BYTE, w0++, w1++) {
#if WBITS == 8
      int a = *w0, b = *w1, x0 = c0[k], x1 = c1[k];
      s00 += a * x0;
      s01 += a * x1;
      s10 += b * x0;
      s11 += b * x1;
#else
      int u = *(const uint8_t *)w0, v = *(const uint8_t *)w1;
#pragma GCC unroll 4
      for (int j = 0; j < PER_BYTE; j++) {
        int a = FIELD(u, j), b = FIELD(v, j), x0 = c0[k + j], x1 = c1[k + j];
        s00 += a * x0;
        s01 += a * x1;
        s10 += b * x0;
        s11 += b * x1;
      }
#endif
    }
    o0[r] = finish(s00, r);
    o1[r] = finish(s01, r);
    o0[q] = finish(s10, q);
    o1[q] = finish(s11, q);
  }
}

static void NAME(conv)(const layer_t *L) {
  int n = L->kh * L->kw * L->ic, held = 0;
  int8_t *o = output;
  for (int oy = 0; oy < L->oh; oy++)
    for (int ox = 0; ox < L->ow; ox++) {
      NAME(patch)(L, oy, ox, columns[held]);
      if (++held == 2) {
        NAME(multiply)(columns[0], columns[1], n, L->oc, o, o + L->out_pitch);
        o += 2 * L->out_pitch;
        held = 0;
      }
    }
  if (held) NAME(multiply)(columns[0], columns[0], n, L->oc, o, o);
}

static void NAME(linear)(const layer_t *L) {
  int n = L->ic, bytes = ROW_BYTES(n);
  const int16_t *x = columns[0];
  NAME(widen)((const uint8_t *)input, n, columns[0]);
  NAME(pad_patch)(columns[0], n);
  int32_t z = -ZERO * (ZERO ? column_sum(x, n) : 0);
  for (int r = 0; r < L->oc; r += 2) {
    int q = r + 1 < L->oc ? r + 1 : r;
    const uint8_t *w0 = (const uint8_t *)weights + r * bytes;
    const uint8_t *w1 = (const uint8_t *)weights + q * bytes;
    int32_t s0 = bias[r] + z, s1 = bias[q] + z;
    for (int k = 0; k < n; k += PER_BYTE, w0++, w1++) {
#if WBITS == 8
      s0 += (int8_t)*w0 * x[k];
      s1 += (int8_t)*w1 * x[k];
#else
#pragma GCC unroll 4
      for (int j = 0; j < PER_BYTE; j++) {
        s0 += FIELD(*w0, j) * x[k + j];
        s1 += FIELD(*w1, j) * x[k + j];
      }
#endif
    }
    output[r] = finish(s0, r);
    output[q] = finish(s1, q);
  }
}

static void NAME(depthwise)(const layer_t *L) {
  int C = L->ic, M = L->oc / C, bytes = ROW_BYTES(L->oc), pixel = PIXEL_BYTES(C);
  for (int oy = 0; oy < L->oh; oy++)
    for (int ox = 0; ox < L->ow; ox++) {
      int8_t *o = output + (oy * L->ow + ox) * L->oc;
      int y0 = oy * L->sh - L->pt, x0 = ox * L->sw - L->pl;
      int ky0 = y0 < 0 ? -y0 : 0, kx0 = x0 < 0 ? -x0 : 0;
      int ky1 = L->kh < L->ih - y0 ? L->kh : L->ih - y0;
      int kx1 = L->kw < L->iw - x0 ? L->kw : L->iw - x0;
      for (int r = 0, c = 0, m = 0; r < L->oc; r++) {
        int32_t s = bias[r];
        for (int ky = ky0; ky < ky1; ky++) {
          const uint8_t *ip = (const uint8_t *)input + ((y0 + ky) * L->iw + x0 + kx0) * pixel;
          const uint8_t *wp = (const uint8_t *)weights + (ky * L->kw + kx0) * bytes;
          for (int kx = kx0; kx < kx1; kx++, ip += pixel, wp += bytes) {
#if WBITS == 8
            s += NAME(value)(ip, c) * (int8_t)wp[r];
#else
            s += NAME(value)(ip, c) * (FIELD(wp[r / PER_BYTE], r % PER_BYTE) - ZERO);
#endif
          }
        }
        o[r] = finish(s, r);
        if (++m == M) m = 0, c++;
      }
    }
}

static void NAME(run)(const layer_t *L) {
  if (L->kind == CONV) NAME(conv)(L);
  else if (L->kind == DEPTHWISE) NAME(depthwise)(L);
  else NAME(linear)(L);
}

#undef IN_OFFSET
#undef PIXEL_BYTES
#undef PER_BYTE
#undef ROW_BYTES
#undef ZERO
#undef FIELD
