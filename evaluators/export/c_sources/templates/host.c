/* Runs the network on inputs of stdin, one after another, and writes the outputs to stdout. */
#include <stdio.h>

#include "@name@.h"

int main(void) {
  if (@name@_selftest() != 0) return 3;
  while (fread(@NAME@_INPUT, sizeof(@name@_input_t), @NAME@_INPUT_SIZE, stdin) ==
         @NAME@_INPUT_SIZE) {
    @name@_infer(@NAME@_INPUT, @NAME@_OUTPUT);
@outputs@
    if (fwrite(@place@, sizeof(@name@_output_t), @NAME@_OUTPUT@SUFFIX@_SIZE, stdout) !=
        @NAME@_OUTPUT@SUFFIX@_SIZE)
      return 4;
@end@
  }
  return fflush(stdout) == 0 ? 0 : 4;
}
