// Choosing tokens, as ops/choose.rs says: one block per choice, its threads a power of two from 32 to 1024. Masses and
// their sums are in double precision, like the host's.

// As cuda/sample.rs has it. `top_p` is negative where there is none.
struct Choice {
    double draw;
    float temperature, top_p;
    int row;
    // So many of the likeliest, sorted; or one of these.
    int top_k;
};
#define ALL_TOKENS 0
#define ON_THE_HOST (-1)

#define CANDIDATES 1024
#define BINS 2048
#define STRETCHES 256

typedef unsigned long long Candidate;

// What the threads of a block share.
struct Shared {
    double masses[CANDIDATES];
    Candidate candidates[CANDIDATES];
    int bins[BINS];
    float logits[32];
    int counts[32];
    int found[3], next;
};

// Larger for larger logits, as unsigned integers; −0 is below +0, NaN is −∞.
__device__ __forceinline__ unsigned order_of(float logit) {
    unsigned bits = logit != logit ? 0xff800000u : __float_as_uint(logit);
    return bits ^ (bits & 0x80000000u ? 0xffffffffu : 0x80000000u);
}
__device__ __forceinline__ float logit_of(unsigned order) {
    return __uint_as_float(order & 0x80000000u ? order ^ 0x80000000u : ~order);
}

// Higher logits first, then lower ids: the larger number first.
__device__ __forceinline__ Candidate candidate(unsigned order, int id) {
    return static_cast<Candidate>(order) << 32 | ~static_cast<unsigned>(id);
}

__device__ __forceinline__ double mass_of(float logit, float peak, float temperature) {
    if (logit != logit) return 0.0;
    return exp(static_cast<double>(logit - peak) / static_cast<double>(temperature));
}

struct Likeliest {
    float logit;
    int id;
    // A comparison with NaN is false.
    __device__ __forceinline__ void meet(float other, int other_id) {
        if (other > logit || (other == logit && other_id < id)) logit = other, id = other_id;
    }
};

// The lowest id with the largest logit, known to every thread; 0 and −∞ where no token is possible.
static __device__ Likeliest likeliest(const float* logits, int vocab, Shared& shared) {
    Likeliest best = {__uint_as_float(0xff800000u), 0x7fffffff};
#pragma unroll 4
    for (int id = threadIdx.x; id < vocab; id += blockDim.x) best.meet(logits[id], id);
    for (int distance = 16; distance > 0; distance /= 2) {
        float logit = __shfl_xor_sync(0xffffffffu, best.logit, distance);
        int id = __shfl_xor_sync(0xffffffffu, best.id, distance);
        best.meet(logit, id);
    }
    int warps = blockDim.x / 32;
    if (threadIdx.x % 32 == 0) {
        shared.logits[threadIdx.x / 32] = best.logit;
        shared.counts[threadIdx.x / 32] = best.id;
    }
    __syncthreads();
    for (int warp = 0; warp < warps; warp++) best.meet(shared.logits[warp], shared.counts[warp]);
    __syncthreads();
    if (best.id == 0x7fffffff) best.id = 0;
    return best;
}

// The sum over the threads before this one; `total` is that over all.
static __device__ int block_before(int x, int* total, Shared& shared) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    int sum = x;
    for (int distance = 1; distance < 32; distance *= 2) {
        int other = __shfl_up_sync(0xffffffffu, sum, distance);
        if (lane >= distance) sum += other;
    }
    if (lane == 31) shared.counts[warp] = sum;
    __syncthreads();
    int before = sum - x;
    *total = 0;
    for (int other = 0; other < warps; other++) {
        if (other < warp) before += shared.counts[other];
        *total += shared.counts[other];
    }
    __syncthreads();
    return before;
}

// Which logit is the k-th, and how many of the k are equal to it.
struct Threshold {
    unsigned order;
    int wanted, equal;
};

// Digit by digit from the highest, with a count of each digit among the logits that agree so far.
static __device__ Threshold threshold(const float* logits, int vocab, int k, Shared& shared) {
    unsigned decided = 0, order = 0;
    int equal = 0;
    for (int pass = 0; pass < 3; pass++) {
        int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
        unsigned digits = pass == 2 ? 1023u : 2047u;
        for (int bin = threadIdx.x; bin < BINS; bin += blockDim.x) shared.bins[bin] = 0;
        __syncthreads();
#pragma unroll 4
        for (int id = threadIdx.x; id < vocab; id += blockDim.x) {
            unsigned other = order_of(logits[id]);
            if ((other & decided) == order) atomicAdd(&shared.bins[other >> shift & digits], 1);
        }
        __syncthreads();
        // Each thread has a run of bins, the first one the highest.
        int run = BINS / blockDim.x, highest = BINS - 1 - threadIdx.x * run;
        int mine = 0, total;
        for (int i = 0; i < run; i++) mine += shared.bins[highest - i];
        int before = block_before(mine, &total, shared);
        if (before < k && k <= before + mine) {
            int bin = highest;
            while (k > before + shared.bins[bin]) before += shared.bins[bin--];
            shared.found[0] = bin, shared.found[1] = before, shared.found[2] = shared.bins[bin];
        }
        __syncthreads();
        order |= static_cast<unsigned>(shared.found[0]) << shift;
        k -= shared.found[1];
        equal = shared.found[2];
        decided |= digits << shift;
        __syncthreads();
    }
    return {order, k, equal};
}

// Fills `shared.candidates` with the k likeliest, sorted.
static __device__ void sort_likeliest(const float* logits, int vocab, int k, Shared& shared) {
    int size = 32;
    while (size < k) size *= 2;
    for (int i = threadIdx.x; i < size; i += blockDim.x) shared.candidates[i] = 0;
    if (threadIdx.x == 0) shared.next = 0;
    Threshold least = threshold(logits, vocab, k, shared);
    bool all_equals = least.equal == least.wanted;
    for (int id = threadIdx.x; id < vocab; id += blockDim.x) {
        unsigned order = order_of(logits[id]);
        if (order > least.order || (order == least.order && all_equals)) {
            shared.candidates[atomicAdd(&shared.next, 1)] = candidate(order, id);
        }
    }
    // Not all of those that are equal to the last: the lower ids.
    int taken = 0;
    for (int first = 0; !all_equals && first < vocab && taken < least.wanted; first += blockDim.x) {
        int id = first + threadIdx.x, total;
        int equal = id < vocab && order_of(logits[id]) == least.order;
        int place = taken + block_before(equal, &total, shared);
        if (equal && place < least.wanted) shared.candidates[k - 1 - place] = candidate(least.order, id);
        taken += total;
    }
    __syncthreads();
    // Bitonic sort (Batcher 1968), the largest first.
    for (int length = 2; length <= size; length *= 2) {
        for (int distance = length / 2; distance > 0; distance /= 2) {
            for (int i = threadIdx.x; i < size; i += blockDim.x) {
                int other = i ^ distance;
                if (other > i) {
                    Candidate a = shared.candidates[i], b = shared.candidates[other];
                    bool descending = (i & length) == 0;
                    if ((a < b) == descending) shared.candidates[i] = b, shared.candidates[other] = a;
                }
            }
            __syncthreads();
        }
    }
}

// One of the k sorted candidates, step by step as the host does it. By one thread.
static __device__ int draw_sorted(const Choice& choice, int k, const Shared& shared) {
    double total = 0.0;
    for (int i = 0; i < k; i++) total += shared.masses[i];
    int count = k;
    if (choice.top_p >= 0.0f) {
        double enough = total * static_cast<double>(choice.top_p), held = 0.0;
        count = 0;
        while (count < k && held < enough) held += shared.masses[count++];
        count = max(count, 1);
        total = 0.0;
        for (int i = 0; i < count; i++) total += shared.masses[i];
    }
    double left = __dmul_rn(choice.draw, total);
    int last = 0;
    for (int i = 0; i < count; i++) {
        double mass = shared.masses[i];
        if (!(mass > 0.0)) continue;
        last = static_cast<int>(~static_cast<unsigned>(shared.candidates[i]));
        left -= mass;
        if (left < 0.0) break;
    }
    return last;
}

// One of all tokens, in the order of their ids: first the stretch of the vocabulary in which the sum passes the draw,
// then the token. Every thread must come here; the first warp knows the result.
static __device__ int draw_any(const float* logits, int vocab, const Choice& choice, float peak, Shared& shared) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    // Whole warps.
    int length = ((vocab + STRETCHES - 1) / STRETCHES + 31) / 32 * 32;
    for (int stretch = warp; stretch < STRETCHES; stretch += warps) {
        long long first = static_cast<long long>(stretch) * length;
        double sum = 0.0;
        for (long long id = first + lane; id < first + length && id < vocab; id += 32) {
            sum += mass_of(logits[id], peak, choice.temperature);
        }
        for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
        if (lane == 0) shared.masses[stretch] = sum;
    }
    __syncthreads();
    if (warp > 0) return 0;

    double total = 0.0;
    for (int stretch = 0; stretch < STRETCHES; stretch++) total += shared.masses[stretch];
    double left = __dmul_rn(choice.draw, total);
    int last = -1;
    bool found = false;
    for (int stretch = 0; stretch < STRETCHES && !found; stretch++) {
        double sum = shared.masses[stretch];
        if (!(sum > 0.0)) continue;
        last = stretch;
        found = left - sum < 0.0;
        if (!found) left -= sum;
    }
    if (last < 0) return 0;
    // Rounding, at the end of the last one: its last token.
    if (!found) left = __longlong_as_double(0x7ff0000000000000ll);
    int id = 0;
    for (long long first = static_cast<long long>(last) * length; first < vocab; first += 32) {
        double mass = first + lane < vocab ? mass_of(logits[first + lane], peak, choice.temperature) : 0.0;
        double sum = mass;
        for (int distance = 1; distance < 32; distance *= 2) {
            double other = __shfl_up_sync(0xffffffffu, sum, distance);
            if (lane >= distance) sum += other;
        }
        unsigned possible = __ballot_sync(0xffffffffu, mass > 0.0);
        unsigned past = __ballot_sync(0xffffffffu, mass > 0.0 && left - sum < 0.0);
        if (past) return static_cast<int>(first) + __ffs(static_cast<int>(past)) - 1;
        if (possible) id = static_cast<int>(first) + 31 - __clz(static_cast<int>(possible));
        left -= __shfl_sync(0xffffffffu, sum, 31);
    }
    return id;
}

KERNEL(choose, 1024, (const float* logits, const Choice* choices, int* ids, int vocab)) {
    __shared__ Shared shared;
    Choice choice = choices[blockIdx.x];
    if (choice.top_k == ON_THE_HOST) return;
    logits += static_cast<long long>(choice.row) * vocab;
    int id;
    if (choice.temperature == 0.0f) {
        id = likeliest(logits, vocab, shared).id;
    } else if (choice.top_k == ALL_TOKENS) {
        Likeliest best = likeliest(logits, vocab, shared);
        bool none = best.logit == __uint_as_float(0xff800000u);
        id = none ? best.id : draw_any(logits, vocab, choice, best.logit, shared);
    } else {
        int k = choice.top_k;
        sort_likeliest(logits, vocab, k, shared);
        float peak = logit_of(static_cast<unsigned>(shared.candidates[0] >> 32));
        if (peak == __uint_as_float(0xff800000u)) {
            id = likeliest(logits, vocab, shared).id;
        } else {
            for (int i = threadIdx.x; i < k; i += blockDim.x) {
                float logit = logit_of(static_cast<unsigned>(shared.candidates[i] >> 32));
                shared.masses[i] = mass_of(logit, peak, choice.temperature);
            }
            __syncthreads();
            id = threadIdx.x == 0 ? draw_sorted(choice, k, shared) : 0;
        }
    }
    if (threadIdx.x == 0) ids[blockIdx.x] = id;
}
