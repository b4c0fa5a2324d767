/* Runs the layers of a generated table on pseudo-random data, each between two marker
 * instructions that the counting plugin sees, and prints a checksum of every output. */
#include "kernels.h"
#include "table.h"

int8_t weights[MAX_WEIGHTS + 64] __attribute__((aligned(8)));
int8_t input[MAX_INPUT + 64] __attribute__((aligned(8)));
int8_t input2[MAX_INPUT + 64] __attribute__((aligned(8)));
int8_t output[MAX_OUTPUT + 64] __attribute__((aligned(8)));
int32_t bias[MAX_CHANNELS + 4] __attribute__((aligned(8)));
int32_t multiplier[MAX_CHANNELS + 4] __attribute__((aligned(8)));
int32_t shift[MAX_CHANNELS + 4] __attribute__((aligned(8)));
uint32_t marks[MAX_MARKS];

void print_number(uint32_t v);

/* Both are rescaled to a common grid, added, and rescaled to the output's. */
static void add(const layer_t *L) {
  int n = L->oh * L->ow * L->oc;
  for (int i = 0; i < n; i++) {
    int32_t x = requantize((input[i] + 3) << 20, 1518500250, 3);
    int32_t y = requantize((input2[i] + 5) << 20, 1073741824, 1);
    output[i] = saturate8(requantize(x + y, 1073741824, 18) + OUT_OFFSET);
  }
}

/* A second input of one pixel is a factor per channel. */
static void mul(const layer_t *L) {
  int C = L->oc, pixels = L->oh * L->ow, single = L->kh;
  for (int p = 0; p < pixels; p++)
    for (int c = 0; c < C; c++) {
      int32_t x = (input[p * C + c] + 3) * (input2[(single ? 0 : p * C) + c] + 5);
      output[p * C + c] = saturate8(requantize(x, 1518500250, 6) + OUT_OFFSET);
    }
}

static void pool(const layer_t *L) {
  for (int oy = 0; oy < L->oh; oy++)
    for (int ox = 0; ox < L->ow; ox++) {
      int y0 = oy * L->sh - L->pt, x0 = ox * L->sw - L->pl;
      int ky0 = y0 < 0 ? -y0 : 0, kx0 = x0 < 0 ? -x0 : 0;
      int ky1 = L->kh < L->ih - y0 ? L->kh : L->ih - y0;
      int kx1 = L->kw < L->iw - x0 ? L->kw : L->iw - x0;
      int n = (ky1 - ky0) * (kx1 - kx0);
      for (int c = 0; c < L->ic; c++) {
        int32_t s = L->kind == AVGPOOL ? 0 : -128;
        for (int ky = ky0; ky < ky1; ky++)
          for (int kx = kx0; kx < kx1; kx++) {
            int v = input[((y0 + ky) * L->iw + x0 + kx) * L->ic + c];
            if (L->kind == AVGPOOL) s += v;
            else if (v > s) s = v;
          }
        if (L->kind == AVGPOOL) s = s > 0 ? (s + n / 2) / n : (s - n / 2) / n;
        output[(oy * L->ow + ox) * L->ic + c] = (int8_t)s;
      }
    }
}

static void copy(const layer_t *L) {
  int n = L->oh * L->ow * L->oc;
  for (int i = 0; i < n; i++) output[i] = input[i];
}

static void lookup(const layer_t *L) {
  int n = L->oh * L->ow * L->oc;
  for (int i = 0; i < n; i++) output[i] = weights[(uint8_t)input[i]];
}

static uint32_t fill(int8_t *p, int n, uint32_t s) {
  for (int i = 0; i < n; i++) {
    s = s * 1664525u + 1013904223u;
    p[i] = (int8_t)(s >> 24);
  }
  return s;
}

/* Marks `stored` weights of an UNPACK layer, evenly. */
static void mark(const layer_t *L, uint32_t stored) {
  uint32_t total = (uint32_t)L->oc * L->ic, i = 0;
  int words = (L->ic + 31) / 32;
  for (int r = 0; r < L->oc; r++) {
    for (int j = 0; j < words; j++) marks[r * words + j] = 0;
    for (int k = 0; k < L->ic; k++, i++)
      if ((uint64_t)(i + 1) * stored / total > (uint64_t)i * stored / total)
        marks[r * words + k / 32] |= 1u << k % 32;
  }
}

int main(void) {
  fill_tables();
  fill(weights, MAX_WEIGHTS, 1);
  fill(input, MAX_INPUT, 2);
  fill(input2, MAX_INPUT, 3);
  for (int i = 0; i < MAX_CHANNELS; i++) {
    bias[i] = i * 37 % 1000 - 500;
    multiplier[i] = 1518500250 + i % 1024 * 1000;
  }
  for (unsigned i = 0; i < LAYERS; i++) {
    const layer_t *L = &table[i];
    for (int c = 0; c < MAX_CHANNELS; c++) shift[c] = L->shift;
    if (L->kind == UNPACK) mark(L, stored[i]);
    __asm__ volatile("mov r9, r9" ::: "memory");
    switch (L->kind) {
    case ADD: add(L); break;
    case MUL: mul(L); break;
    case AVGPOOL:
    case MAXPOOL: pool(L); break;
    case COPY: copy(L); break;
    case LOOKUP: lookup(L); break;
    case SOFTMAX: softmax(L); break;
    case LAYERNORM: layernorm(L); break;
    case UNPACK: unpack_weights(L); break;
    case SHIFT: multiply_by_shifts(L); break;
    default: run_weighted(L);
    }
    __asm__ volatile("mov r10, r10" ::: "memory");
    uint32_t sum = 0;
    int pixels = L->kind == UNPACK ? L->ic : L->oh * L->ow;
    for (int p = 0; p < pixels; p++)
      for (int c = 0; c < L->oc; c++) sum = sum * 31 + (uint8_t)output[p * L->out_pitch + c];
    print_number(sum);
  }
  return 0;
}
