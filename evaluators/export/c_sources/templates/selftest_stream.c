  {
    @name@_state_t state;
    size_t i;
    @name@_reset(&state);
    for (i = 0; i < @NAME@_INPUT_SIZE; i += @NAME@_FRAME_SIZE) {
      @name@_step_in(arena, &state, &test_input[i], output);
    }
    found |= differs(output);
  }
