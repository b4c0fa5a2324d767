/* The kernels of BITS_SOURCE for each pair of bit-widths, and the choice among them. */
#define WBITS 8
#define ABITS 8
#include BITS_SOURCE
#undef ABITS
#define ABITS 4
#include BITS_SOURCE
#undef ABITS
#undef WBITS
#define WBITS 4
#define ABITS 8
#include BITS_SOURCE
#undef ABITS
#define ABITS 4
#include BITS_SOURCE
#undef ABITS
#undef WBITS
#define WBITS 2
#define ABITS 8
#include BITS_SOURCE
#undef ABITS
#define ABITS 4
#include BITS_SOURCE
#undef ABITS
#undef WBITS

void run_weighted(const layer_t *L) {
  switch (L->wbits * 16 + L->abits) {
  case 8 * 16 + 8: run_w8a8(L); break;
  case 8 * 16 + 4: run_w8a4(L); break;
  case 4 * 16 + 8: run_w4a8(L); break;
  case 4 * 16 + 4: run_w4a4(L); break;
  case 2 * 16 + 8: run_w2a8(L); break;
  default: run_w2a4(L); break;
  }
}
