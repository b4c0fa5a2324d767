/* @title@ */
#include "@name@.h"

/* The first input that the export was given, and what the verified network gives for it. */
@input@
@output@

static int differs(@output_const@) {
  int found = 0;
  size_t i;
@outputs@
  for (i = 0; i < @NAME@_OUTPUT@SUFFIX@_SIZE; i++) {
    if (@pointer@[i] != test_output@suffix@[i]) {
      found = 1;
    }
  }
@end@
  return found;
}

int @name@_selftest_in(uint8_t *arena) {
  @output_variable@ = @NAME@_OUTPUT_IN(arena);
  int found;
  @name@_infer_in(arena, test_input, output);
  found = differs(output);
@stream_test@  return found;
}

#ifndef @NAME@_CALLER_ARENA
int @name@_selftest(void) { return @name@_selftest_in(@name@_arena); }
#endif
