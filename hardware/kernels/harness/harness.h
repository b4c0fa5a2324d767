/* What the parts of the counting harness share: a layer of the table and its data.
 *
 * The kernels themselves are those of ../kernels.h, which exports ship. Operators that exports do
 * not have are here, and count for the costs alone. */
#ifndef HARNESS_H
#define HARNESS_H
#include <stdint.h>

typedef struct {
  uint8_t kind, bits, left, right; /* shifts of the requantization */
  int32_t ih, iw, ic, oh, ow, oc, kh, kw, sh, sw, pt, pl;
  int32_t in_pitch, out_pitch; /* channels of a whole pixel, of which a group has ic and oc */
  uint8_t bitmap, power_of_two; /* how the weights of UNPACK are stored */
} job_t;

/* In the order of hardware.latency.kernel_calls.KINDS. */
enum {
  CONV, DEPTHWISE, LINEAR, ADD, MUL, AVGPOOL, MAXPOOL, COPY, LOOKUP, SOFTMAX, LAYERNORM, UNPACK, SHIFT
};

#define IN_ZERO_POINT (-3)

extern int8_t weights[], input[], input2[], output[], scratch[];
extern int32_t bias[], multiplier[], shift[];
extern uint32_t marks[];

void fill_tables(void);
void mul(const job_t *job);
void lookup(const job_t *job);
void softmax(const job_t *job);
void layernorm(const job_t *job);
void multiply_by_shifts(const job_t *job);

#endif
