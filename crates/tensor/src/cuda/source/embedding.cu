// Embedding lookup and its gradient.

// y[r, :] = table[ids[r], :]. What is no token shows as NaN.
template <typename V> __device__ __forceinline__ void embedding_row(const float* from, T* to, int channels, Team team) {
    for (int c = team.first * V::lanes; c < channels; c += team.step * V::lanes) {
        V elements;
        if (from) {
            load_floats(from + c, elements.values);
        } else {
#pragma unroll
            for (float& element : elements.values) element = NOT_A_NUMBER;
        }
        elements.store(to + c);
    }
}
KERNEL(embedding, 256,
       (const float* table, const int* ids, T* y, long long rows, int vocabulary, int channels, int threads,
        int blocks)) {
    Team team = team_of(threads, blocks);
    if (team.row >= rows) return;
    int id = ids[team.row];
    const float* from = id >= 0 && id < vocabulary ? table + static_cast<long long>(id) * channels : nullptr;
    T* to = y + team.row * channels;
    if (is_aligned(table) && is_aligned(y) && whole_vectors<T>(channels)) {
        embedding_row<VectorT>(from, to, channels, team);
    } else {
        embedding_row<Single<T>>(from, to, channels, team);
    }
}

// The gradient of `embedding`: dtable[ids[r], :] += dy[r, :], added up in an order that is the same in every run.
//
// A block owns every `gridDim.x`-th row of the table, so that frequent tokens, which tend to be neighbours, meet in
// no block. It reads all ids, notes where its own stand in a list, in order, and adds up the list whenever it may be
// full: sorted by row of the table, a warp per row, or all eight for a row with many positions, every eighth each.
constexpr int LISTED = 2048, TILE = 1024, MANY = 32;

struct Listed {
    int positions[LISTED], sorted[LISTED], begins[257], warps[8];
    unsigned char rows[LISTED];
    float sums[8][32 * VectorT::lanes];
};

// The sum of `x` over the threads before this one; `all` is that over the block.
__device__ __forceinline__ int sum_before(int x, int* warps, int& all) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, sum = x;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        int before = __shfl_up_sync(0xffffffffu, sum, distance);
        if (lane >= distance) sum += before;
    }
    if (lane == 31) warps[warp] = sum;
    __syncthreads();
    all = 0;
    int earlier = 0;
#pragma unroll
    for (int w = 0; w < 8; w++) {
        if (w == warp) earlier = all;
        all += warps[w];
    }
    __syncthreads();
    return earlier + sum - x;
}

// Where a lane's channel number `k` of a slice stands in a row: side by side if vectors may be read.
template <typename V> __device__ __forceinline__ int channel_of(int slice, int k) {
    int lane = threadIdx.x % 32;
    int within = V::lanes == 1 ? k * 32 + lane : lane * V::lanes + k;
    return slice * 32 * VectorT::lanes + within;
}

// This lane's channels of the sum of every `step`-th position of a list, in order; four rows are on their way at a time.
template <typename V>
__device__ __forceinline__ void sum_rows(const T* dy, const int* positions, int count, int step, int slice,
                                         int channels, float (&sums)[VectorT::lanes]) {
#pragma unroll
    for (int k = 0; k < VectorT::lanes; k += V::lanes) {
        int channel = channel_of<V>(slice, k);
        V sum = V(), rows[4];
        for (int i = 0; channel < channels && i < count; i += 4 * step) {
#pragma unroll
            for (int n = 0; n < 4; n++) {
                rows[n] = V();
                if (i + n * step < count)
                    rows[n].load(dy + static_cast<long long>(positions[i + n * step]) * channels + channel);
            }
#pragma unroll
            for (int n = 0; n < 4; n++)
#pragma unroll
                for (int j = 0; j < V::lanes; j++) sum.values[j] += rows[n].values[j];
        }
#pragma unroll
        for (int j = 0; j < V::lanes; j++) sums[k + j] = sum.values[j];
    }
}

// Adds this lane's channels to a row of the table.
template <typename V>
__device__ __forceinline__ void add_channels(const float (&sums)[VectorT::lanes], float* row, int slice, int channels) {
#pragma unroll
    for (int k = 0; k < VectorT::lanes; k += V::lanes) {
        int channel = channel_of<V>(slice, k);
        if (channel >= channels) continue;
        V total;
        load_floats(row + channel, total.values);
#pragma unroll
        for (int j = 0; j < V::lanes; j++) total.values[j] += sums[k + j];
        store_floats(total.values, row + channel);
    }
}

// Adds what the list names. `dtable` is the first row that the block owns.
template <typename V>
__device__ __forceinline__ void add_listed(const T* dy, float* dtable, Listed& list, int own, int channels) {
    const int lanes = VectorT::lanes;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float sums[lanes];
    for (int row = 0; row < own; row++) {
        int begin = list.begins[row], count = list.begins[row + 1] - begin;
        bool many = count > MANY;
        if (count == 0 || (!many && row % 8 != warp)) continue;
        const int* positions = list.sorted + begin;
        for (int slice = blockIdx.y; slice * 32 * lanes < channels; slice += gridDim.y) {
            int skipped = many ? warp : 0;
            sum_rows<V>(dy, positions + skipped, count - skipped, many ? 8 : 1, slice, channels, sums);
            if (many) {
#pragma unroll
                for (int k = 0; k < lanes; k++) list.sums[warp][k * 32 + lane] = sums[k];
                __syncthreads();
            }
            if (row % 8 == warp) {
                if (many) {
#pragma unroll
                    for (int k = 0; k < lanes; k++) {
                        sums[k] = 0.0f;
                        for (int w = 0; w < 8; w++) sums[k] += list.sums[w][k * 32 + lane];
                    }
                }
                add_channels<V>(sums, dtable + static_cast<long long>(row) * gridDim.x * channels, slice, channels);
            }
            if (many) __syncthreads();
        }
    }
}

// Sorts the list by row of the table, keeping the order within a row. A thread per row.
__device__ __forceinline__ void sort_listed(Listed& list, int count, int own) {
    int row = threadIdx.x, mine = 0, all;
    __syncthreads();
    if (row < own)
        for (int i = 0; i < count; i++) mine += list.rows[i] == row;
    int at = sum_before(mine, list.warps, all);
    list.begins[row] = at;
    if (row == 0) list.begins[256] = count;
    if (mine > 0)
        for (int i = 0; i < count; i++)
            if (list.rows[i] == row) list.sorted[at++] = list.positions[i];
    __syncthreads();
}

// `gridDim.x` is 2 to the power of `shift`; blocks along y share the slices of 32 vectors of channels.
KERNEL(embedding_backward, 256,
       (const T* dy, const int* ids, float* dtable, int rows, int vocabulary, int shift, int channels)) {
    __shared__ Listed list;
    int block = blockIdx.x, mask = gridDim.x - 1;
    int own = block < vocabulary ? ((vocabulary - 1 - block) >> shift) + 1 : 0;
    dtable += static_cast<long long>(block) * channels;
    bool vectors = is_aligned(dy) && is_aligned(dtable) && whole_vectors<T>(channels);
    int count = 0;
    for (int tile = 0; tile < rows; tile += TILE) {
        int begin = tile + threadIdx.x * 4, matches = 0, all;
        int found[4];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            int id = begin + k < rows ? ids[begin + k] : -1;
            // What is no token has no row.
            found[k] = id >= 0 && id < vocabulary && (id & mask) == block ? id >> shift : -1;
            matches += found[k] >= 0;
        }
        int at = count + sum_before(matches, list.warps, all);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (found[k] < 0) continue;
            list.positions[at] = begin + k;
            list.rows[at++] = static_cast<unsigned char>(found[k]);
        }
        count += all;
        bool last = tile + TILE >= rows;
        if (count == 0 || (!last && count <= LISTED - TILE)) continue;
        sort_listed(list, count, own);
        if (vectors) {
            add_listed<VectorT>(dy, dtable, list, own, channels);
        } else {
            add_listed<Single<T>>(dy, dtable, list, own, channels);
        }
        __syncthreads();
        count = 0;
    }
}
