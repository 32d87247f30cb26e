// Moving and converting elements: fill, copies between element types, sums, rows of caches.

KERNEL(fill, 256, (T* to, float value, long long len)) {
    for_elements<T>(len, is_aligned(to), [=](auto elements, long long i) {
#pragma unroll
        for (float& element : elements.values) element = value;
        elements.store(to + i);
    });
}

// float32 to the compute type.
KERNEL(narrow, 256, (const float* from, T* to, long long len)) {
    for_elements<T>(len, is_aligned(from) && is_aligned(to), [=](auto elements, long long i) {
        load_floats(from + i, elements.values);
        elements.store(to + i);
    });
}

// The compute type to float32.
KERNEL(widen, 256, (const T* from, float* to, long long len)) {
    for_elements<T>(len, is_aligned(from) && is_aligned(to), [=](auto elements, long long i) {
        elements.load(from + i);
        store_floats(elements.values, to + i);
    });
}

KERNEL(add, 256, (const T* from, T* to, long long len)) {
    for_elements<T>(len, is_aligned(from) && is_aligned(to), [=](auto elements, long long i) {
        auto sum = elements;
        elements.load(from + i);
        sum.load(to + i);
#pragma unroll
        for (int k = 0; k < elements.lanes; k++) sum.values[k] += elements.values[k];
        sum.store(to + i);
    });
}

// One row, which must not overlap the other. Whole vectors of 16 bytes, then what is left over.
__device__ __forceinline__ void copy_row(const T* from, T* to, long long len, Team team) {
    const int lanes = VectorT::lanes;
    long long vectors = is_aligned(from) && is_aligned(to) ? len / lanes : 0;
    for (long long i = team.first; i < vectors; i += team.step)
        reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
    for (long long i = vectors * lanes + team.first; i < len; i += team.step) to[i] = from[i];
}

// cache[b, starts[b] + t, :] = x[b, t, :]. What the cache has no place for is left out.
KERNEL(cache_write, 256,
       (const T* x, T* cache, const int* starts, long long rows, int time, int capacity, int cols, int threads,
        int blocks)) {
    Team team = team_of(threads, blocks);
    if (team.row >= rows) return;
    long long sequence = team.row / time;
    long long position = starts[sequence] + team.row % time;
    if (position < 0 || position >= capacity) return;
    copy_row(x + team.row * cols, cache + (sequence * capacity + position) * cols, cols, team);
}

// to[b, ..len] = from[a, ..len] for the pairs (a, b). A pair that names no row is left out.
KERNEL(copy_rows, 256,
       (const T* from, T* to, const int* pairs, long long count, long long from_stride, long long to_stride,
        int from_rows, int to_rows, long long len, int threads, int blocks)) {
    Team team = team_of(threads, blocks);
    if (team.row >= count) return;
    int a = pairs[2 * team.row], b = pairs[2 * team.row + 1];
    if (a < 0 || a >= from_rows || b < 0 || b >= to_rows) return;
    copy_row(from + a * from_stride, to + b * to_stride, len, team);
}

// y[b, :] = x[b, index[b], :]. What is no position shows as NaN.
KERNEL(select_positions, 256,
       (const T* x, const int* index, T* y, long long batch, int time, int cols, int threads, int blocks)) {
    Team team = team_of(threads, blocks);
    if (team.row >= batch) return;
    int position = index[team.row];
    T* to = y + team.row * cols;
    if (position >= 0 && position < time) {
        copy_row(x + (team.row * time + position) * cols, to, cols, team);
    } else {
        for (int i = team.first; i < cols; i += team.step) to[i] = from_float<T>(NOT_A_NUMBER);
    }
}
