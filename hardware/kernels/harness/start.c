/* Reset, semihosting output, and the two library functions a compiler may call. */
#include <stdint.h>

extern uint32_t __stack_top, __bss_start, __bss_end;
int main(void);

static __attribute__((noinline)) void semihosting(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory", "cc", "r2", "r3", "r12", "lr");
}

static void leave(int reason) {
  for (;;) semihosting(0x18, (void *)(uintptr_t)reason);
}

void print_number(uint32_t v) {
  char text[12];
  int i = 11;
  text[i] = 0;
  text[--i] = '\n';
  do {
    text[--i] = (char)('0' + v % 10);
    v /= 10;
  } while (v);
  semihosting(4, text + i);
}

void reset(void) {
#ifdef HAS_VECTORS
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
  __asm__ volatile("dsb\n isb");
#endif
  for (uint32_t *p = &__bss_start; p < &__bss_end; p++) *p = 0;
  main();
  leave(0x20026);
}

void fault(void) {
  semihosting(4, "FAULT\n");
  leave(0x20023);
}

__attribute__((section(".vectors"), used)) const void *const vectors[16] = {
    &__stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault,
};

void *memset(void *d, int c, unsigned n) {
  for (char *p = d; n; n--) *p++ = (char)c;
  return d;
}

void *memcpy(void *d, const void *s, unsigned n) {
  uint32_t *a = d;
  const uint32_t *b = s;
  if (!(((uintptr_t)d | (uintptr_t)s) & 3))
    for (; n >= 4; n -= 4) *a++ = *b++;
  char *p = (char *)a;
  for (const char *q = (const char *)b; n; n--) *p++ = *q++;
  return d;
}
