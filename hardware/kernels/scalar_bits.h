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

static inline int NAME(weight)(const uint8_t *row, int i) {
#if WBITS == 8
  return (int8_t)row[i];
#else
  return (row[i / PER_BYTE] >> i % PER_BYTE * WBITS & ((1 << WBITS) - 1)) - (1 << (WBITS - 1));
#endif
}

static inline int32_t NAME(dot)(const uint8_t *row, int first, const uint8_t *x, int n, int32_t s) {
  for (int k = 0; k < n; k++) s += NAME(value)(x, k) * NAME(weight)(row, first + k);
  return s;
}

static void NAME(conv)(const layer_t *L) {
  int C = L->ic, bytes = ROW_BYTES(L->kh * L->kw * C);
  for (int p = 0; p < L->oh * L->ow; p++) {
    int y0 = p / L->ow * L->sh - L->pt, x0 = p % L->ow * L->sw - L->pl;
    for (int r = 0; r < L->oc; r++) {
      const uint8_t *row = (const uint8_t *)weights + r * bytes;
      int32_t s = bias[r];
      for (int ky = 0; ky < L->kh; ky++) {
        int y = y0 + ky;
        if (y < 0 || y >= L->ih) continue;
        for (int kx = 0; kx < L->kw; kx++) {
          int x = x0 + kx;
          if (x < 0 || x >= L->iw) continue;
          const uint8_t *ip = (const uint8_t *)input + (y * L->iw + x) * PIXEL_BYTES(C);
          s = NAME(dot)(row, (ky * L->kw + kx) * C, ip, C, s);
        }
      }
      output[p * L->oc + r] = finish(s, r);
    }
  }
}

static void NAME(linear)(const layer_t *L) {
  for (int r = 0; r < L->oc; r++) {
    const uint8_t *row = (const uint8_t *)weights + r * ROW_BYTES(L->ic);
    output[r] = finish(NAME(dot)(row, 0, (const uint8_t *)input, L->ic, bias[r]), r);
  }
}

static void NAME(depthwise)(const layer_t *L) {
  static int32_t acc[4096];
  int C = L->ic, M = L->oc / C, bytes = ROW_BYTES(L->oc);
  for (int p = 0; p < L->oh * L->ow; p++) {
    int y0 = p / L->ow * L->sh - L->pt, x0 = p % L->ow * L->sw - L->pl;
    for (int r = 0; r < L->oc; r++) acc[r] = bias[r];
    for (int ky = 0; ky < L->kh; ky++) {
      int y = y0 + ky;
      if (y < 0 || y >= L->ih) continue;
      for (int kx = 0; kx < L->kw; kx++) {
        int x = x0 + kx;
        if (x < 0 || x >= L->iw) continue;
        const uint8_t *ip = (const uint8_t *)input + (y * L->iw + x) * PIXEL_BYTES(C);
        const uint8_t *row = (const uint8_t *)weights + (ky * L->kw + kx) * bytes;
        if (M == 1)
          for (int c = 0; c < C; c++) acc[c] += NAME(value)(ip, c) * NAME(weight)(row, c);
        else
          for (int r = 0; r < L->oc; r++)
            acc[r] += NAME(value)(ip, r / M) * NAME(weight)(row, r);
      }
    }
    for (int r = 0; r < L->oc; r++) output[p * L->oc + r] = finish(acc[r], r);
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
