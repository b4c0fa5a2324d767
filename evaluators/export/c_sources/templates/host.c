/* Runs the network on inputs of stdin, one after another, and writes the outputs to stdout. */
#include <stdio.h>

#include "@name@.h"

int main(void) {
  if (@name@_selftest() != 0) return 3;
  while (fread(@NAME@_INPUT, sizeof(@name@_input_t), @NAME@_INPUT_SIZE, stdin) ==
         @NAME@_INPUT_SIZE) {
    @name@_infer(@NAME@_INPUT, @NAME@_OUTPUT);
    if (fwrite(@NAME@_OUTPUT, sizeof(@name@_output_t), @NAME@_OUTPUT_SIZE, stdout) !=
        @NAME@_OUTPUT_SIZE)
      return 4;
  }
  return fflush(stdout) == 0 ? 0 : 4;
}
