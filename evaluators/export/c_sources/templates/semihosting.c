/* Runs the network on a file of inputs, over ARM semihosting: input.bin -> output.bin. */
#include <stdint.h>

#include "@name@.h"

enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE = 5, SYS_READ = 6 };

static __attribute__((noinline)) int call(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory", "cc", "r2", "r3", "r12", "lr");
  return r0;
}

static uintptr_t open_file(const char *name, uintptr_t length, uintptr_t mode) {
  const uintptr_t arguments[3] = {(uintptr_t)name, mode, length};
  return (uintptr_t)call(SYS_OPEN, arguments);
}

int main(void) {
  const uintptr_t in = open_file("input.bin", 9, 1), out = open_file("output.bin", 10, 5);
  const uintptr_t read[3] = {in, (uintptr_t)@NAME@_INPUT,
                             @NAME@_INPUT_SIZE * sizeof(@name@_input_t)};
@outputs@
  const uintptr_t write@suffix@[3] = {out, (uintptr_t)@place@,
                                  @NAME@_OUTPUT@SUFFIX@_SIZE * sizeof(@name@_output_t)};
@end@
  while (call(SYS_READ, read) == 0) {
    @infer@(@NAME@_INPUT, @NAME@_OUTPUT);
@outputs@
    call(SYS_WRITE, write@suffix@);
@end@
  }
  call(SYS_CLOSE, &out);
  return 0;
}
