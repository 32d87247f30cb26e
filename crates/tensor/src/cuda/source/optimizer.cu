// AdamW and the elementwise and row-wise parts of Muon.
//
// A norm takes two kernels: the first leaves one partial sum per block, the second adds them up in every block, always in
// the same order, and applies the result. The number of blocks follows from the sizes alone, so the bits do too.
// Every tensor begins at a multiple of 16 bytes.

// body(v, at) for the elements of a row by the threads of one block, `v` being a vector where rows are whole vectors.
template <typename E, typename F> __device__ __forceinline__ void for_row(int cols, F body) {
    if (whole_vectors<E>(cols)) {
        for (int at = threadIdx.x * Vector<E>::lanes; at < cols; at += blockDim.x * Vector<E>::lanes) {
            body(Vector<E>(), at);
        }
    } else {
        for (int at = threadIdx.x; at < cols; at += blockDim.x) body(Single<E>(), at);
    }
}

template <typename V> __device__ __forceinline__ float squares_of(const V& v) {
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < V::lanes; j++) sum += v.values[j] * v.values[j];
    return sum;
}

// Σ x² of a row, known to every thread of the block.
template <typename E> __device__ __forceinline__ float row_squares(const E* row, int cols, float* shared) {
    float sum = 0.0f;
    for_row<E>(cols, [&](auto v, int at) {
        v.load(row + at);
        sum += squares_of(v);
    });
    return block_sum(sum, shared);
}

// x ·= factor where `v` stands.
template <typename V, typename E> __device__ __forceinline__ void scale_at(V v, E* x, float factor) {
    v.load(x);
#pragma unroll
    for (int j = 0; j < V::lanes; j++) v.values[j] *= factor;
    v.store(x);
}

// The sum of `count` partial sums, known to every thread of the block.
__device__ __forceinline__ float sum_of_partials(const float* partials, int count, float* shared) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += partials[i];
    return block_sum(sum, shared);
}

// The factors are 1 − lr·decay, 1 − β1, 1 − β2, lr/(1 − β1ᵗ) and 1 − β2ᵗ, as the CPU has them in float.
KERNEL(adamw, 256, (float* value, const float* grad, float* first, float* second, float keep, float gain1, float gain2,
                    float size, float bias2, float eps, long long len)) {
    for_elements<float>(len, true, [&](auto w, long long at) {
        decltype(w) g, m, v;
        w.load(value + at), g.load(grad + at), m.load(first + at), v.load(second + at);
#pragma unroll
        for (int j = 0; j < decltype(w)::lanes; j++) {
            float gradient = g.values[j];
            m.values[j] += gain1 * (gradient - m.values[j]);
            v.values[j] += gain2 * (gradient * gradient - v.values[j]);
            float root = sqrtf(v.values[j] / bias2) + eps;
            w.values[j] = w.values[j] * keep - size * (m.values[j] / root);
        }
        w.store(value + at), m.store(first + at), v.store(second + at);
    });
}

KERNEL(nesterov, 256, (const float* grad, float* momentum, T* out, float mu, long long len)) {
    for_elements<T>(len, true, [&](auto result, long long at) {
        float g[decltype(result)::lanes], m[decltype(result)::lanes];
        load_floats(grad + at, g), load_floats(momentum + at, m);
#pragma unroll
        for (int j = 0; j < decltype(result)::lanes; j++) {
            m[j] += (1.0f - mu) * (g[j] - m[j]);
            result.values[j] = g[j] + mu * (m[j] - g[j]);
        }
        store_floats(m, momentum + at), result.store(out + at);
    });
}

// `decay` is lr·weight_decay.
KERNEL(cautious_update, 256, (float* w, const float* x, float lr, float decay, long long len)) {
    for_elements<float>(len, true, [&](auto weights, long long at) {
        decltype(weights) update;
        weights.load(w + at), update.load(x + at);
#pragma unroll
        for (int j = 0; j < decltype(weights)::lanes; j++) {
            float weight = weights.values[j], change = update.values[j];
            float shrink = change * weight >= 0.0f ? decay * weight : 0.0f;
            weights.values[j] = weight - (lr * change + shrink);
        }
        weights.store(w + at);
    });
}

// partials[block] = Σ x² of the block's share.
KERNEL(sum_squares, 256, (const T* x, float* partials, long long len)) {
    __shared__ float shared[32];
    float sum = 0.0f;
    for_elements<T>(len, true, [&](auto v, long long at) {
        v.load(x + at);
        sum += squares_of(v);
    });
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// x ·= numerator / max(multiplier·‖x‖ + addend, least): both rules of normalisation.
KERNEL(rescale, 256, (T* x, const float* partials, int count, float numerator, float multiplier, float addend, float least,
                      long long len)) {
    __shared__ float shared[32];
    float norm = sqrtf(sum_of_partials(partials, count, shared));
    float factor = numerator / fmaxf(multiplier * norm + addend, least);
    for_elements<T>(len, true, [&](auto v, long long at) { scale_at(v, x + at, factor); });
}

// squares[row] = Σ x² of each row; partials[block] = their sum over the block's rows.
KERNEL(equilibrate_measure, 128, (const T* x, float* squares, float* partials, int rows, int cols)) {
    __shared__ float shared[32];
    float sum = 0.0f;
    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        float own = row_squares(x + static_cast<long long>(row) * cols, cols, shared);
        if (threadIdx.x == 0) squares[row] = own;
        sum += own;
    }
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

KERNEL(equilibrate, 128, (T* x, const float* squares, const float* partials, int count, int rows, int cols)) {
    __shared__ float shared[32];
    float target = sqrtf(sum_of_partials(partials, count, shared) / rows);
    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        T* own = x + static_cast<long long>(row) * cols;
        float factor = target / fmaxf(sqrtf(squares[row]), 1e-6f);
        for_row<T>(cols, [&](auto v, int at) { scale_at(v, own + at, factor); });
    }
}

// A group is a row or a column of NorMuon. Updates its second moment, returns its scale.
__device__ __forceinline__ float reduce_group(float* second, float squares, int entries, float beta2) {
    float mean = squares / entries;
    float s = *second + (1.0f - beta2) * (mean - *second);
    *second = s;
    return 1.0f / sqrtf(fmaxf(s, 1e-10f));
}

// ‖x‖ before the groups were scaled by what it is after, from the sums of squares [2][count].
__device__ __forceinline__ float norm_ratio(const float* partials, int count, float* shared) {
    float before = sum_of_partials(partials, count, shared);
    float after = sum_of_partials(partials + count, count, shared);
    return sqrtf(before) / fmaxf(sqrtf(after), 1e-10f);
}

// NorMuon by rows: second moments, scales, and sums of squares before and after for each block, [2][gridDim].
KERNEL(normuon_rows, 128, (const float* x, float* second, float* scales, float* partials, int rows, int cols,
                           float beta2)) {
    __shared__ float shared[32];
    float before = 0.0f, after = 0.0f;
    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        float squares = row_squares(x + static_cast<long long>(row) * cols, cols, shared);
        if (threadIdx.x == 0) {
            float scale = reduce_group(second + row, squares, cols, beta2);
            scales[row] = scale;
            before += squares;
            after += squares * (scale * scale);
        }
    }
    if (threadIdx.x == 0) {
        partials[blockIdx.x] = before;
        partials[gridDim.x + blockIdx.x] = after;
    }
}

KERNEL(normuon_scale_rows, 128, (float* x, const float* scales, const float* partials, int count, int rows, int cols)) {
    __shared__ float shared[32];
    float ratio = norm_ratio(partials, count, shared);
    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        float* own = x + static_cast<long long>(row) * cols;
        float factor = scales[row] * ratio;
        for_row<float>(cols, [&](auto v, int at) { scale_at(v, own + at, factor); });
    }
}

// Σ x² of the columns where `sum` stands, over the rows from `from` to `to`.
template <typename V>
__device__ __forceinline__ void column_squares(V sum, const float* x, float* sums, int from, int to, int cols) {
    int column = (blockIdx.x * blockDim.x + threadIdx.x) * V::lanes;
    if (column >= cols) return;
#pragma unroll
    for (int j = 0; j < V::lanes; j++) sum.values[j] = 0.0f;
#pragma unroll 4
    for (int row = from; row < to; row++) {
        V v;
        v.load(x + static_cast<long long>(row) * cols + column);
#pragma unroll
        for (int j = 0; j < V::lanes; j++) sum.values[j] += v.values[j] * v.values[j];
    }
    sum.store(sums + column);
}

// sums[chunk, column] = Σ x² of the column in `chunk_rows` rows; chunks along y.
KERNEL(normuon_column_squares, 128, (const float* x, float* sums, int rows, int cols, int chunk_rows)) {
    int from = blockIdx.y * chunk_rows;
    int to = min(from + chunk_rows, rows);
    float* own = sums + static_cast<long long>(blockIdx.y) * cols;
    if (whole_vectors<float>(cols)) {
        column_squares(Vector<float>(), x, own, from, to, cols);
    } else {
        column_squares(Single<float>(), x, own, from, to, cols);
    }
}

// NorMuon by columns, 32 to a block, each warp adding up every eighth chunk; leaves what normuon_rows does.
KERNEL(normuon_columns, 256, (const float* sums, float* second, float* scales, float* partials, int chunks, int rows,
                              int cols, float beta2)) {
    __shared__ float shares[8][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int column = blockIdx.x * 32 + lane;
    float sum = 0.0f;
    if (column < cols) {
        for (int chunk = warp; chunk < chunks; chunk += 8) sum += sums[static_cast<long long>(chunk) * cols + column];
    }
    shares[warp][lane] = sum;
    __syncthreads();
    if (warp > 0) return;
    float squares = 0.0f, after = 0.0f;
    for (int i = 0; i < 8; i++) squares += shares[i][lane];
    if (column < cols) {
        float scale = reduce_group(second + column, squares, rows, beta2);
        scales[column] = scale;
        after = squares * (scale * scale);
    }
    float before = warp_sum(squares);
    after = warp_sum(after);
    if (lane == 0) {
        partials[blockIdx.x] = before;
        partials[gridDim.x + blockIdx.x] = after;
    }
}

KERNEL(normuon_scale_columns, 128, (float* x, const float* scales, const float* partials, int count, int rows,
                                    int cols)) {
    __shared__ float shared[32];
    float ratio = norm_ratio(partials, count, shared);
    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        float* own = x + static_cast<long long>(row) * cols;
        for_row<float>(cols, [&](auto v, int at) {
            decltype(v) scale;
            v.load(own + at), scale.load(scales + at);
#pragma unroll
            for (int j = 0; j < decltype(v)::lanes; j++) v.values[j] *= scale.values[j] * ratio;
            v.store(own + at);
        });
    }
}
