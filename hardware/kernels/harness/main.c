/* Runs the layers of a generated table on pseudo-random data, each between two marker
 * instructions that the counting plugin sees, and prints a checksum of every output. */
#include "../kernels.h"
#include "harness.h"
#include "table.h"

#define ALIGNED __attribute__((aligned(16)))
int8_t weights[MAX_WEIGHTS + 64] ALIGNED;
int8_t input[MAX_INPUT + 64] ALIGNED;
int8_t input2[MAX_INPUT + 64] ALIGNED;
int8_t output[MAX_OUTPUT + 64] ALIGNED;
int8_t scratch[MAX_SCRATCH + 64] ALIGNED;
int32_t bias[MAX_CHANNELS + 4] ALIGNED;
int32_t multiplier[MAX_CHANNELS + 4] ALIGNED;
int32_t shift[MAX_CHANNELS + 4] ALIGNED;
uint32_t marks[MAX_MARKS];

void print_number(uint32_t v);

static int32_t row_bytes(int32_t n, int32_t bits) {
  return bits == 8 ? n : (n * bits + 31) / 32 * 4;
}

/* A group of a convolution whose pixels have more channels than it, or rows of a block. */
static void part(const job_t *j, const tensor_t *in, const tensor_t *out, const window_t *k) {
  rows_t r = {weights, j->bits, 0, 0, j->oc, 0, j->ic, 0, bias, multiplier, shift, -128, 127};
  r.n = j->kh * j->kw * j->ic;
  r.row_bytes = row_bytes(r.n, j->bits);
  if (j->ih * j->iw == 1 && j->kh * j->kw == 1)
    multiply_bytes(input, out, &r);
  else
    convolve(in, out, &r, k, scratch);
}

static void run(const job_t *j) {
  /* Means are taken without padding, of an image as large as their windows. */
  const int32_t h = (j->oh - 1) * j->sh + j->kh, w = (j->ow - 1) * j->sw + j->kw;
  const tensor_t in = {input, j->kind == AVGPOOL ? h : j->ih, j->kind == AVGPOOL ? w : j->iw,
                       j->in_pitch, 1, IN_ZERO_POINT};
  const tensor_t two[2] = {in, {input2, j->ih, j->iw, j->in_pitch, 1, IN_ZERO_POINT}};
  const tensor_t out = {output, j->oh, j->ow, j->out_pitch, 1, IN_ZERO_POINT};
  const window_t k = {j->kh, j->kw, j->sh, j->sw, j->pt, j->pl, 1, 1};
  const layer_t l = {weights, bias, multiplier, shift, j->bits, j->power_of_two,
                     j->bitmap ? marks : 0};
  const terms_t terms = {{1518500, 1073741}, 12345678, 21, -128, 127};
  uint32_t next = 0;
  switch (j->kind) {
  case CONV:
  case LINEAR:
    if (j->in_pitch != j->ic || j->out_pitch != j->oc)
      part(j, &in, &out, &k);
    else
      convolution(&in, &out, &l, &k, 1, -128, 127, scratch);
    break;
  case DEPTHWISE:
    if (j->ic == j->oc)
      depthwise(&in, &out, &l, &k, -128, 127, scratch);
    else
      convolution(&in, &out, &l, &k, j->ic, -128, 127, scratch);
    break;
  case ADD: add(two, 2, &out, &terms); break;
  case AVGPOOL: average_pool(&in, &out, &k, 0, 1 << 30, 0x0f11, -128, 127); break;
  case MAXPOOL: max_pool(&in, &out, &k, -128, 127); break;
  case COPY: copy_bytes(output, input, j->oh * j->ow * j->oc); break;
  case UNPACK: unpack_rows(&l, 0, j->oc, j->ic, output, &next); break;
  case MUL: mul(j); break;
  case LOOKUP: lookup(j); break;
  case SOFTMAX: softmax(j); break;
  case LAYERNORM: layernorm(j); break;
  default: multiply_by_shifts(j);
  }
}

static uint32_t fill(int8_t *p, int32_t n, uint32_t s) {
  for (int32_t i = 0; i < n; i++) {
    s = s * 1664525u + 1013904223u;
    p[i] = (int8_t)(s >> 24);
  }
  return s;
}

/* Marks `stored` weights of an UNPACK layer, evenly. */
static void mark(const job_t *j, uint32_t stored) {
  uint32_t total = (uint32_t)j->oc * (uint32_t)j->ic, i = 0;
  int words = (j->ic + 31) / 32;
  for (int r = 0; r < j->oc; r++) {
    for (int w = 0; w < words; w++) marks[r * words + w] = 0;
    for (int k = 0; k < j->ic; k++, i++)
      if ((uint64_t)(i + 1) * stored / total > (uint64_t)i * stored / total)
        marks[r * words + k / 32] |= 1u << k % 32;
  }
}

/* Fields behind the last weight of a packed row hold the code of 0. */
static void end_rows(const job_t *j) {
  const int taps = j->kh * j->kw, by_tap = j->kind == DEPTHWISE && j->ic == j->oc;
  const int n = by_tap ? j->oc : taps * (j->kind == DEPTHWISE ? 1 : j->ic);
  const int rows = by_tap ? taps : j->oc, fields = 32 / j->bits, words = (n + fields - 1) / fields;
  uint32_t *last = (uint32_t *)(void *)weights + words - 1;
  for (int r = 0; r < rows; r++, last += words)
    for (int f = n - (words - 1) * fields; f < fields; f++) {
      *last &= ~(((1u << j->bits) - 1) << f * j->bits);
      *last |= 1u << (f * j->bits + j->bits - 1);
    }
}

int main(void) {
  fill_tables();
  fill(input, MAX_INPUT, 2);
  fill(input2, MAX_INPUT, 3);
  for (int i = 0; i < MAX_CHANNELS; i++) multiplier[i] = 1518500250 + i % 1024 * 1000;
  for (unsigned i = 0; i < LAYERS; i++) {
    const job_t *j = &table[i];
    const int weighted = j->kind <= LINEAR, scaled = weighted || j->kind == SHIFT;
    fill(weights, MAX_WEIGHTS, 1);
    for (int c = 0; c < MAX_CHANNELS; c++) {
      shift[c] = j->right | j->left << 8;
      bias[c] = (c * 37 % 1000 - 500) * (scaled ? 1 << j->right : 1) / 16;
    }
    if (j->kind == UNPACK) mark(j, stored[i]);
    if (weighted && j->bits < 8) end_rows(j);
    /* QEMU loses the callback of a marker in the last bytes of one of its pages (1 KB). A lost start
     * would count wrongly; a lost end is told. */
    __asm__ volatile(".balign 8\n\tmov r9, r9" ::: "memory");
    run(j);
    __asm__ volatile("mov r10, r10" ::: "memory");
    uint32_t sum = 0;
    int pixels = j->kind == UNPACK ? j->ic : j->oh * j->ow;
    for (int p = 0; p < pixels; p++)
      for (int c = 0; c < j->oc; c++) sum = sum * 31 + (uint8_t)output[p * j->out_pitch + c];
    print_number(sum);
  }
  return 0;
}
