/* @title@ */
#include "@name@.h"

/* The first input that the export was given, and what the verified network gives for it. */
@input@
@output@

static int differs(const @name@_output_t *output) {
  int found = 0;
  size_t i;
  for (i = 0; i < @NAME@_OUTPUT_SIZE; i++) {
    if (output[i] != test_output[i]) {
      found = 1;
    }
  }
  return found;
}

int @name@_selftest_in(uint8_t *arena) {
  @name@_output_t *const output = @NAME@_OUTPUT_IN(arena);
  int found;
  @name@_infer_in(arena, test_input, output);
  found = differs(output);
@stream_test@  return found;
}

#ifndef @NAME@_CALLER_ARENA
int @name@_selftest(void) { return @name@_selftest_in(@name@_arena); }
#endif
