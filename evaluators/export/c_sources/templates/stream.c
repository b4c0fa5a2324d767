
void @name@_reset(@name@_state_t *state) {
  size_t i;
@resets@
}

void @name@_step_in(uint8_t *arena, @name@_state_t *state, const @name@_input_t *input,
                    @output_argument@) {
@body@
}

#ifndef @NAME@_CALLER_ARENA
void @name@_step(@name@_state_t *state, const @name@_input_t *frame, @output_argument@) {
  @name@_step_in(@name@_arena, state, frame, output);
}
#endif
