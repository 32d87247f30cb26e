// Causal attention on tensor cores (Dao 2023, "FlashAttention-2"), for bf16 and heads of 32, 64 or 128 channels. The
// kernels are those of attention.cu: same shapes, same owners, sums in float32. Probabilities and their gradients are
// rounded to bf16 before they are multiplied.
//
// A block of four warps owns 64 rows, a warp 16 of them. With g = lane / 4 and t = lane % 4, a lane has of a product
// c[n] the columns 8n + 2t and 8n + 2t + 1 of the rows g (c[n][0], c[n][1]) and g + 8 (c[n][2], c[n][3]); a row lies in four lanes.

#ifdef ELEMENT_BF16
const int THREADS = 128;
const int OWN = 64;
const float LOG2_E = 1.4426950408889634f;

template <int DIM> struct Tile {
    // Padded, so that eight rows of 16 bytes do not meet in a bank.
    static const int stride = DIM + 8;
    // Keys at a time on the way forward; keys or queries on the way back.
    static const int forward = 64;
    static const int backward = 32;
};

struct Shape {
    int time, heads, kv_heads, capacity, window;
    float scale;
    __device__ __forceinline__ bool sees(int query, int key) const { return key <= query && query - key <= window; }
    // Whether every query of a run sees every key of a run.
    __device__ __forceinline__ bool all_seen(int query, int queries, int key, int keys) const {
        return key + keys - 1 <= query && query + queries - 1 - key <= window;
    }
};

__device__ __forceinline__ float negative_infinity() { return __uint_as_float(0xff800000u); }
__device__ __forceinline__ int warp_row() { return threadIdx.x / 32 * 16; }
__device__ __forceinline__ int lane() { return threadIdx.x % 32; }

// Over the four lanes of a row.
__device__ __forceinline__ float max_of_row(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ __forceinline__ float sum_of_row(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// ROWS rows from `first` on on their way into shared memory; zero from `end` on. `from` is row 0, rows lie `step` apart.
template <int DIM, int ROWS>
__device__ __forceinline__ void fetch_rows(bf16* to, const bf16* from, int step, int first, int end) {
#pragma unroll 2
    for (int i = 0; i < ROWS * (DIM / 8) / THREADS; i++) {
        int at = i * THREADS + threadIdx.x, row = at / (DIM / 8), channel = at % (DIM / 8) * 8;
        bool there = first + row < end;
        const bf16* source = from + (there ? static_cast<long long>(first + row) * step : 0) + channel;
        async_copy(to + row * Tile<DIM>::stride + channel, source, there);
    }
}

// products = 16 own rows · N other rows.
template <int DIM, int N>
__device__ __forceinline__ void dot_rows(const bf16* own, const bf16* other, float (&products)[N / 8][4]) {
    const int stride = Tile<DIM>::stride;
    own += lane() % 16 * stride + lane() / 16 * 8;
    other += lane() % 8 * stride + lane() / 8 * 8;
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) products[n][i] = 0.0f;
#pragma unroll 2
    for (int channel = 0; channel < DIM; channel += 32) {
        unsigned a[2][4];
        load_matrices(a[0], own + channel);
        load_matrices(a[1], own + channel + 16);
#pragma unroll
        for (int n = 0; n < N / 8; n++) {
            unsigned b[4];
            load_matrices(b, other + 8 * n * stride + channel);
            tensor_product(products[n], a[0], b[0], b[1]);
            tensor_product(products[n], a[1], b[2], b[3]);
        }
    }
}

// sums += weights · N rows: what a lane has of a product is what it must have of a factor.
template <int DIM, int N>
__device__ __forceinline__ void add_products(const float (&weights)[N / 8][4], const bf16* rows, float (&sums)[DIM / 8][4]) {
    const int stride = Tile<DIM>::stride;
    rows += lane() % 16 * stride + lane() / 16 * 8;
#pragma unroll
    for (int k = 0; k < N / 16; k++) {
        unsigned a[4];
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = pack_bf16(weights[2 * k + i / 2][i % 2 * 2], weights[2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int n = 0; n < DIM / 16; n++) {
            unsigned b[4];
            load_matrices_transposed(b, rows + 16 * k * stride + 16 * n);
            tensor_product(sums[2 * n], a, b[0], b[1]);
            tensor_product(sums[2 * n + 1], a, b[2], b[3]);
        }
    }
}

template <int DIM> __device__ __forceinline__ void clear(float (&sums)[DIM / 8][4]) {
#pragma unroll
    for (int n = 0; n < DIM / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) sums[n][i] = 0.0f;
}

// Row `half` (g or g + 8) of a warp's sums, times a factor.
template <int DIM>
__device__ __forceinline__ void store_row(const float (&sums)[DIM / 8][4], int half, float factor, bf16* to) {
#pragma unroll
    for (int n = 0; n < DIM / 8; n++) {
        unsigned pair = pack_bf16(sums[n][2 * half] * factor, sums[n][2 * half + 1] * factor);
        *reinterpret_cast<unsigned*>(to + 8 * n + lane() % 4 * 2) = pair;
    }
}

// blocks: x = heads × batch, y = tiles of queries, the longest rows first. Values arrive while scores are made, and
// the next keys while values are added up.
template <int DIM>
__device__ __forceinline__ void forward(const bf16* q, const bf16* k, const bf16* v, bf16* y, float* logsumexp,
                                        const int* starts, const Shape& shape) {
    const int KEYS = Tile<DIM>::forward, stride = Tile<DIM>::stride;
    DYNAMIC_SHARED(bf16, queries);
    bf16* keys = queries + OWN * stride;
    bf16* values = keys + KEYS * stride;

    int head = blockIdx.x % shape.heads, sequence = blockIdx.x / shape.heads;
    int kv_head = head / (shape.heads / shape.kv_heads);
    int query_step = shape.heads * DIM, key_step = shape.kv_heads * DIM;
    long long query_base = static_cast<long long>(sequence) * shape.time * query_step + head * DIM;
    long long key_base = static_cast<long long>(sequence) * shape.capacity * key_step + kv_head * DIM;
    q += query_base, y += query_base, k += key_base, v += key_base;

    int first = (gridDim.y - 1 - blockIdx.y) * OWN;
    int start = starts ? starts[sequence] : 0;
    // Behind the last key that is seen may stand anything.
    int end = min(start + min(first + OWN, shape.time), shape.capacity);
    int lowest = max(0, start + first - shape.window) / KEYS * KEYS;
    int own_row = first + warp_row() + lane() / 4;
    float scale = shape.scale * LOG2_E;

    float sums[DIM / 8][4], peaks[2], totals[2];
    clear<DIM>(sums);
#pragma unroll
    for (int half = 0; half < 2; half++) peaks[half] = negative_infinity(), totals[half] = 0.0f;

    fetch_rows<DIM, OWN>(queries, q, query_step, first, shape.time);
    fetch_rows<DIM, KEYS>(keys, k, key_step, lowest, end);
    async_commit();
    for (int key = lowest; key < end; key += KEYS) {
        async_wait<0>();
        __syncthreads();
        fetch_rows<DIM, KEYS>(values, v, key_step, key, end);
        async_commit();
        float scores[KEYS / 8][4];
        dot_rows<DIM, KEYS>(queries + warp_row() * stride, keys, scores);
        bool all_seen = shape.all_seen(start + first + warp_row(), 16, key, KEYS);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float peak = negative_infinity();
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    int column = key + 8 * n + lane() % 4 * 2 + i % 2;
                    if (!all_seen && !shape.sees(start + own_row + 8 * half, column)) scores[n][i] = negative_infinity();
                    peak = fmaxf(peak, scores[n][i]);
                }
            peak = fmaxf(peaks[half], max_of_row(peak) * scale);
            // A query that has seen nothing yet.
            float base = peak == negative_infinity() ? 0.0f : peak;
            float shrink = exp2f(peaks[half] - base), total = 0.0f;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    scores[n][i] = exp2f(__fmaf_rn(scores[n][i], scale, -base));
                    total += scores[n][i];
                }
            peaks[half] = peak;
            totals[half] = totals[half] * shrink + total;
#pragma unroll
            for (int n = 0; n < DIM / 8; n++) sums[n][2 * half] *= shrink, sums[n][2 * half + 1] *= shrink;
        }
        async_wait<0>();
        __syncthreads();
        if (key + KEYS < end) fetch_rows<DIM, KEYS>(keys, k, key_step, key + KEYS, end);
        async_commit();
        add_products<DIM, KEYS>(scores, values, sums);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = sum_of_row(totals[half]);
        int row = own_row + 8 * half;
        if (row >= shape.time) continue;
        store_row<DIM>(sums, half, 1.0f / total, y + static_cast<long long>(row) * query_step);
        if (lane() % 4 == 0) {
            long long at = (static_cast<long long>(sequence) * shape.heads + head) * shape.time + row;
            logsumexp[at] = (peaks[half] + log2f(total)) / LOG2_E;
        }
    }
}

// dq = scale · Σ over keys of p∘(dy·vᵀ − delta) · k. Blocks as in `forward`; the next keys and values arrive while
// these are at work.
template <int DIM>
__device__ __forceinline__ void backward_queries(const bf16* q, const bf16* k, const bf16* v, const bf16* dy,
                                                 const float* logsumexp, const float* delta, bf16* dq, const Shape& shape) {
    const int KEYS = Tile<DIM>::backward, stride = Tile<DIM>::stride;
    DYNAMIC_SHARED(bf16, queries);
    bf16* gradients = queries + OWN * stride;
    bf16* keys = gradients + OWN * stride;
    bf16* values = keys + 2 * KEYS * stride;

    int head = blockIdx.x % shape.heads, sequence = blockIdx.x / shape.heads;
    int kv_head = head / (shape.heads / shape.kv_heads);
    int query_step = shape.heads * DIM, key_step = shape.kv_heads * DIM;
    long long query_base = static_cast<long long>(sequence) * shape.time * query_step + head * DIM;
    long long key_base = static_cast<long long>(sequence) * shape.time * key_step + kv_head * DIM;
    long long statistics = (static_cast<long long>(sequence) * shape.heads + head) * shape.time;
    q += query_base, dy += query_base, dq += query_base, k += key_base, v += key_base;

    int first = (gridDim.y - 1 - blockIdx.y) * OWN;
    int end = min(first + OWN, shape.time);
    int lowest = max(0, first - shape.window) / KEYS * KEYS;
    int own_row = first + warp_row() + lane() / 4;
    float scale = shape.scale * LOG2_E;

    float sums[DIM / 8][4], bases[2], deltas[2];
    clear<DIM>(sums);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = own_row + 8 * half;
        bases[half] = row < end ? logsumexp[statistics + row] * LOG2_E : 0.0f;
        deltas[half] = row < end ? delta[statistics + row] : 0.0f;
    }
    fetch_rows<DIM, OWN>(queries, q, query_step, first, end);
    fetch_rows<DIM, OWN>(gradients, dy, query_step, first, end);
    fetch_rows<DIM, KEYS>(keys, k, key_step, lowest, end);
    fetch_rows<DIM, KEYS>(values, v, key_step, lowest, end);
    async_commit();
    int stage = 0;
    for (int key = lowest; key < end; key += KEYS, stage ^= 1) {
        async_wait<0>();
        __syncthreads();
        int other = (stage ^ 1) * KEYS * stride, now = stage * KEYS * stride;
        if (key + KEYS < end) {
            fetch_rows<DIM, KEYS>(keys + other, k, key_step, key + KEYS, end);
            fetch_rows<DIM, KEYS>(values + other, v, key_step, key + KEYS, end);
        }
        async_commit();
        float scores[KEYS / 8][4], products[KEYS / 8][4];
        dot_rows<DIM, KEYS>(queries + warp_row() * stride, keys + now, scores);
        dot_rows<DIM, KEYS>(gradients + warp_row() * stride, values + now, products);
        bool all_seen = shape.all_seen(first + warp_row(), 16, key, KEYS);
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int row = own_row + i / 2 * 8, column = key + 8 * n + lane() % 4 * 2 + i % 2;
                bool seen = row < end && (all_seen || shape.sees(row, column));
                float probability = seen ? exp2f(__fmaf_rn(scores[n][i], scale, -bases[i / 2])) : 0.0f;
                scores[n][i] = probability * (products[n][i] - deltas[i / 2]);
            }
        add_products<DIM, KEYS>(scores, keys + now, sums);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = own_row + 8 * half;
        if (row < end) store_row<DIM>(sums, half, shape.scale, dq + static_cast<long long>(row) * query_step);
    }
}

// dv = Σ over queries of pᵀ·dy, dk = scale · Σ (p∘(dy·vᵀ − delta))ᵀ · q, over the query heads of a kv head.
// Blocks: x = kv heads × batch, y = tiles of keys; the first keys are seen most.
template <int DIM>
__device__ __forceinline__ void backward_keys(const bf16* q, const bf16* k, const bf16* v, const bf16* dy,
                                              const float* logsumexp, const float* delta, bf16* dk, bf16* dv,
                                              const Shape& shape) {
    const int QUERIES = Tile<DIM>::backward, stride = Tile<DIM>::stride;
    DYNAMIC_SHARED(bf16, keys);
    bf16* values = keys + OWN * stride;
    bf16* queries = values + OWN * stride;
    bf16* gradients = queries + 2 * QUERIES * stride;

    int kv_head = blockIdx.x % shape.kv_heads, sequence = blockIdx.x / shape.kv_heads;
    int group = shape.heads / shape.kv_heads;
    int query_step = shape.heads * DIM, key_step = shape.kv_heads * DIM;
    long long key_base = static_cast<long long>(sequence) * shape.time * key_step + kv_head * DIM;
    long long query_base = static_cast<long long>(sequence) * shape.time * query_step + kv_head * group * DIM;
    long long statistics = (static_cast<long long>(sequence) * shape.heads + kv_head * group) * shape.time;
    k += key_base, v += key_base, dk += key_base, dv += key_base, q += query_base, dy += query_base;
    logsumexp += statistics, delta += statistics;

    int first = blockIdx.y * OWN;
    int end = min(first + OWN, shape.time);
    int last = min(shape.time, end + shape.window);
    // `first` is a multiple of QUERIES.
    int tiles = (last - first + QUERIES - 1) / QUERIES;
    int own_row = first + warp_row() + lane() / 4;
    float scale = shape.scale * LOG2_E;

    float key_sums[DIM / 8][4], value_sums[DIM / 8][4];
    clear<DIM>(key_sums);
    clear<DIM>(value_sums);
    fetch_rows<DIM, OWN>(keys, k, key_step, first, end);
    fetch_rows<DIM, OWN>(values, v, key_step, first, end);
    fetch_rows<DIM, QUERIES>(queries, q, query_step, first, last);
    fetch_rows<DIM, QUERIES>(gradients, dy, query_step, first, last);
    async_commit();
    int stage = 0;
    for (int head = 0; head < group; head++) {
        for (int tile = 0; tile < tiles; tile++, stage ^= 1) {
            async_wait<0>();
            __syncthreads();
            int other = (stage ^ 1) * QUERIES * stride, now = stage * QUERIES * stride;
            int next_head = tile + 1 < tiles ? head : head + 1, next = first + (tile + 1 < tiles ? tile + 1 : 0) * QUERIES;
            if (next_head < group) {
                fetch_rows<DIM, QUERIES>(queries + other, q + next_head * DIM, query_step, next, last);
                fetch_rows<DIM, QUERIES>(gradients + other, dy + next_head * DIM, query_step, next, last);
            }
            async_commit();
            int query = first + tile * QUERIES;
            const float* peaks = logsumexp + static_cast<long long>(head) * shape.time;
            const float* deltas = delta + static_cast<long long>(head) * shape.time;
            float scores[QUERIES / 8][4], products[QUERIES / 8][4];
            dot_rows<DIM, QUERIES>(keys + warp_row() * stride, queries + now, scores);
            bool all_seen = query + QUERIES <= last && shape.all_seen(query, QUERIES, first + warp_row(), 16);
#pragma unroll
            for (int n = 0; n < QUERIES / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int row = own_row + i / 2 * 8, column = query + 8 * n + lane() % 4 * 2 + i % 2;
                    bool seen = all_seen || (column < last && shape.sees(column, row));
                    scores[n][i] = seen ? exp2f(__fmaf_rn(scores[n][i], scale, -peaks[column] * LOG2_E)) : 0.0f;
                }
            add_products<DIM, QUERIES>(scores, gradients + now, value_sums);
            dot_rows<DIM, QUERIES>(values + warp_row() * stride, gradients + now, products);
#pragma unroll
            for (int n = 0; n < QUERIES / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int column = query + 8 * n + lane() % 4 * 2 + i % 2;
                    scores[n][i] *= products[n][i] - (column < last ? deltas[column] : 0.0f);
                }
            add_products<DIM, QUERIES>(scores, queries + now, key_sums);
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = own_row + 8 * half;
        if (row >= end) continue;
        store_row<DIM>(key_sums, half, shape.scale, dk + static_cast<long long>(row) * key_step);
        store_row<DIM>(value_sums, half, 1.0f, dv + static_cast<long long>(row) * key_step);
    }
}

#define KERNELS_FOR(DIM)                                                                                                \
    KERNEL(attention_forward_##DIM, 128,                                                                                \
           (const bf16* q, const bf16* k, const bf16* v, bf16* y, float* logsumexp, const int* starts, int time,        \
            int heads, int kv_heads, int capacity, int dim, int window, float scale)) {                                 \
        Shape shape = {time, heads, kv_heads, capacity, window, scale};                                                 \
        forward<DIM>(q, k, v, y, logsumexp, starts, shape);                                                             \
    }                                                                                                                   \
    KERNEL(attention_backward_queries_##DIM, 128,                                                                       \
           (const bf16* q, const bf16* k, const bf16* v, const bf16* dy, const float* logsumexp, const float* delta,    \
            bf16* dq, int time, int heads, int kv_heads, int dim, int window, float scale)) {                           \
        Shape shape = {time, heads, kv_heads, time, window, scale};                                                     \
        backward_queries<DIM>(q, k, v, dy, logsumexp, delta, dq, shape);                                                \
    }                                                                                                                   \
    KERNEL(attention_backward_keys_##DIM, 128,                                                                          \
           (const bf16* q, const bf16* k, const bf16* v, const bf16* dy, const float* logsumexp, const float* delta,    \
            bf16* dk, bf16* dv, int time, int heads, int kv_heads, int dim, int window, float scale)) {                 \
        Shape shape = {time, heads, kv_heads, time, window, scale};                                                     \
        backward_keys<DIM>(q, k, v, dy, logsumexp, delta, dk, dv, shape);                                               \
    }
KERNELS_FOR(32)
KERNELS_FOR(64)
KERNELS_FOR(128)
#endif
