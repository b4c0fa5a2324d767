/* Checks the network on this machine, then runs it on one input. Everything compiled with
 * -D@NAME@_TIMED, it prints how long each layer took, too.
 */
#include <stdio.h>

#include "@name@.h"

#ifdef @NAME@_TIMED
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH_ISA_THUMB >= 2
/* Cycles, by the debug unit's counter (DWT->CYCCNT). */
#define UNIT "cycles"
typedef uint32_t instant_t;
static void start_clock(void) {
  *(volatile uint32_t *)0xE000EDFCu |= UINT32_C(1) << 24; /* DEMCR: trace on */
  *(volatile uint32_t *)0xE0001004u = 0;                  /* DWT_CYCCNT */
  *(volatile uint32_t *)0xE0001000u |= 1;                 /* DWT_CTRL: count */
}
static instant_t now(void) { return *(volatile uint32_t *)0xE0001004u; }
#else
/* On a board without that counter put a timer of yours here. */
#include <time.h>
#define UNIT "clock ticks"
typedef clock_t instant_t;
static void start_clock(void) {}
static instant_t now(void) { return clock(); }
#endif

static instant_t began, taken[@NAME@_LAYERS + 1];
static unsigned calls[@NAME@_LAYERS + 1];

void @name@_layer_begin(size_t index) {
  (void)index;
  began = now();
}

void @name@_layer_end(size_t index) {
  taken[index] = now() - began;
  calls[index]++;
}

static void print_layers(void) {
  size_t i;
  for (i = 0; i < @NAME@_LAYERS; i++)
    printf("%s: %lu " UNIT ", %u calls\n", @name@_layer_name(i), (unsigned long)taken[i], calls[i]);
}
#endif

int main(void) {
  static float real[@NAME@_INPUT_SIZE]; /* your features: (height, width, channels) */
@outputs@
  static float result@suffix@[@NAME@_OUTPUT@SUFFIX@_SIZE];
@end@
#ifdef @NAME@_TIMED
  start_clock();
#endif
  if (@name@_selftest() != 0) {
    puts("@name@: the test vector gives another output than expected");
    return 1;
  }
  @name@_quantize(real, @NAME@_INPUT);
  @name@_infer(@NAME@_INPUT, @NAME@_OUTPUT);
@outputs@
  @name@_dequantize@suffix@(@place@, result@suffix@);
  {
    const unsigned best = (unsigned)@name@_argmax@suffix@(@place@);
    printf("@name@: the test vector is right; output@said@ %u is the largest: %f\n", best,
           (double)result@suffix@[best]);
  }
@end@
#ifdef @NAME@_TIMED
  print_layers();
#endif
  return 0;
}
