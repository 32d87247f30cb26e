// Functions of single elements, and sums of products.

// y[i] = f(x[i]), or dx[i] = f(x[i], dy[i]) and added to it.
template <typename F> __device__ __forceinline__ void map(const T* x, T* y, long long len, F f) {
    for_elements<T>(len, is_aligned(x) && is_aligned(y), [=](auto elements, long long i) {
        elements.load(x + i);
#pragma unroll
        for (int k = 0; k < elements.lanes; k++) elements.values[k] = f(elements.values[k]);
        elements.store(y + i);
    });
}
template <typename F>
__device__ __forceinline__ void map2(const T* a, const T* b, T* y, long long len, int accumulate, F f) {
    for_elements<T>(len, is_aligned(a) && is_aligned(b) && is_aligned(y), [=](auto first, long long i) {
        auto second = first, result = first;
        first.load(a + i);
        second.load(b + i);
        if (accumulate) result.load(y + i);
#pragma unroll
        for (int k = 0; k < first.lanes; k++) {
            float value = f(first.values[k], second.values[k]);
            result.values[k] = accumulate ? result.values[k] + value : value;
        }
        result.store(y + i);
    });
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// √(2/π)·(x + 0.044715·x³) of the GELU's tanh form, and its derivative.
__device__ __forceinline__ float gelu_argument(float x) { return 0.7978845608f * (x + 0.044715f * x * x * x); }
__device__ __forceinline__ float gelu_slope(float x) { return 0.7978845608f * (1.0f + 0.134145f * x * x); }

// A kernel for a function of `x` and one for its gradient, which ReLU and ReLU² read off the result instead.
#define ACTIVATION(name, value, slope)                                                                          \
    KERNEL(name, 256, (const T* from, T* to, long long len)) {                                                  \
        map(from, to, len, [](float x) { return value; });                                                      \
    }                                                                                                           \
    KERNEL(name##_backward, 256, (const T* from, const T* dy, T* dx, long long len, int accumulate)) {          \
        map2(from, dy, dx, len, accumulate, [](float x, float gradient) { return (slope) * gradient; });        \
    }

__device__ __forceinline__ float relu(float x) { return fmaxf(x, 0.0f); }
// What was squared, exactly: the square's rounding is undone by rounding its root.
__device__ __forceinline__ float root(float square) { return to_float(from_float<T>(sqrtf(square))); }
__device__ __forceinline__ float silu_slope(float x) {
    float s = sigmoid(x);
    return s + x * s * (1.0f - s);
}
__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + tanhf(gelu_argument(x))); }
__device__ __forceinline__ float gelu_derivative(float x) {
    float tanh = tanhf(gelu_argument(x));
    return 0.5f * (1.0f + tanh) + 0.5f * x * (1.0f - tanh * tanh) * gelu_slope(x);
}
__device__ __forceinline__ float sigmoid_slope(float x) {
    float s = sigmoid(x);
    return s * (1.0f - s);
}
__device__ __forceinline__ float tanh_slope(float x) {
    float tanh = tanhf(x);
    return 1.0f - tanh * tanh;
}

ACTIVATION(apply_relu_squared, relu(x) * relu(x), 2.0f * root(x))
ACTIVATION(apply_relu, relu(x), x > 0.0f ? 1.0f : 0.0f)
ACTIVATION(apply_silu, x * sigmoid(x), silu_slope(x))
ACTIVATION(apply_gelu, gelu(x), gelu_derivative(x))
ACTIVATION(apply_sigmoid, sigmoid(x), sigmoid_slope(x))
ACTIVATION(apply_tanh, tanhf(x), tanh_slope(x))

KERNEL(multiply, 256, (const T* a, const T* b, T* y, long long len, int accumulate)) {
    map2(a, b, y, len, accumulate, [](float a, float b) { return a * b; });
}

// y = alpha·a + beta·b. A coefficient is a factor, times a learned scalar if there is one. Without `b`, y = alpha·a.
KERNEL(mix, 256,
       (const T* a, float alpha, const float* learned_alpha, const T* b, float beta, const float* learned_beta, T* y,
        long long len, int accumulate)) {
    if (learned_alpha) alpha *= *learned_alpha;
    if (learned_beta) beta *= *learned_beta;
    if (b) {
        map2(a, b, y, len, accumulate, [=](float a, float b) { return alpha * a + beta * b; });
    } else if (accumulate) {
        map2(a, y, y, len, 0, [=](float a, float y) { return y + alpha * a; });
    } else {
        map(a, y, len, [=](float a) { return alpha * a; });
    }
}

// Σ x·dy in two steps: each thread sums as many elements side by side as a vector has, so that even a hundred million
// become a tree of short sums.
KERNEL(dot_products, 256, (const T* x, const T* dy, float* partial, long long len)) {
    __shared__ float shared[32];
    float sums[VectorT::lanes] = {};
    for_elements<T>(len, is_aligned(x) && is_aligned(dy), [&](auto first, long long i) {
        auto second = first;
        first.load(x + i);
        second.load(dy + i);
#pragma unroll
        for (int k = 0; k < first.lanes; k++) sums[k] += first.values[k] * second.values[k];
    });
#pragma unroll
    for (int half = VectorT::lanes / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++) sums[k] += sums[k + half];
    float sum = block_sum(sums[0], shared);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
KERNEL(scalar_gradient, 1024, (const float* partial, int count, float factor, float* dscalar)) {
    __shared__ float shared[32];
    float sum = block_sum(threadIdx.x < count ? partial[threadIdx.x] : 0.0f, shared);
    if (threadIdx.x == 0) *dscalar += factor * sum;
}
