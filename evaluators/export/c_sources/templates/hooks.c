#ifdef @NAME@_TIMED
#define @NAME@_BEGIN(index) @name@_layer_begin(index);
#define @NAME@_END(index) @name@_layer_end(index);
#else
#define @NAME@_BEGIN(index)
#define @NAME@_END(index)
#endif
