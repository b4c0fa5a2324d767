
/* Streaming: one frame of @NAME@_FRAME_SIZE inputs at a time. The output is that of all frames
 * since the reset, however many there were; one state for each stream.
 */
#define @NAME@_FRAME_SIZE @frame_size@
typedef struct {
@state_fields@
} @name@_state_t;
void @name@_reset(@name@_state_t *state);
void @name@_step_in(uint8_t *arena, @name@_state_t *state, const @name@_input_t *frame,
                    @output_argument@);
#ifndef @NAME@_CALLER_ARENA
void @name@_step(@name@_state_t *state, const @name@_input_t *frame, @output_argument@);
#endif
static inline void @name@_quantize_frame(const float *real, @name@_input_t *frame) {
  size_t i;
  for (i = 0; i < @NAME@_FRAME_SIZE; i++) {
    frame[i] = @name@_quantize_one(real[i]);
  }
}
