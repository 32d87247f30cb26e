// Norms over rows and their gradients. A row has a warp, or a block of 256 threads where it is long; it is read from
// memory once and from the cache after that.

// What 2⁻²³ is: added to the mean square of an RMS norm.
#define RMS_EPS 1.1920929e-7f

// The threads of a row.
struct RowThreads {
    long long row;
    int first, step;
    bool is_block;
    float* shared;
    __device__ __forceinline__ RowThreads(int by_block, float* shared) : is_block(by_block), shared(shared) {
        row = by_block ? blockIdx.x : blockIdx.x * 8LL + threadIdx.x / 32;
        first = by_block ? threadIdx.x : threadIdx.x % 32;
        step = by_block ? 256 : 32;
    }
    // The sum over them, known to each.
    __device__ __forceinline__ float sum(float x) const { return is_block ? block_sum(x, shared) : warp_sum(x); }
};

// Calls f(elements, column) for this thread's part of a row, `elements` being a V.
template <typename V, typename F> __device__ __forceinline__ void for_row(const RowThreads& row, int cols, F f) {
    for (int c = row.first * V::lanes; c < cols; c += row.step * V::lanes) f(V(), c);
}
// The sum of f(element) over a row.
template <typename V, typename F>
__device__ __forceinline__ float sum_of(const RowThreads& row, const T* x, int cols, F f) {
    float sum = 0.0f;
    for_row<V>(row, cols, [&](V elements, int c) {
        elements.load(x + c);
#pragma unroll
        for (int k = 0; k < V::lanes; k++) sum += f(elements.values[k]);
    });
    return row.sum(sum);
}

// y = x·r, r = 1/√(mean(x²) + eps).
template <typename V>
__device__ __forceinline__ void rms_norm_row(const RowThreads& row, const T* x, T* y, int cols) {
    float squares = sum_of<V>(row, x, cols, [](float x) { return x * x; });
    float r = 1.0f / sqrtf(squares / cols + RMS_EPS);
    for_row<V>(row, cols, [&](V elements, int c) {
        elements.load(x + c);
#pragma unroll
        for (int k = 0; k < V::lanes; k++) elements.values[k] *= r;
        elements.store(y + c);
    });
}
KERNEL(rms_norm, 256, (const T* x, T* y, long long rows, int cols, int by_block)) {
    __shared__ float shared[32];
    RowThreads row(by_block, shared);
    if (row.row >= rows) return;
    x += row.row * cols, y += row.row * cols;
    if (is_aligned(x) && is_aligned(y) && whole_vectors<T>(cols)) {
        rms_norm_row<VectorT>(row, x, y, cols);
    } else {
        rms_norm_row<Single<T>>(row, x, y, cols);
    }
}

// dx = r·(dy − x·r²·mean(x·dy)).
template <typename V>
__device__ __forceinline__ void rms_norm_row_backward(const RowThreads& row, const T* x, const T* dy, T* dx, int cols,
                                                      int accumulate) {
    float squares = 0.0f, products = 0.0f;
    for_row<V>(row, cols, [&](V elements, int c) {
        V gradients;
        elements.load(x + c);
        gradients.load(dy + c);
#pragma unroll
        for (int k = 0; k < V::lanes; k++) {
            squares += elements.values[k] * elements.values[k];
            products += elements.values[k] * gradients.values[k];
        }
    });
    float r = 1.0f / sqrtf(row.sum(squares) / cols + RMS_EPS);
    float along = r * (r * (row.sum(products) / cols));
    for_row<V>(row, cols, [&](V elements, int c) {
        V gradients, result;
        elements.load(x + c);
        gradients.load(dy + c);
        if (accumulate) result.load(dx + c);
#pragma unroll
        for (int k = 0; k < V::lanes; k++) {
            float value = r * (gradients.values[k] - elements.values[k] * along);
            result.values[k] = accumulate ? result.values[k] + value : value;
        }
        result.store(dx + c);
    });
}
KERNEL(rms_norm_backward, 256,
       (const T* x, const T* dy, T* dx, long long rows, int cols, int accumulate, int by_block)) {
    __shared__ float shared[32];
    RowThreads row(by_block, shared);
    if (row.row >= rows) return;
    x += row.row * cols, dy += row.row * cols, dx += row.row * cols;
    if (is_aligned(x) && is_aligned(dy) && is_aligned(dx) && whole_vectors<T>(cols)) {
        rms_norm_row_backward<VectorT>(row, x, dy, dx, cols, accumulate);
    } else {
        rms_norm_row_backward<Single<T>>(row, x, dy, dx, cols, accumulate);
    }
}

// Mean of a row and 1/√(variance + eps), in two passes: the variance of what is far from zero keeps its digits.
struct Moments {
    float mean, r;
};
template <typename V>
__device__ __forceinline__ Moments moments_of(const RowThreads& row, const T* x, int cols, float eps) {
    float mean = sum_of<V>(row, x, cols, [](float x) { return x; }) / cols;
    float squares = sum_of<V>(row, x, cols, [=](float x) { return (x - mean) * (x - mean); });
    return {mean, 1.0f / sqrtf(squares / cols + eps)};
}

// y = x̂·weight + bias, x̂ = (x − mean)·r.
template <typename V>
__device__ __forceinline__ void layer_norm_row(const RowThreads& row, const T* x, const float* weight,
                                               const float* bias, T* y, int cols, float eps) {
    Moments moments = moments_of<V>(row, x, cols, eps);
    for_row<V>(row, cols, [&](V elements, int c) {
        V weights, biases;
        elements.load(x + c);
        load_floats(weight + c, weights.values);
        load_floats(bias + c, biases.values);
#pragma unroll
        for (int k = 0; k < V::lanes; k++) {
            float standard = (elements.values[k] - moments.mean) * moments.r;
            elements.values[k] = standard * weights.values[k] + biases.values[k];
        }
        elements.store(y + c);
    });
}
KERNEL(layer_norm, 256,
       (const T* x, const float* weight, const float* bias, T* y, long long rows, int cols, float eps, int by_block)) {
    __shared__ float shared[32];
    RowThreads row(by_block, shared);
    if (row.row >= rows) return;
    x += row.row * cols, y += row.row * cols;
    bool aligned = is_aligned(x) && is_aligned(y) && is_aligned(weight) && is_aligned(bias);
    if (aligned && whole_vectors<T>(cols)) {
        layer_norm_row<VectorT>(row, x, weight, bias, y, cols, eps);
    } else {
        layer_norm_row<Single<T>>(row, x, weight, bias, y, cols, eps);
    }
}

// dx = r·(g − mean(g) − x̂·mean(g·x̂)), g = dy·weight. Leaves mean and r of the row for the gradient of weight and bias.
template <typename V>
__device__ __forceinline__ void layer_norm_row_backward(const RowThreads& row, const T* x, const float* weight,
                                                        const T* dy, T* dx, float* moments_to, int cols, float eps,
                                                        int accumulate) {
    Moments moments = moments_of<V>(row, x, cols, eps);
    if (row.first == 0) moments_to[0] = moments.mean, moments_to[1] = moments.r;
    float sum = 0.0f, products = 0.0f;
    for_row<V>(row, cols, [&](V elements, int c) {
        V gradients, weights;
        elements.load(x + c);
        gradients.load(dy + c);
        load_floats(weight + c, weights.values);
#pragma unroll
        for (int k = 0; k < V::lanes; k++) {
            float g = gradients.values[k] * weights.values[k];
            sum += g;
            products += g * ((elements.values[k] - moments.mean) * moments.r);
        }
    });
    float mean = row.sum(sum) / cols, along = row.sum(products) / cols;
    for_row<V>(row, cols, [&](V elements, int c) {
        V gradients, weights, result;
        elements.load(x + c);
        gradients.load(dy + c);
        load_floats(weight + c, weights.values);
        if (accumulate) result.load(dx + c);
#pragma unroll
        for (int k = 0; k < V::lanes; k++) {
            float standard = (elements.values[k] - moments.mean) * moments.r;
            float value = moments.r * (gradients.values[k] * weights.values[k] - mean - standard * along);
            result.values[k] = accumulate ? result.values[k] + value : value;
        }
        result.store(dx + c);
    });
}
// `moments` is [rows, 2].
KERNEL(layer_norm_backward, 256,
       (const T* x, const float* weight, const T* dy, T* dx, float* moments, long long rows, int cols, float eps,
        int accumulate, int by_block)) {
    __shared__ float shared[32];
    RowThreads row(by_block, shared);
    if (row.row >= rows) return;
    x += row.row * cols, dy += row.row * cols, dx += row.row * cols, moments += row.row * 2;
    bool aligned = is_aligned(x) && is_aligned(dy) && is_aligned(dx) && is_aligned(weight);
    if (aligned && whole_vectors<T>(cols)) {
        layer_norm_row_backward<VectorT>(row, x, weight, dy, dx, moments, cols, eps, accumulate);
    } else {
        layer_norm_row_backward<Single<T>>(row, x, weight, dy, dx, moments, cols, eps, accumulate);
    }
}

// dweight = Σ dy·x̂ and dbias = Σ dy over rows, in two steps. Here a block sums 32 columns over one slice of the rows, a
// lane per column, every eighth row a warp; `partial` is [slices, 2, cols], with a block along y per slice.
KERNEL(layer_norm_columns, 256,
       (const T* x, const T* dy, const float* moments, float* partial, long long rows, int cols, int slice_rows)) {
    __shared__ float sums[2][8][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int column = blockIdx.x * 32 + lane;
    long long begin = static_cast<long long>(blockIdx.y) * slice_rows;
    long long end = min(begin + slice_rows, rows);
    float weight = 0.0f, bias = 0.0f;
    if (column < cols)
        for (long long row = begin + warp; row < end; row += 8) {
            float gradient = to_float(dy[row * cols + column]);
            weight += gradient * ((to_float(x[row * cols + column]) - moments[2 * row]) * moments[2 * row + 1]);
            bias += gradient;
        }
    sums[0][warp][lane] = weight;
    sums[1][warp][lane] = bias;
    __syncthreads();
    if (warp >= 2 || column >= cols) return;
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < 8; w++) sum += sums[warp][w][lane];
    partial[(blockIdx.y * 2LL + warp) * cols + column] = sum;
}
// The sum over the slices, a thread per column of dweight and then of dbias.
KERNEL(layer_norm_parameters, 256, (const float* partial, float* dweight, float* dbias, int cols, int slices)) {
    int which = blockIdx.y;
    long long column = grid_first();
    if (column >= cols) return;
    float sum = 0.0f;
#pragma unroll 8
    for (int slice = 0; slice < slices; slice++) sum += partial[(slice * 2LL + which) * cols + column];
    (which == 0 ? dweight : dbias)[column] += sum;
}
