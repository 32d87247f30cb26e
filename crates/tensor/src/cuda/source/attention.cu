// Causal attention in tiles (Dao et al. 2022: no time × time matrix), in float32 arithmetic for both element types.
//
// A block of 16 × 16 threads owns a tile of rows, queries or keys, and walks over tiles of the others. Thread (x, y)
// has the elements (y + 16i, x + 16j) of a tile of scores and the channels from x on of the rows y + 16i. Each output has
// one owner; the way back makes the scores twice, once by queries and once by keys, so that nothing is summed across
// blocks. Rows are padded by 16 bytes, so that eight lanes that read eight rows do not meet in a bank of shared memory.
//
// Shapes: q, y [batch, time, heads, dim]; k, v [rows, capacity, kv_heads, dim]; logsumexp, delta [batch, heads, time].

// The tiles of heads of up to DIM channels; what is missing up to DIM is zero.
template <int DIM> struct Tile {
    static const int own = DIM > 128 ? 16 : 64;
    static const int other = DIM > 128 ? 16 : DIM > 64 ? 32 : 64;
    static const int r = own / 16, c = other / 16;
    static const int stride = DIM + 4;
    static const int weights_stride = other + 16;
    // Channels of a thread: `groups` runs of `width`.
    static const int width = DIM < 64 ? DIM / 16 : 4;
    static const int groups = DIM / (16 * width);
};

// What all kernels are told.
struct Shape {
    int time, heads, kv_heads, capacity, dim, window;
    float scale;
    __device__ __forceinline__ bool sees(int query, int key) const { return key <= query && query - key <= window; }
};

const float LOG2_E = 1.4426950408889634f;

__device__ __forceinline__ int thread_x() { return threadIdx.x % 16; }
__device__ __forceinline__ int thread_y() { return threadIdx.x / 16; }

// ROWS rows from `first` on into shared memory; zero from `end` on. `from` is row 0 of a head, rows lie `step` apart.
template <int DIM, int ROWS>
__device__ __forceinline__ void load_rows(float* to, const T* from, int step, int first, int end, int dim) {
    const int stride = Tile<DIM>::stride, lanes = VectorT::lanes;
    if (whole_vectors<T>(dim)) {
#pragma unroll(DIM > 128 ? 1 : 2)
        for (int i = threadIdx.x; i < ROWS * (DIM / lanes); i += 256) {
            int row = i / (DIM / lanes), channel = i % (DIM / lanes) * lanes;
            VectorT values = {};
            if (first + row < end && channel < dim) {
                values.load(from + static_cast<long long>(first + row) * step + channel);
            }
#pragma unroll
            for (int lane = 0; lane < lanes; lane += 4) {
                *reinterpret_cast<float4*>(to + row * stride + channel + lane) =
                    make_float4(values.values[lane], values.values[lane + 1], values.values[lane + 2], values.values[lane + 3]);
            }
        }
        return;
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < ROWS * DIM; i += 256) {
        int row = i / DIM, channel = i % DIM;
        bool there = first + row < end && channel < dim;
        to[row * stride + channel] = there ? to_float(from[static_cast<long long>(first + row) * step + channel]) : 0.0f;
    }
}

// products[i][j] = own row y + 16i · other row x + 16j.
template <int DIM>
__device__ __forceinline__ void dot_rows(const float* own, const float* other, float (&products)[Tile<DIM>::r][Tile<DIM>::c]) {
    typedef Tile<DIM> Sizes;
    own += thread_y() * Sizes::stride;
    other += thread_x() * Sizes::stride;
#pragma unroll
    for (int i = 0; i < Sizes::r; i++)
#pragma unroll
        for (int j = 0; j < Sizes::c; j++) products[i][j] = 0.0f;
#pragma unroll 1
    for (int channel = 0; channel < DIM; channel += 4) {
        float4 a[Sizes::r], b[Sizes::c];
#pragma unroll
        for (int i = 0; i < Sizes::r; i++) a[i] = *reinterpret_cast<const float4*>(own + 16 * i * Sizes::stride + channel);
#pragma unroll
        for (int j = 0; j < Sizes::c; j++) b[j] = *reinterpret_cast<const float4*>(other + 16 * j * Sizes::stride + channel);
#pragma unroll
        for (int i = 0; i < Sizes::r; i++)
#pragma unroll
            for (int j = 0; j < Sizes::c; j++) {
                float sum = products[i][j];
                sum = __fmaf_rn(a[i].x, b[j].x, sum);
                sum = __fmaf_rn(a[i].y, b[j].y, sum);
                sum = __fmaf_rn(a[i].z, b[j].z, sum);
                products[i][j] = __fmaf_rn(a[i].w, b[j].w, sum);
            }
    }
}

// This thread's channels of its rows: sums += weights · rows, `weights` [own, other] and `rows` [other, DIM].
template <int DIM> struct Sums {
    typedef Tile<DIM> Sizes;
    float values[Sizes::r][Sizes::groups][Sizes::width];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < Sizes::r; i++) scale_row(i, 0.0f);
    }

    __device__ __forceinline__ void scale_row(int i, float factor) {
#pragma unroll
        for (int g = 0; g < Sizes::groups; g++)
#pragma unroll
            for (int c = 0; c < Sizes::width; c++) values[i][g][c] = factor == 0.0f ? 0.0f : values[i][g][c] * factor;
    }

    __device__ __forceinline__ void add(const float* weights, const float* rows) {
        weights += thread_y() * Sizes::weights_stride;
        rows += thread_x() * Sizes::width;
#pragma unroll 1
        for (int row = 0; row < Sizes::other; row += 4) {
            float4 w[Sizes::r];
#pragma unroll
            for (int i = 0; i < Sizes::r; i++)
                w[i] = *reinterpret_cast<const float4*>(weights + 16 * i * Sizes::weights_stride + row);
            add_row(rows + row * Sizes::stride, w, 0);
            add_row(rows + (row + 1) * Sizes::stride, w, 1);
            add_row(rows + (row + 2) * Sizes::stride, w, 2);
            add_row(rows + (row + 3) * Sizes::stride, w, 3);
        }
    }

    __device__ __forceinline__ void add_row(const float* row, const float4 (&w)[Sizes::r], int which) {
#pragma unroll
        for (int g = 0; g < Sizes::groups; g++) {
            float x[4];
            const float* from = row + 16 * Sizes::width * g;
            if (Sizes::width == 4) {
                float4 raw = *reinterpret_cast<const float4*>(from);
                x[0] = raw.x, x[1] = raw.y, x[2] = raw.z, x[3] = raw.w;
            } else {
                float2 raw = *reinterpret_cast<const float2*>(from);
                x[0] = raw.x, x[1] = raw.y;
            }
#pragma unroll
            for (int i = 0; i < Sizes::r; i++) {
                float weight = which == 0 ? w[i].x : which == 1 ? w[i].y : which == 2 ? w[i].z : w[i].w;
#pragma unroll
                for (int c = 0; c < Sizes::width; c++) values[i][g][c] = __fmaf_rn(weight, x[c], values[i][g][c]);
            }
        }
    }

    // Row i, times a factor, to a row of `dim` channels in device memory.
    __device__ __forceinline__ void store_row(int i, float factor, T* to, int dim) const {
#pragma unroll
        for (int g = 0; g < Sizes::groups; g++)
#pragma unroll
            for (int c = 0; c < Sizes::width; c++) {
                int channel = (16 * g + thread_x()) * Sizes::width + c;
                if (channel < dim) to[channel] = from_float<T>(values[i][g][c] * factor);
            }
    }
};

__device__ __forceinline__ float negative_infinity() { return __uint_as_float(0xff800000u); }

// Over the 16 threads of one y, which are half a warp.
__device__ __forceinline__ float max_of_row(float x) {
#pragma unroll
    for (int distance = 8; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
    return x;
}
__device__ __forceinline__ float sum_of_row(float x) {
#pragma unroll
    for (int distance = 8; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}

// blocks: x = heads × batch, y = tiles of queries, the longest rows first.
template <int DIM>
__device__ __forceinline__ void forward(const T* q, const T* k, const T* v, T* y, float* logsumexp, const int* starts,
                                        const Shape& shape) {
    typedef Tile<DIM> Sizes;
    DYNAMIC_SHARED(float, queries);
    float* keys = queries + Sizes::own * Sizes::stride;
    float* weights = keys + Sizes::other * Sizes::stride;

    int head = blockIdx.x % shape.heads, sequence = blockIdx.x / shape.heads;
    int kv_head = head / (shape.heads / shape.kv_heads);
    int query_step = shape.heads * shape.dim, key_step = shape.kv_heads * shape.dim;
    long long query_base = static_cast<long long>(sequence) * shape.time * query_step + head * shape.dim;
    long long key_base = static_cast<long long>(sequence) * shape.capacity * key_step + kv_head * shape.dim;
    q += query_base, y += query_base, k += key_base, v += key_base;

    int first = (gridDim.y - 1 - blockIdx.y) * Sizes::own;
    int start = starts ? starts[sequence] : 0;
    // Behind the last key that is seen may stand anything.
    int end = min(start + min(first + Sizes::own, shape.time), shape.capacity);
    int lowest = max(0, start + first - shape.window) / Sizes::other * Sizes::other;
    float scale = shape.scale * LOG2_E;

    Sums<DIM> sums;
    sums.clear();
    float peaks[Sizes::r], totals[Sizes::r];
#pragma unroll
    for (int i = 0; i < Sizes::r; i++) peaks[i] = negative_infinity(), totals[i] = 0.0f;

    load_rows<DIM, Sizes::own>(queries, q, query_step, first, shape.time, shape.dim);
    for (int key = lowest; key < end; key += Sizes::other) {
        __syncthreads();
        load_rows<DIM, Sizes::other>(keys, k, key_step, key, end, shape.dim);
        __syncthreads();
        float scores[Sizes::r][Sizes::c];
        dot_rows<DIM>(queries, keys, scores);
        __syncthreads();
        // The values stand where the keys stood.
        load_rows<DIM, Sizes::other>(keys, v, key_step, key, end, shape.dim);
#pragma unroll
        for (int i = 0; i < Sizes::r; i++) {
            int row = thread_y() + 16 * i;
            float peak = negative_infinity();
#pragma unroll
            for (int j = 0; j < Sizes::c; j++) {
                if (!shape.sees(start + first + row, key + thread_x() + 16 * j)) scores[i][j] = negative_infinity();
                peak = fmaxf(peak, scores[i][j]);
            }
            peak = fmaxf(peaks[i], max_of_row(peak) * scale);
            // A query that has seen nothing yet.
            float base = peak == negative_infinity() ? 0.0f : peak;
            float shrink = exp2f(peaks[i] - base), total = 0.0f;
#pragma unroll
            for (int j = 0; j < Sizes::c; j++) {
                float weight = exp2f(__fmaf_rn(scores[i][j], scale, -base));
                weights[row * Sizes::weights_stride + thread_x() + 16 * j] = weight;
                total += weight;
            }
            peaks[i] = peak;
            totals[i] = totals[i] * shrink + total;
            sums.scale_row(i, shrink);
        }
        __syncthreads();
        sums.add(weights, keys);
    }
#pragma unroll
    for (int i = 0; i < Sizes::r; i++) {
        float total = sum_of_row(totals[i]);
        int row = first + thread_y() + 16 * i;
        if (row >= shape.time) continue;
        sums.store_row(i, 1.0f / total, y + static_cast<long long>(row) * query_step, shape.dim);
        if (thread_x() == 0) {
            long long at = (static_cast<long long>(sequence) * shape.heads + head) * shape.time + row;
            logsumexp[at] = (peaks[i] + log2f(total)) / LOG2_E;
        }
    }
}

// delta = Σ dy·y per query and head. A warp per row of [batch, time, heads].
KERNEL(attention_delta, 256, (const T* y, const T* dy, float* delta, long long rows, int time, int heads, int dim)) {
    long long row = static_cast<long long>(blockIdx.x) * 8 + threadIdx.x / 32;
    if (row >= rows) return;
    int lane = threadIdx.x % 32;
    y += row * dim, dy += row * dim;
    float sum = 0.0f;
    for (int channel = lane; channel < dim; channel += 32) sum += to_float(y[channel]) * to_float(dy[channel]);
    sum = warp_sum(sum);
    long long position = row / heads, sequence = position / time;
    if (lane == 0) delta[(sequence * heads + row % heads) * time + position % time] = sum;
}

// dq = scale · Σ over keys of p∘(dy·vᵀ − delta) · k. Blocks as in `forward`.
template <int DIM>
__device__ __forceinline__ void backward_queries(const T* q, const T* k, const T* v, const T* dy, const float* logsumexp,
                                                 const float* delta, T* dq, const Shape& shape) {
    typedef Tile<DIM> Sizes;
    DYNAMIC_SHARED(float, queries);
    float* gradients = queries + Sizes::own * Sizes::stride;
    float* keys = gradients + Sizes::own * Sizes::stride;
    float* weights = keys + Sizes::other * Sizes::stride;

    int head = blockIdx.x % shape.heads, sequence = blockIdx.x / shape.heads;
    int kv_head = head / (shape.heads / shape.kv_heads);
    int query_step = shape.heads * shape.dim, key_step = shape.kv_heads * shape.dim;
    long long query_base = static_cast<long long>(sequence) * shape.time * query_step + head * shape.dim;
    long long key_base = static_cast<long long>(sequence) * shape.time * key_step + kv_head * shape.dim;
    long long statistics = (static_cast<long long>(sequence) * shape.heads + head) * shape.time;
    q += query_base, dy += query_base, dq += query_base, k += key_base, v += key_base;

    int first = (gridDim.y - 1 - blockIdx.y) * Sizes::own;
    int end = min(first + Sizes::own, shape.time);
    int lowest = max(0, first - shape.window) / Sizes::other * Sizes::other;
    float scale = shape.scale * LOG2_E;

    Sums<DIM> sums;
    sums.clear();
    float bases[Sizes::r], deltas[Sizes::r];
#pragma unroll
    for (int i = 0; i < Sizes::r; i++) {
        int row = first + thread_y() + 16 * i;
        bases[i] = row < end ? logsumexp[statistics + row] * LOG2_E : 0.0f;
        deltas[i] = row < end ? delta[statistics + row] : 0.0f;
    }
    load_rows<DIM, Sizes::own>(queries, q, query_step, first, end, shape.dim);
    load_rows<DIM, Sizes::own>(gradients, dy, query_step, first, end, shape.dim);
    for (int key = lowest; key < end; key += Sizes::other) {
        __syncthreads();
        load_rows<DIM, Sizes::other>(keys, v, key_step, key, end, shape.dim);
        __syncthreads();
        float products[Sizes::r][Sizes::c], scores[Sizes::r][Sizes::c];
        dot_rows<DIM>(gradients, keys, products);
        __syncthreads();
        load_rows<DIM, Sizes::other>(keys, k, key_step, key, end, shape.dim);
        __syncthreads();
        dot_rows<DIM>(queries, keys, scores);
#pragma unroll
        for (int i = 0; i < Sizes::r; i++) {
            int row = thread_y() + 16 * i;
#pragma unroll
            for (int j = 0; j < Sizes::c; j++) {
                bool seen = first + row < end && shape.sees(first + row, key + thread_x() + 16 * j);
                float probability = seen ? exp2f(__fmaf_rn(scores[i][j], scale, -bases[i])) : 0.0f;
                weights[row * Sizes::weights_stride + thread_x() + 16 * j] = probability * (products[i][j] - deltas[i]);
            }
        }
        __syncthreads();
        sums.add(weights, keys);
    }
#pragma unroll
    for (int i = 0; i < Sizes::r; i++) {
        int row = first + thread_y() + 16 * i;
        if (row < end) sums.store_row(i, shape.scale, dq + static_cast<long long>(row) * query_step, shape.dim);
    }
}

// dv = Σ over queries of pᵀ·dy, dk = scale · Σ (p∘(dy·vᵀ − delta))ᵀ · q, over the query heads of a kv head.
// Blocks: x = kv heads × batch, y = tiles of keys; the first keys are seen most.
template <int DIM>
__device__ __forceinline__ void backward_keys(const T* q, const T* k, const T* v, const T* dy, const float* logsumexp,
                                              const float* delta, T* dk, T* dv, const Shape& shape) {
    typedef Tile<DIM> Sizes;
    DYNAMIC_SHARED(float, keys);
    float* values = keys + Sizes::own * Sizes::stride;
    float* queries = values + Sizes::own * Sizes::stride;
    float* weights = queries + Sizes::other * Sizes::stride;

    int kv_head = blockIdx.x % shape.kv_heads, sequence = blockIdx.x / shape.kv_heads;
    int group = shape.heads / shape.kv_heads;
    int query_step = shape.heads * shape.dim, key_step = shape.kv_heads * shape.dim;
    long long key_base = static_cast<long long>(sequence) * shape.time * key_step + kv_head * shape.dim;
    k += key_base, v += key_base, dk += key_base, dv += key_base;

    int first = blockIdx.y * Sizes::own;
    int end = min(first + Sizes::own, shape.time);
    int lowest = first / Sizes::other * Sizes::other;
    int last = min(shape.time, end + shape.window);
    float scale = shape.scale * LOG2_E;

    Sums<DIM> key_sums, value_sums;
    key_sums.clear();
    value_sums.clear();
    load_rows<DIM, Sizes::own>(keys, k, key_step, first, end, shape.dim);
    load_rows<DIM, Sizes::own>(values, v, key_step, first, end, shape.dim);
    for (int head = kv_head * group; head < (kv_head + 1) * group; head++) {
        long long base = static_cast<long long>(sequence) * shape.time * query_step + head * shape.dim;
        long long statistics = (static_cast<long long>(sequence) * shape.heads + head) * shape.time;
        for (int query = lowest; query < last; query += Sizes::other) {
            __syncthreads();
            load_rows<DIM, Sizes::other>(queries, q + base, query_step, query, last, shape.dim);
            __syncthreads();
            float scores[Sizes::r][Sizes::c], products[Sizes::r][Sizes::c];
            dot_rows<DIM>(keys, queries, scores);
            __syncthreads();
            load_rows<DIM, Sizes::other>(queries, dy + base, query_step, query, last, shape.dim);
#pragma unroll
            for (int j = 0; j < Sizes::c; j++) {
                int column = query + thread_x() + 16 * j;
                float peak = column < last ? logsumexp[statistics + column] * LOG2_E : 0.0f;
#pragma unroll
                for (int i = 0; i < Sizes::r; i++) {
                    int row = thread_y() + 16 * i;
                    bool seen = column < last && shape.sees(column, first + row);
                    scores[i][j] = seen ? exp2f(__fmaf_rn(scores[i][j], scale, -peak)) : 0.0f;
                    weights[row * Sizes::weights_stride + thread_x() + 16 * j] = scores[i][j];
                }
            }
            __syncthreads();
            dot_rows<DIM>(values, queries, products);
            value_sums.add(weights, queries);
            __syncthreads();
            load_rows<DIM, Sizes::other>(queries, q + base, query_step, query, last, shape.dim);
#pragma unroll
            for (int j = 0; j < Sizes::c; j++) {
                int column = query + thread_x() + 16 * j;
                float own_delta = column < last ? delta[statistics + column] : 0.0f;
#pragma unroll
                for (int i = 0; i < Sizes::r; i++) {
                    int row = thread_y() + 16 * i;
                    weights[row * Sizes::weights_stride + thread_x() + 16 * j] = scores[i][j] * (products[i][j] - own_delta);
                }
            }
            __syncthreads();
            key_sums.add(weights, queries);
        }
    }
#pragma unroll
    for (int i = 0; i < Sizes::r; i++) {
        int row = first + thread_y() + 16 * i;
        if (row >= end) continue;
        key_sums.store_row(i, shape.scale, dk + static_cast<long long>(row) * key_step, shape.dim);
        value_sums.store_row(i, 1.0f, dv + static_cast<long long>(row) * key_step, shape.dim);
    }
}

#define KERNELS_FOR(DIM)                                                                                                  \
    KERNEL(attention_forward_##DIM, 256,                                                                                  \
           (const T* q, const T* k, const T* v, T* y, float* logsumexp, const int* starts, int time, int heads,           \
            int kv_heads, int capacity, int dim, int window, float scale)) {                                              \
        Shape shape = {time, heads, kv_heads, capacity, dim, window, scale};                                              \
        forward<DIM>(q, k, v, y, logsumexp, starts, shape);                                                               \
    }                                                                                                                     \
    KERNEL(attention_backward_queries_##DIM, 256,                                                                         \
           (const T* q, const T* k, const T* v, const T* dy, const float* logsumexp, const float* delta, T* dq, int time, \
            int heads, int kv_heads, int dim, int window, float scale)) {                                                 \
        Shape shape = {time, heads, kv_heads, time, dim, window, scale};                                                  \
        backward_queries<DIM>(q, k, v, dy, logsumexp, delta, dq, shape);                                                  \
    }                                                                                                                     \
    KERNEL(attention_backward_keys_##DIM, 256,                                                                            \
           (const T* q, const T* k, const T* v, const T* dy, const float* logsumexp, const float* delta, T* dk, T* dv,    \
            int time, int heads, int kv_heads, int dim, int window, float scale)) {                                       \
        Shape shape = {time, heads, kv_heads, time, dim, window, scale};                                                  \
        backward_keys<DIM>(q, k, v, dy, logsumexp, delta, dk, dv, shape);                                                 \
    }
KERNELS_FOR(32)
KERNELS_FOR(64)
KERNELS_FOR(128)
KERNELS_FOR(512)
