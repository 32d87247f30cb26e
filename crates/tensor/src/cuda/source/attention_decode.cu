// Attention of a few queries to a KV cache: reads every key and value once, at the speed of memory.
//
// The keys are cut into chunks of fixed length, each the work of one block (Dao et al. 2023, "flash decoding"); a second
// kernel puts their results together in order. Chunks do not depend on batch or capacity, so that a query's result has
// the same bits whatever stands beside it.
//
// Within a block a key is read by a group of neighbouring lanes, each of which has some channels of the queries, and
// of the sums. Every group has softmax statistics of its own, which are put together at the end.
//
// Shapes: q, y [batch, time, heads, dim]; k, v [rows, capacity, kv_heads, dim]; logsumexp [batch, heads, time];
// partial [batch, heads, time, chunks, 2 + DIM]: peak and total of the softmax, sums.

const int CHUNK = 256;
const int WARPS = 4;
const float LOG2_E = 1.4426950408889634f;

__device__ __forceinline__ float negative_infinity() { return __uint_as_float(0xff800000u); }

// The first key and the one behind the last that a query at `position` sees.
__device__ __forceinline__ int first_seen(int position, int window) { return max(0, position - window); }

// 2 to the power of the difference, where a part that saw nothing has no weight.
__device__ __forceinline__ float weight_of(float peak, float largest) {
    return peak == negative_infinity() ? 0.0f : exp2f(peak - largest);
}

// How heads of up to DIM channels are cut up: a lane has `vectors` runs of `lanes` channels.
template <int DIM> struct Cut {
    static const int lanes = VectorT::lanes;
    static const int group = DIM / lanes < 32 ? DIM / lanes : 32;
    static const int vectors = DIM / (lanes * group);
    static const int keys = 32 / group;
};

// This lane's channels of a row; zero behind `dim`.
template <int DIM>
__device__ __forceinline__ void load_channels(float (&to)[Cut<DIM>::vectors][VectorT::lanes], const T* row, int dim, bool there) {
    const int lanes = VectorT::lanes;
    int own = threadIdx.x % Cut<DIM>::group;
#pragma unroll
    for (int n = 0; n < Cut<DIM>::vectors; n++) {
        int channel = (n * Cut<DIM>::group + own) * lanes;
        VectorT x = {};
        if (whole_vectors<T>(dim)) {
            if (there && channel < dim) x.load(row + channel);
        } else {
#pragma unroll
            for (int c = 0; c < lanes; c++)
                if (there && channel + c < dim) x.values[c] = to_float(row[channel + c]);
        }
#pragma unroll
        for (int c = 0; c < lanes; c++) to[n][c] = x.values[c];
    }
}

// ROWS queries that read one kv head: row r is head r % group of query r / group.
// blocks: x = chunks, y = kv heads × rows / ROWS, z = sequences.
template <int DIM, int ROWS>
__device__ __forceinline__ void decode(const T* q, const T* k, const T* v, T* y, float* logsumexp, float* partial,
                                       const int* starts, int time, int heads, int kv_heads, int capacity, int dim,
                                       int window, float scale) {
    typedef Cut<DIM> Sizes;
    // Keys of a group at a time, so that several reads are under way.
    const int UNROLL = DIM > 128 ? 1 : 4, lanes = VectorT::lanes;
    __shared__ float parts[WARPS][ROWS][DIM + 2];

    int sequence = blockIdx.z, chunk = blockIdx.x;
    int group = heads / kv_heads, rows = group * time;
    int blocks = (rows + ROWS - 1) / ROWS;
    int kv_head = blockIdx.y / blocks, first_row = blockIdx.y % blocks * ROWS;
    int start = starts ? starts[sequence] : 0;

    int positions[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) positions[r] = start + min(first_row + r, rows - 1) / group;
    int lowest = max(first_seen(positions[0], window), chunk * CHUNK);
    int end = min(min(positions[ROWS - 1] + 1, capacity), (chunk + 1) * CHUNK);
    if (lowest >= end) return;

    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int step = kv_heads * dim;
    long long base = static_cast<long long>(sequence) * capacity * step + kv_head * dim;
    k += base, v += base;

    float queries[ROWS][Sizes::vectors][lanes], sums[ROWS][Sizes::vectors][lanes];
    float peaks[ROWS], totals[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        int row = first_row + r, head = kv_head * group + row % group;
        const T* from = q + ((static_cast<long long>(sequence) * time + row / group) * heads + head) * dim;
        load_channels<DIM>(queries[r], from, dim, row < rows);
        peaks[r] = negative_infinity(), totals[r] = 0.0f;
#pragma unroll
        for (int n = 0; n < Sizes::vectors; n++)
#pragma unroll
            for (int c = 0; c < lanes; c++) queries[r][n][c] *= scale * LOG2_E, sums[r][n][c] = 0.0f;
    }

    // Keys lie at fixed places within the chunk, wherever the window begins.
    int first = chunk * CHUNK + (lowest - chunk * CHUNK) / (WARPS * Sizes::keys * UNROLL) * (WARPS * Sizes::keys * UNROLL);
    for (int next = first; next < end; next += WARPS * Sizes::keys * UNROLL) {
        int key = next + warp * Sizes::keys + lane / Sizes::group;
        float scores[ROWS][UNROLL];
        float channels[UNROLL][Sizes::vectors][lanes];
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
            int at = key + u * WARPS * Sizes::keys;
            load_channels<DIM>(channels[u], k + static_cast<long long>(at) * step, dim, at < end);
        }
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
            int at = key + u * WARPS * Sizes::keys;
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                float sum = 0.0f;
#pragma unroll
                for (int n = 0; n < Sizes::vectors; n++)
#pragma unroll
                    for (int c = 0; c < lanes; c++) sum = __fmaf_rn(queries[r][n][c], channels[u][n][c], sum);
#pragma unroll
                for (int distance = Sizes::group / 2; distance > 0; distance /= 2)
                    sum += __shfl_xor_sync(0xffffffffu, sum, distance);
                bool seen = at <= positions[r] && positions[r] - at <= window && at < end;
                scores[r][u] = seen ? sum : negative_infinity();
            }
        }
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
            int at = key + u * WARPS * Sizes::keys;
            load_channels<DIM>(channels[u], v + static_cast<long long>(at) * step, dim, at < end);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            float peak = peaks[r];
#pragma unroll
            for (int u = 0; u < UNROLL; u++) peak = fmaxf(peak, scores[r][u]);
            float shrink = weight_of(peaks[r], peak);
            peaks[r] = peak;
            totals[r] *= shrink;
#pragma unroll
            for (int n = 0; n < Sizes::vectors; n++)
#pragma unroll
                for (int c = 0; c < lanes; c++) sums[r][n][c] *= shrink;
#pragma unroll
            for (int u = 0; u < UNROLL; u++) {
                float weight = weight_of(scores[r][u], peak);
                totals[r] += weight;
#pragma unroll
                for (int n = 0; n < Sizes::vectors; n++)
#pragma unroll
                    for (int c = 0; c < lanes; c++) sums[r][n][c] = __fmaf_rn(weight, channels[u][n][c], sums[r][n][c]);
            }
        }
    }

    // The groups of a warp, then the warps.
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int distance = Sizes::group; distance < 32; distance *= 2) {
            float peak = fmaxf(peaks[r], __shfl_xor_sync(0xffffffffu, peaks[r], distance));
            float weight = weight_of(peaks[r], peak);
            peaks[r] = peak;
            totals[r] *= weight;
            totals[r] += __shfl_xor_sync(0xffffffffu, totals[r], distance);
#pragma unroll
            for (int n = 0; n < Sizes::vectors; n++)
#pragma unroll
                for (int c = 0; c < lanes; c++) {
                    sums[r][n][c] *= weight;
                    sums[r][n][c] += __shfl_xor_sync(0xffffffffu, sums[r][n][c], distance);
                }
        }
        if (lane < Sizes::group) {
#pragma unroll
            for (int n = 0; n < Sizes::vectors; n++)
#pragma unroll
                for (int c = 0; c < lanes; c++) parts[warp][r][2 + (n * Sizes::group + lane) * lanes + c] = sums[r][n][c];
            if (lane == 0) parts[warp][r][0] = peaks[r], parts[warp][r][1] = totals[r];
        }
    }
    __syncthreads();
    for (int r = 0; r < ROWS && first_row + r < rows; r++) {
        float peak = parts[0][r][0];
#pragma unroll
        for (int w = 1; w < WARPS; w++) peak = fmaxf(peak, parts[w][r][0]);
        float weights[WARPS], total = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            weights[w] = weight_of(parts[w][r][0], peak);
            total += weights[w] * parts[w][r][1];
        }
        int row = first_row + r, head = kv_head * group + row % group;
        long long statistic = (static_cast<long long>(sequence) * heads + head) * time + row / group;
        T* to = y + ((static_cast<long long>(sequence) * time + row / group) * heads + head) * dim;
        float* part = partial + (statistic * gridDim.x + chunk) * (DIM + 2);
        bool alone = gridDim.x == 1;
        if (threadIdx.x == 0) {
            if (alone) logsumexp[statistic] = (peak + log2f(total)) / LOG2_E;
            else part[0] = peak, part[1] = total;
        }
        for (int channel = threadIdx.x; channel < dim; channel += 32 * WARPS) {
            float sum = 0.0f;
#pragma unroll
            for (int w = 0; w < WARPS; w++) sum += weights[w] * parts[w][r][2 + channel];
            if (alone) to[channel] = from_float<T>(sum / total);
            else part[2 + channel] = sum;
        }
    }
}

// The chunks of one query and head. blocks: x = batch × heads × time.
template <int DIM>
__device__ __forceinline__ void combine(const float* partial, T* y, float* logsumexp, const int* starts, int chunks, int time,
                                        int heads, int capacity, int dim, int window) {
    int statistic = blockIdx.x;
    int t = statistic % time, head = statistic / time % heads, sequence = statistic / time / heads;
    int position = min((starts ? starts[sequence] : 0) + t, capacity - 1);
    int first = first_seen(position, window) / CHUNK, last = position / CHUNK;
    partial += static_cast<long long>(statistic) * chunks * (DIM + 2);

    float peak = negative_infinity(), total = 0.0f;
    for (int chunk = first; chunk <= last; chunk++) peak = fmaxf(peak, partial[chunk * (DIM + 2)]);
    for (int chunk = first; chunk <= last; chunk++)
        total += weight_of(partial[chunk * (DIM + 2)], peak) * partial[chunk * (DIM + 2) + 1];
    if (threadIdx.x == 0) logsumexp[statistic] = (peak + log2f(total)) / LOG2_E;
    T* to = y + ((static_cast<long long>(sequence) * time + t) * heads + head) * dim;
    for (int channel = threadIdx.x; channel < dim; channel += blockDim.x) {
        float sum = 0.0f;
        for (int chunk = first; chunk <= last; chunk++) {
            const float* part = partial + chunk * (DIM + 2);
            sum += weight_of(part[0], peak) * part[2 + channel];
        }
        to[channel] = from_float<T>(sum / total);
    }
}

#define DECODE_KERNEL(DIM, ROWS)                                                                                      \
    KERNEL(attention_decode_##DIM##_##ROWS, 128,                                                                      \
           (const T* q, const T* k, const T* v, T* y, float* logsumexp, float* partial, const int* starts, int time,  \
            int heads, int kv_heads, int capacity, int dim, int window, float scale)) {                               \
        decode<DIM, ROWS>(q, k, v, y, logsumexp, partial, starts, time, heads, kv_heads, capacity, dim, window, scale); \
    }
#define COMBINE_KERNEL(DIM)                                                                                           \
    KERNEL(attention_combine_##DIM, 128,                                                                              \
           (const float* partial, T* y, float* logsumexp, const int* starts, int chunks, int time, int heads,         \
            int capacity, int dim, int window)) {                                                                     \
        combine<DIM>(partial, y, logsumexp, starts, chunks, time, heads, capacity, dim, window);                      \
    }
DECODE_KERNEL(32, 1)
DECODE_KERNEL(32, 4)
DECODE_KERNEL(64, 1)
DECODE_KERNEL(64, 4)
DECODE_KERNEL(128, 1)
DECODE_KERNEL(128, 4)
DECODE_KERNEL(512, 1)
COMBINE_KERNEL(32)
COMBINE_KERNEL(64)
COMBINE_KERNEL(128)
COMBINE_KERNEL(512)
