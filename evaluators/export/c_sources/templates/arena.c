#ifndef @NAME@_CALLER_ARENA
#ifndef @NAME@_ARENA_ATTRIBUTE
#define @NAME@_ARENA_ATTRIBUTE
#endif
#ifdef __cplusplus
alignas(@NAME@_ARENA_ALIGNMENT)
#else
_Alignas(@NAME@_ARENA_ALIGNMENT)
#endif
@NAME@_ARENA_ATTRIBUTE uint8_t @name@_arena[@NAME@_RAM_BYTES];

void @name@_infer(const @name@_input_t *input, @output_argument@) {
  @name@_infer_in(@name@_arena, input, output);
}
#endif
