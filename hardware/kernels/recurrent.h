/* GRU and LSTM layers of a network exported by nni-joint-ga.
 *
 * The matrix products are linear layers of kernels.h: bytes in, 16 bits with `fraction` fraction
 * bits out. A state is in units of 2^-15, a cell of 2^-11. Sigmoid and hyperbolic tangent are
 * interpolated in a table.
 */
#ifndef JOINT_GA_RECURRENT_H
#define JOINT_GA_RECURRENT_H

#include "kernels.h"

typedef struct {
  const layer_t *input, *hidden; /* rows of all gates, in torch's order */
  int32_t features, units;
  int32_t zero_point; /* of the state where `hidden` reads it */
  int32_t fraction;
} recurrent_t;

KERNELS_INLINE int32_t recurrent_round16(int32_t n) { return (n + 15) & ~15; }

/* Logistic function of value * 2^-fraction, in units of 2^-15. */
KERNELS_INLINE int32_t recurrent_sigmoid(int32_t value, int32_t fraction) {
  static const uint16_t table[129] = {
    16384, 16896, 17407, 17916, 18421, 18923, 19420, 19912, 20397, 20874, 21344, 21804, 22255, 22696,
    23127, 23547, 23955, 24352, 24737, 25110, 25471, 25819, 26155, 26479, 26790, 27090, 27377, 27653,
    27917, 28169, 28411, 28642, 28862, 29072, 29272, 29462, 29644, 29816, 29979, 30135, 30282, 30422,
    30555, 30680, 30799, 30912, 31018, 31119, 31214, 31304, 31389, 31469, 31545, 31616, 31684, 31747,
    31807, 31864, 31917, 31968, 32015, 32060, 32102, 32141, 32179, 32214, 32247, 32278, 32307, 32335,
    32361, 32385, 32408, 32430, 32450, 32469, 32487, 32504, 32520, 32535, 32549, 32562, 32574, 32586,
    32597, 32607, 32617, 32626, 32635, 32643, 32650, 32657, 32664, 32670, 32676, 32682, 32687, 32692,
    32696, 32701, 32705, 32709, 32712, 32716, 32719, 32722, 32725, 32727, 32730, 32732, 32734, 32736,
    32738, 32740, 32742, 32743, 32745, 32746, 32747, 32749, 32750, 32751, 32752, 32753, 32754, 32755,
    32756, 32756, 32757};
  const int32_t size = value < 0 ? -value : value, rest = fraction - 4, index = size >> rest;
  int32_t found = table[128];
  if (index < 128) {
    const int32_t low = table[index], step = table[index + 1] - low;
    found = low + ((step * (size & ((1 << rest) - 1))) >> rest);
  }
  return value < 0 ? 32768 - found : found;
}

KERNELS_INLINE int32_t recurrent_tangent(int32_t value, int32_t fraction) {
  return 2 * recurrent_sigmoid(2 * value, fraction) - 32768;
}

/* Product with a factor in units of 2^-15. */
KERNELS_INLINE int32_t recurrent_product(int32_t a, int32_t b) { return (a * b + 16384) >> 15; }

/* A state of zeros in the arena. */
KERNELS_INLINE int16_t *recurrent_zeros(int8_t *at, int32_t count) {
  int16_t *const state = (int16_t *)(void *)at;
  int32_t i;
  for (i = 0; i < count; i++) state[i] = 0;
  return state;
}

/* Both products of one frame: of the input, and behind them those of the state. */
KERNELS_FUNCTION const int16_t *recurrent_gates(const tensor_t *in, int32_t frame,
                                             const recurrent_t *r, int32_t gates,
                                             const int16_t *state, int8_t *scratch) {
  static const window_t window = {1, 1, 1, 1, 0, 0, 1, 1};
  const int32_t rows = gates * r->units;
  int16_t *const given = (int16_t *)(void *)scratch;
  uint8_t *const bytes = (uint8_t *)(void *)(scratch + recurrent_round16(4 * rows));
  int8_t *const rest = (int8_t *)(void *)(bytes + recurrent_round16(r->units));
  const tensor_t x = {(uint8_t *)in->data + (size_t)frame * (size_t)r->features, 1, 1, r->features,
                      1, in->zero_point};
  const tensor_t h = {bytes, 1, 1, r->units, 1, r->zero_point};
  const tensor_t x_gates = {given, 1, 1, rows, 2, 0}, h_gates = {given + rows, 1, 1, rows, 2, 0};
  int32_t i;
  for (i = 0; i < r->units; i++) {
    const int32_t v = (state[i] + 128) >> 8;
    bytes[i] = (uint8_t)((v > 127 ? 127 : v) + r->zero_point);
  }
  convolution(&x, &x_gates, r->input, &window, 1, INT16_MIN, INT16_MAX, rest);
  convolution(&h, &h_gates, r->hidden, &window, 1, INT16_MIN, INT16_MAX, rest);
  return given;
}

/* Frames of a sequence, and where the state behind each of them goes: all, or the last alone. */
KERNELS_INLINE int32_t recurrent_frames(const tensor_t *in, const recurrent_t *r) {
  return in->height * in->width * in->channels / r->features;
}

KERNELS_INLINE void recurrent_keep(const tensor_t *out, int32_t frame, int32_t frames,
                                  const int16_t *state) {
  int16_t *const to = (int16_t *)out->data + (out->width == frames ? frame * out->channels : 0);
  int32_t i;
  for (i = 0; i < out->channels; i++) to[i] = state[i];
}

/* `state`: units numbers, those behind the frame before; they are overwritten. */
KERNELS_FUNCTION void gru(const tensor_t *in, const tensor_t *out, const recurrent_t *r,
                       int16_t *state, int8_t *scratch) {
  const int32_t frames = recurrent_frames(in, r), n = r->units;
  int32_t frame, i;
  for (frame = 0; frame < frames; frame++) {
    const int16_t *const x = recurrent_gates(in, frame, r, 3, state, scratch);
    const int16_t *const h = x + 3 * n;
    for (i = 0; i < n; i++) {
      const int32_t reset = recurrent_sigmoid(x[i] + h[i], r->fraction);
      const int32_t update = recurrent_sigmoid(x[n + i] + h[n + i], r->fraction);
      const int32_t fresh =
          recurrent_tangent(x[2 * n + i] + recurrent_product(reset, h[2 * n + i]), r->fraction);
      state[i] = (int16_t)((update * state[i] + (32768 - update) * fresh + 16384) >> 15);
    }
    recurrent_keep(out, frame, frames, state);
  }
}

/* `state`: units numbers, and the units of the cell. */
KERNELS_FUNCTION void lstm(const tensor_t *in, const tensor_t *out, const recurrent_t *r,
                        int16_t *state, int8_t *scratch) {
  const int32_t frames = recurrent_frames(in, r), n = r->units;
  int16_t *const cell = state + n;
  int32_t frame, i;
  for (frame = 0; frame < frames; frame++) {
    const int16_t *const x = recurrent_gates(in, frame, r, 4, state, scratch);
    const int16_t *const h = x + 4 * n;
    for (i = 0; i < n; i++) {
      const int32_t into = recurrent_sigmoid(x[i] + h[i], r->fraction);
      const int32_t kept = recurrent_sigmoid(x[n + i] + h[n + i], r->fraction);
      const int32_t fresh = recurrent_tangent(x[2 * n + i] + h[2 * n + i], r->fraction);
      const int32_t shown = recurrent_sigmoid(x[3 * n + i] + h[3 * n + i], r->fraction);
      int32_t v = (kept * cell[i] + ((into * fresh) >> 4) + 16384) >> 15;
      v = v > INT16_MAX ? INT16_MAX : v < INT16_MIN ? INT16_MIN : v;
      cell[i] = (int16_t)v;
      state[i] = (int16_t)recurrent_product(shown, recurrent_tangent(v, 11));
    }
    recurrent_keep(out, frame, frames, state);
  }
}

#endif
