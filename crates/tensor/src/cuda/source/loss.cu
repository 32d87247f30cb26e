// The loss: from a row of logits to its negative log-likelihood and to the gradient by the logits before the soft cap.

// Below every logit, and finite, so that differences of two of them are numbers.
#define LEAST (-3.402823466e38f)

// `cap` 0: there is none.
__device__ __forceinline__ float soft_capped(float z, float cap, float inverse) {
    return cap == 0.0f ? z : cap * tanhf(z * inverse);
}

// The sum of exp(logit − peak) over the logits a thread has seen, and their peak.
struct Exponentials {
    float peak, total;
    template <int N> __device__ __forceinline__ void add(const float (&logits)[N]) {
        float higher = peak;
#pragma unroll
        for (int i = 0; i < N; i++) higher = fmaxf(higher, logits[i]);
        total *= expf(peak - higher);
        peak = higher;
#pragma unroll
        for (int i = 0; i < N; i++) total += expf(logits[i] - peak);
    }
};

// One block per row. Rows of `logits` and `dlogits` have `padded` columns, of which the first `vocab` are tokens.
// `dlogits` may be null: no gradients.
KERNEL(nll_rows, 1024, (const float* logits, const int* targets, const float* weights, float* nll, T* dlogits, int vocab,
                        int padded, float cap)) {
    __shared__ float shared[32];
    long long row = blockIdx.x;
    const float* from = logits + row * padded;
    float inverse = cap == 0.0f ? 0.0f : 1.0f / cap;
    int target = targets[row];
    float weight = weights[row];
    const int lanes = VectorT::lanes;
    bool whole = whole_vectors<T>(padded);

    float peak = 0.0f, share = 0.0f;
    if (target >= 0) {
        Exponentials mine = {LEAST, 0.0f};
        int first = 0;
        if (padded % 4 == 0) {
            first = vocab - vocab % 4;
            for (int col = threadIdx.x * 4; col < first; col += blockDim.x * 4) {
                Vector<float> z;
                z.load(from + col);
#pragma unroll
                for (int i = 0; i < 4; i++) z.values[i] = soft_capped(z.values[i], cap, inverse);
                mine.add(z.values);
            }
        }
        for (int col = first + threadIdx.x; col < vocab; col += blockDim.x) {
            float one[1] = {soft_capped(from[col], cap, inverse)};
            mine.add(one);
        }
        peak = block_max(mine.peak, shared);
        float total = block_sum(mine.total * expf(mine.peak - peak), shared);
        share = weight / total;
        if (threadIdx.x == 0) {
            // A target that is no token is a fault of the caller, and must show.
            float wanted = target < vocab ? soft_capped(from[target], cap, inverse) : __uint_as_float(0x7fc00000u);
            nll[row] = peak + logf(total) - wanted;
        }
    } else if (threadIdx.x == 0) {
        nll[row] = 0.0f;
    }
    if (!dlogits) return;

    T* to = dlogits + row * padded;
    bool silent = target < 0 || weight == 0.0f;
    int step = whole ? lanes : 1;
    for (int col = threadIdx.x * step; col < padded; col += blockDim.x * step) {
        VectorT gradient;
#pragma unroll
        for (int i = 0; i < lanes; i++) gradient.values[i] = 0.0f;
        if (whole && col + lanes <= vocab && !silent) {
#pragma unroll
            for (int i = 0; i < lanes; i += 4) {
                Vector<float> z;
                z.load(from + col + i);
#pragma unroll
                for (int j = 0; j < 4; j++) gradient.values[i + j] = z.values[j];
            }
        } else if (!silent) {
#pragma unroll
            for (int i = 0; i < lanes; i++) {
                if (i < step && col + i < vocab) gradient.values[i] = from[col + i];
            }
        }
#pragma unroll
        for (int i = 0; i < lanes; i++) {
            if (i >= step) break;
            float logit = soft_capped(gradient.values[i], cap, inverse);
            float t = logit * inverse;
            float wanted = col + i == target ? weight : 0.0f;
            float dlogit = share * expf(logit - peak) - wanted;
            gradient.values[i] = silent || col + i >= vocab ? 0.0f : dlogit * (1.0f - t * t);
        }
        if (whole) {
            gradient.store(to + col);
        } else {
            to[col] = from_float<T>(gradient.values[0]);
        }
    }
}

// Σ weight·nll, by one block.
KERNEL(nll_total, 1024, (const float* nll, const float* weights, float* loss, int rows)) {
    __shared__ double sums[1024];
    double sum = 0.0;
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        sum += static_cast<double>(nll[row]) * static_cast<double>(weights[row]);
    }
    sums[threadIdx.x] = sum;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *loss = static_cast<float>(sums[0]);
}

// logit = cap·tanh(logit / cap) in place.
KERNEL(soft_cap, 256, (float* logits, float cap, long long len)) {
    float inverse = 1.0f / cap;
    long long vectors = len / 4;
    for (long long i = grid_first(); i < vectors; i += grid_step()) {
        Vector<float> z;
        z.load(logits + i * 4);
#pragma unroll
        for (int j = 0; j < 4; j++) z.values[j] = soft_capped(z.values[j], cap, inverse);
        z.store(logits + i * 4);
    }
    for (long long i = vectors * 4 + grid_first(); i < len; i += grid_step()) {
        logits[i] = soft_capped(logits[i], cap, inverse);
    }
}
