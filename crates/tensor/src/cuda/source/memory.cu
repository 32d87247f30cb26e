// Moving and converting elements: fill, copies between element types, sums, rows of caches and tables.

template <typename E> __device__ __forceinline__ void fill_with(E* to, float value, long long len) {
    E element = from_float<E>(value);
    for (long long i = grid_first(); i < len; i += grid_step()) to[i] = element;
}
KERNEL(fill, 256, (T* to, float value, long long len)) { fill_with(to, value, len); }
