/* Operators that exports do not have: products, tables, softmax and layer normalization. */
#include "../kernels.h"
#include "harness.h"

static uint16_t exponentials[256];

static int8_t clamp8(int32_t v) { return (int8_t)clamp(v, -128, 127); }

/* exp(-i / 64) or so, in 15 bits: any falling table takes the same time. */
void fill_tables(void) {
  uint32_t e = 32767;
  for (int i = 0; i < 256; i++, e = e * 63 / 64) exponentials[i] = (uint16_t)e;
}

/* A second input of one pixel is a factor per channel. */
void mul(const job_t *j) {
  int C = j->oc, pixels = j->oh * j->ow, single = j->kh;
  for (int p = 0; p < pixels; p++)
    for (int c = 0; c < C; c++) {
      int32_t x = (input[p * C + c] + 3) * (input2[(single ? 0 : p * C) + c] + 5);
      output[p * C + c] = clamp8(requantize(x, 0, 1518500250, 0x0f15));
    }
}

void lookup(const job_t *j) {
  int n = j->oh * j->ow * j->oc;
  for (int i = 0; i < n; i++) output[i] = weights[(uint8_t)input[i]];
}

void softmax(const job_t *j) {
  int n = j->oc;
  const int8_t *x = input;
  int8_t *o = output;
  for (int p = 0; p < j->oh * j->ow; p++, x += n, o += n) {
    int top = -128;
    for (int c = 0; c < n; c++)
      if (x[c] > top) top = x[c];
    uint32_t sum = 0;
    for (int c = 0; c < n; c++) sum += exponentials[top - x[c]];
    uint32_t inverse = 0x7fffffffu / sum;
    for (int c = 0; c < n; c++)
      o[c] = (int8_t)((int)(exponentials[top - x[c]] * inverse >> 23) - 128);
  }
}

/* The largest r with r * r <= v. */
static uint32_t root(uint32_t v) {
  uint32_t r = 0;
  for (uint32_t bit = 1u << 30; bit; bit >>= 2) {
    uint32_t step = r + bit;
    r >>= 1;
    if (v >= step) {
      v -= step;
      r += bit;
    }
  }
  return r;
}

void layernorm(const job_t *j) {
  int n = j->oc;
  const int8_t *x = input;
  int8_t *o = output;
  for (int p = 0; p < j->oh * j->ow; p++, x += n, o += n) {
    int32_t sum = 0, squares = 0;
    for (int c = 0; c < n; c++) sum += x[c];
    int32_t mean = sum / n;
    for (int c = 0; c < n; c++) squares += (x[c] - mean) * (x[c] - mean);
    /* Deviations in units of 1/16, and their inverse in 20 bits. */
    int32_t inverse = (int32_t)((1u << 20) / root(((uint32_t)(squares / n) + 1) << 8));
    for (int c = 0; c < n; c++) {
      int32_t scaled = ((x[c] - mean) * inverse >> 10) * weights[c] >> 7;
      o[c] = clamp8(scaled + bias[c]);
    }
  }
}
