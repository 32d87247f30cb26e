// Gated value embedding and smear, forward and backward.
//
// Gradients of gates are sums over all rows: a block works on `block_rows` rows, keeps what each of them gives in shared
// memory, and leaves one partial sum per entry of the gate; `add_partials` adds those up, always in the same order.

__device__ __forceinline__ float sigmoid(float z) { return 1.0f / (1.0f + expf(-z)); }

// body(v, at) for the columns before `end` that lane `lane` of `lanes` has in a row of `cols`. Where rows are whole
// vectors `v` is one, and the last may reach beyond `end`.
template <typename F> __device__ __forceinline__ void for_columns_before(int end, int lane, int lanes, int cols, F body) {
    if (whole_vectors<T>(cols)) {
        for (int at = lane * VectorT::lanes; at < end; at += lanes * VectorT::lanes) body(VectorT(), at);
    } else {
        for (int at = lane; at < end; at += lanes) body(Single<T>(), at);
    }
}
template <typename F> __device__ __forceinline__ void for_columns(int lane, int lanes, int cols, F body) {
    for_columns_before(cols, lane, lanes, cols, body);
}

// gate · x[..n] by a group of lanes, known to each; the whole warp must come here.
__device__ __forceinline__ float gate_product(const T* x, const float* gate, int n, int lane, int lanes) {
    float sum = 0.0f;
    for (int i = lane; i < n; i += lanes) sum += to_float(x[i]) * gate[i];
    return group_sum(sum, lanes);
}

// a · b over a row by a group of lanes; likewise.
__device__ __forceinline__ float row_product(const T* a, const T* b, int cols, int lane, int lanes) {
    float sum = 0.0f;
    for_columns(lane, lanes, cols, [&](auto v, int at) {
        decltype(v) w;
        v.load(a + at), w.load(b + at);
#pragma unroll
        for (int j = 0; j < decltype(v)::lanes; j++) sum += v.values[j] * w.values[j];
    });
    return group_sum(sum, lanes);
}

// One group of `group` lanes for each row and kv head.
KERNEL(value_gate, 256, (const T* v, const T* x, const T* ve, const float* gate, T* y, int total, int kv_heads, int head_dim,
                         int channels, int gate_channels, int group)) {
    int lane = threadIdx.x & (group - 1);
    unsigned index = blockIdx.x * (blockDim.x / group) + threadIdx.x / group;
    bool inside = index < total;
    // Groups without a head go along: sums are over whole warps.
    index = inside ? index : total - 1;
    unsigned row = index / kv_heads, head = index - row * kv_heads;
    const T* own = x + static_cast<long long>(row) * channels;
    float share = 3.0f * sigmoid(gate_product(own, gate + head * gate_channels, gate_channels, lane, group));
    if (!inside) return;
    long long start = static_cast<long long>(index) * head_dim;
    for_columns(lane, group, head_dim, [&](auto value, int at) {
        decltype(value) embedding;
        value.load(v + start + at), embedding.load(ve + start + at);
#pragma unroll
        for (int j = 0; j < decltype(value)::lanes; j++) value.values[j] += share * embedding.values[j];
        value.store(y + start + at);
    });
}

// partials[entry, block] = Σ slopes[row, entry / n]·x[row, entry % n] over the block's rows.
__device__ __forceinline__ void gate_partials(
    const T* x, const float* slopes, float* partials, int rows, int heads, int n, int channels) {
    for (int entry = threadIdx.x; entry < heads * n; entry += blockDim.x) {
        int head = entry / n, channel = entry - head * n;
        float sum = 0.0f;
#pragma unroll 8
        for (int row = 0; row < rows; row++) {
            sum += slopes[row * heads + head] * to_float(x[static_cast<long long>(row) * channels + channel]);
        }
        partials[static_cast<long long>(entry) * gridDim.x + blockIdx.x] = sum;
    }
}

// Dynamic shared memory: a float for each row and head of the block.
KERNEL(value_gate_backward, 256, (const T* x, const T* ve, const T* dy, const float* gate, T* dve, T* dx, float* partials,
                                  int rows, int block_rows, int kv_heads, int head_dim, int channels, int gate_channels,
                                  int group, int accumulate)) {
    DYNAMIC_SHARED(float, slopes);
    int n = gate_channels;
    int first = blockIdx.x * block_rows;
    int own_rows = min(block_rows, rows - first);
    x += static_cast<long long>(first) * channels;
    dx += static_cast<long long>(first) * channels;

    // By row and head: dve, and the slope dz of the gate's product.
    int lane = threadIdx.x & (group - 1), groups = blockDim.x / group, total = own_rows * kv_heads;
    for (int base = 0; base < total; base += groups) {
        int task = base + threadIdx.x / group;
        bool inside = task < total;
        task = inside ? task : total - 1;
        int row = task / kv_heads, head = task - row * kv_heads;
        float probability =
            sigmoid(gate_product(x + static_cast<long long>(row) * channels, gate + head * n, n, lane, group));
        long long start = (static_cast<long long>(first) * kv_heads + task) * head_dim;
        float along = 0.0f;
        for_columns(lane, group, head_dim, [&](auto gradient, int at) {
            decltype(gradient) embedding;
            gradient.load(dy + start + at), embedding.load(ve + start + at);
#pragma unroll
            for (int j = 0; j < decltype(gradient)::lanes; j++) {
                along += gradient.values[j] * embedding.values[j];
                gradient.values[j] *= 3.0f * probability;
            }
            if (inside) gradient.store(dve + start + at);
        });
        along = group_sum(along, group);
        if (inside && lane == 0) slopes[task] = along * 3.0f * probability * (1.0f - probability);
    }
    __syncthreads();

    // By row: dx, where only the gate's channels have a gradient.
    int touched = accumulate ? n : channels;
    for (int row = threadIdx.x / 32; row < own_rows; row += blockDim.x / 32) {
        T* out = dx + static_cast<long long>(row) * channels;
        for_columns_before(touched, threadIdx.x % 32, 32, channels, [&](auto gradient, int at) {
#pragma unroll
            for (int j = 0; j < decltype(gradient)::lanes; j++) gradient.values[j] = 0.0f;
            if (accumulate) gradient.load(out + at);
            if (at < n) {
                for (int head = 0; head < kv_heads; head++) {
                    float slope = slopes[row * kv_heads + head];
#pragma unroll
                    for (int j = 0; j < decltype(gradient)::lanes; j++) {
                        if (at + j < n) gradient.values[j] += slope * gate[head * n + at + j];
                    }
                }
            }
            gradient.store(out + at);
        });
    }

    gate_partials(x, slopes, partials, own_rows, kv_heads, n, channels);
}

// first[i] += Σ partials[i], and after `first_len` of them second[…] likewise: a block for each, `count` sums for each.
KERNEL(add_partials, 128, (const float* partials, float* first, int first_len, float* second, int count)) {
    __shared__ float shared[32];
    const float* own = partials + static_cast<long long>(blockIdx.x) * count;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += own[i];
    sum = block_sum(sum, shared);
    if (threadIdx.x > 0) return;
    int index = blockIdx.x;
    if (index < first_len) {
        first[index] += sum;
    } else {
        second[index - first_len] += sum;
    }
}

// A warp for each row.
KERNEL(smear, 256, (const T* x, const T* previous, const float* gate, const float* lambda, T* y, int rows, int time,
                    int channels, int gate_channels)) {
    int lane = threadIdx.x % 32;
    unsigned row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    unsigned sequence = row / time, step = row - sequence * time;
    const T* own = x + static_cast<long long>(row) * channels;
    const T* before = nullptr;
    if (step > 0) {
        before = own - channels;
    } else if (previous) {
        before = previous + static_cast<long long>(sequence) * channels;
    }
    float share = *lambda * sigmoid(gate_product(own, gate, gate_channels, lane, 32));
    T* out = y + static_cast<long long>(row) * channels;
    for_columns(lane, 32, channels, [&](auto value, int at) {
        value.load(own + at);
        if (before) {
            decltype(value) earlier;
            earlier.load(before + at);
#pragma unroll
            for (int j = 0; j < decltype(value)::lanes; j++) value.values[j] += share * earlier.values[j];
        }
        value.store(out + at);
    });
}

// dx_t = dy_t + λ·σ(z_{t+1})·dy_{t+1} + gate·dz_t, a warp for each row; partials for the gate and, behind them, for λ.
// Dynamic shared memory: dz and dλ of each row of the block.
KERNEL(smear_backward, 256, (const T* x, const T* dy, const float* gate, const float* lambda, T* dx, float* partials,
                             int rows, int block_rows, int time, int channels, int gate_channels)) {
    DYNAMIC_SHARED(float, slopes);
    float* by_lambda = slopes + block_rows;
    int n = gate_channels, lane = threadIdx.x % 32;
    int first = blockIdx.x * block_rows;
    int own_rows = min(block_rows, rows - first);
    long long start = static_cast<long long>(first) * channels;
    x += start, dy += start, dx += start;

    for (int row = threadIdx.x / 32; row < own_rows; row += blockDim.x / 32) {
        int step = (first + row) % time;
        bool has_next = step + 1 < time;
        const T* here = x + static_cast<long long>(row) * channels;
        const T* dy_here = dy + static_cast<long long>(row) * channels;
        const T* dy_next = dy_here + channels;
        T* out = dx + static_cast<long long>(row) * channels;
        float share = 0.0f, dz = 0.0f, dlambda = 0.0f;
        if (has_next) share = *lambda * sigmoid(gate_product(here + channels, gate, n, lane, 32));
        if (step > 0) {
            float probability = sigmoid(gate_product(here, gate, n, lane, 32));
            float along = row_product(dy_here, here - channels, channels, lane, 32);
            dlambda = probability * along;
            dz = *lambda * probability * (1.0f - probability) * along;
        }
        if (lane == 0) slopes[row] = dz, by_lambda[row] = dlambda;
        for_columns(lane, 32, channels, [&](auto gradient, int at) {
            gradient.load(dy_here + at);
            if (has_next) {
                decltype(gradient) next;
                next.load(dy_next + at);
#pragma unroll
                for (int j = 0; j < decltype(gradient)::lanes; j++) gradient.values[j] += share * next.values[j];
            }
#pragma unroll
            for (int j = 0; j < decltype(gradient)::lanes; j++) {
                if (at + j < n) gradient.values[j] += dz * gate[at + j];
            }
            gradient.store(out + at);
        });
    }
    __syncthreads();

    gate_partials(x, slopes, partials, own_rows, 1, n, channels);
    if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (int row = 0; row < own_rows; row++) sum += by_lambda[row];
        partials[static_cast<long long>(n) * gridDim.x + blockIdx.x] = sum;
    }
}
