/* @title@ */
#ifndef JOINT_GA_@NAME@_H
#define JOINT_GA_@NAME@_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Input and output are stored (height, width, channels): @input_dims@ and @output_dims@.
 * q = clamp(round(real / scale) + zero point); real = (q - zero point) * scale.
 */
#define @NAME@_INPUT_SIZE @input_size@
#define @NAME@_INPUT_SCALE @input_scale@f
#define @NAME@_INPUT_ZERO_POINT @input_zero_point@
#define @NAME@_INPUT_MIN @input_min@
#define @NAME@_INPUT_MAX @input_max@
@outputs@
#define @NAME@_OUTPUT@SUFFIX@_SIZE @size@
#define @NAME@_OUTPUT@SUFFIX@_SCALE @scale@f
#define @NAME@_OUTPUT@SUFFIX@_ZERO_POINT @zero_point@
@end@
#define @NAME@_RAM_BYTES @ram_bytes@ /* of the arena: all but the stack */
#define @NAME@_ARENA_ALIGNMENT @alignment@

typedef @input_type@ @name@_input_t;
typedef @output_type@ @name@_output_t;
@output_struct@
/* One inference in an arena of your own: @NAME@_RAM_BYTES bytes, aligned to
 * @NAME@_ARENA_ALIGNMENT. Nothing else is written, so calls with different arenas may overlap.
 * Input and output have their places in the arena and need no other RAM; the input is overwritten
 * then. Buffers of your own work as well.
 */
void @name@_infer_in(uint8_t *arena, const @name@_input_t *input, @output_argument@);
#define @NAME@_INPUT_IN(arena) ((@name@_input_t *)(void *)((arena) + @input_offset@))
@outputs@
#define @NAME@_OUTPUT@SUFFIX@_IN(arena) ((@name@_output_t *)(void *)((arena) + @offset@))
@end@
@outputs_in@
/* 0 if the test vector of @name@_selftest.c gives the output expected of it, else 1. */
int @name@_selftest_in(uint8_t *arena);

/* The same in a static arena, so these are not reentrant. Compile @name@.c with
 * -D@NAME@_CALLER_ARENA to leave that arena out, or with
 * -D'@NAME@_ARENA_ATTRIBUTE=__attribute__((section(".dtcm")))' to place it.
 */
#ifndef @NAME@_CALLER_ARENA
extern uint8_t @name@_arena[@NAME@_RAM_BYTES];
#define @NAME@_INPUT @NAME@_INPUT_IN(@name@_arena)
#define @NAME@_OUTPUT @NAME@_OUTPUT_IN(@name@_arena)
void @name@_infer(const @name@_input_t *input, @output_argument@);
int @name@_selftest(void);
@former_name@#endif

/* The layers in the order in which they run. Compiled with -D@NAME@_TIMED, @name@.c calls two
 * functions of yours around each of them; without it nothing is added. examples/main.c has a pair
 * that counts cycles.
 */
#define @NAME@_LAYERS @layers@
#ifdef @NAME@_TIMED
void @name@_layer_begin(size_t index);
void @name@_layer_end(size_t index);
#endif
static inline const char *@name@_layer_name(size_t index) {
  static const char *const names[@NAME@_LAYERS + 1] = {@layer_names@};
  return names[index < @NAME@_LAYERS ? index : @NAME@_LAYERS];
}

/* Rounds half to even, as the network was verified. NaN becomes the smallest value. */
static inline @name@_input_t @name@_quantize_one(float real) {
  const float low = (float)@NAME@_INPUT_MIN - (float)@NAME@_INPUT_ZERO_POINT;
  const float high = (float)@NAME@_INPUT_MAX - (float)@NAME@_INPUT_ZERO_POINT;
  const float steps = real / @NAME@_INPUT_SCALE;
  int32_t q = @NAME@_INPUT_MIN;
  if (steps >= high) {
    q = @NAME@_INPUT_MAX;
  } else if (steps > low) {
    const int32_t whole = (int32_t)steps;
    const float rest = steps - (float)whole;
    const int32_t odd = whole & 1;
    q = whole + @NAME@_INPUT_ZERO_POINT;
    if ((rest > 0.5f) || ((odd != 0) && (rest >= 0.5f))) {
      q++;
    }
    if ((rest < -0.5f) || ((odd != 0) && (rest <= -0.5f))) {
      q--;
    }
  } else {
    /* The smallest value: NaN comes here, too. */
  }
  return (@name@_input_t)q;
}

static inline void @name@_quantize(const float *real, @name@_input_t *input) {
  size_t i;
  for (i = 0; i < @NAME@_INPUT_SIZE; i++) {
    input[i] = @name@_quantize_one(real[i]);
  }
}

@outputs@
static inline void @name@_dequantize@suffix@(const @name@_output_t *output, float *real) {
  size_t i;
  for (i = 0; i < @NAME@_OUTPUT@SUFFIX@_SIZE; i++) {
    real[i] = ((float)output[i] - (float)@NAME@_OUTPUT@SUFFIX@_ZERO_POINT) *
              @NAME@_OUTPUT@SUFFIX@_SCALE;
  }
}

/* Index of the largest output, of equal ones the first. */
static inline size_t @name@_argmax@suffix@(const @name@_output_t *output) {
  size_t best = 0;
  size_t i;
  for (i = 1; i < @NAME@_OUTPUT@SUFFIX@_SIZE; i++) {
    if (output[i] > output[best]) {
      best = i;
    }
  }
  return best;
}
@end@
@stream@
#ifdef __cplusplus
}
#endif

#endif
