// Rotary position embedding, RMS norm over the head, scale; and back.
//
// A head belongs to a group of `group` neighbouring lanes, a power of two up to a warp. A lane holds N chunks of each half
// of the head in registers: chunks of 16 bytes (V is VectorT, N is 1) where both halves are whole vectors and 32 lanes
// hold them, else of one element (V is Single<T>, N is 8, which suffices for MAX_HEAD_DIM = 512).

// FLT_EPSILON.
#define RMS_EPS 1.1920929e-7f

struct Rotation {
    const T* cos;
    const T* sin;
    const int* starts;
    int total, time, heads, half_dim, group;
    float scale;
};

// The place of a lane: which head, where its angles are, which chunks.
template <typename V> struct Place {
    bool inside;
    int lane;
    long long head, angles;
    __device__ __forceinline__ Place(const Rotation& r) {
        lane = threadIdx.x & (r.group - 1);
        // Fewer than 2^31 heads, by the width of `total`.
        unsigned index = blockIdx.x * (blockDim.x / r.group) + threadIdx.x / r.group;
        inside = index < r.total;
        // Lanes without a head go along: sums are over whole warps.
        index = inside ? index : r.total - 1;
        unsigned row = index / r.heads;
        unsigned sequence = row / r.time;
        int position = row - sequence * r.time + (r.starts ? r.starts[sequence] : 0);
        head = static_cast<long long>(index) * 2 * r.half_dim;
        angles = static_cast<long long>(position) * r.half_dim;
    }
    // First channel of chunk `i`.
    __device__ __forceinline__ int channel(const Rotation& r, int i) const {
        return (lane + i * r.group) * V::lanes;
    }
};

template <typename V> __device__ __forceinline__ void clear(V& v) {
#pragma unroll
    for (int j = 0; j < V::lanes; j++) v.values[j] = 0.0f;
}

// (y1, y2) = (x1·cos + x2·sin, x2·cos − x1·sin), or by the opposite angle.
template <typename V>
__device__ __forceinline__ void rotate(const V& cos, const V& sin, float sign, V& first, V& second) {
#pragma unroll
    for (int j = 0; j < V::lanes; j++) {
        float x1 = first.values[j], x2 = second.values[j], s = sign * sin.values[j];
        first.values[j] = x1 * cos.values[j] + x2 * s;
        second.values[j] = x2 * cos.values[j] - x1 * s;
    }
}

// The rotated chunks of this lane's head, zeros beyond it, and the sum of its squares.
template <typename V, int N>
__device__ __forceinline__ float rotated_head(
    const Rotation& r, const Place<V>& place, const T* x, V (&cos)[N], V (&sin)[N], V (&first)[N], V (&second)[N]) {
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < N; i++) {
        int channel = place.channel(r, i);
        clear(cos[i]), clear(sin[i]), clear(first[i]), clear(second[i]);
        if (channel < r.half_dim) {
            cos[i].load(r.cos + place.angles + channel);
            sin[i].load(r.sin + place.angles + channel);
            first[i].load(x + place.head + channel);
            second[i].load(x + place.head + r.half_dim + channel);
        }
        rotate(cos[i], sin[i], 1.0f, first[i], second[i]);
#pragma unroll
        for (int j = 0; j < V::lanes; j++) {
            squares += first[i].values[j] * first[i].values[j] + second[i].values[j] * second[i].values[j];
        }
    }
    return group_sum(squares, r.group);
}

template <typename V, int N> __device__ __forceinline__ void forward(const Rotation& r, const T* x, T* y) {
    Place<V> place(r);
    V cos[N], sin[N], first[N], second[N];
    float squares = rotated_head<V, N>(r, place, x, cos, sin, first, second);
    float factor = r.scale / sqrtf(squares / (2 * r.half_dim) + RMS_EPS);
#pragma unroll
    for (int i = 0; i < N; i++) {
        int channel = place.channel(r, i);
        if (!place.inside || channel >= r.half_dim) continue;
#pragma unroll
        for (int j = 0; j < V::lanes; j++) first[i].values[j] *= factor, second[i].values[j] *= factor;
        first[i].store(y + place.head + channel);
        second[i].store(y + place.head + r.half_dim + channel);
    }
}

// With u the rotated head and ρ = 1/√(mean(u²) + eps): du = scale·ρ·(dy − u·ρ²·mean(dy·u)), rotated back.
template <typename V, int N>
__device__ __forceinline__ void backward(const Rotation& r, const T* x, const T* dy, T* dx) {
    Place<V> place(r);
    V cos[N], sin[N], first[N], second[N], dy_first[N], dy_second[N];
    float squares = rotated_head<V, N>(r, place, x, cos, sin, first, second);
    float along = 0.0f;
#pragma unroll
    for (int i = 0; i < N; i++) {
        int channel = place.channel(r, i);
        clear(dy_first[i]), clear(dy_second[i]);
        if (channel < r.half_dim) {
            dy_first[i].load(dy + place.head + channel);
            dy_second[i].load(dy + place.head + r.half_dim + channel);
        }
#pragma unroll
        for (int j = 0; j < V::lanes; j++) {
            along += dy_first[i].values[j] * first[i].values[j] + dy_second[i].values[j] * second[i].values[j];
        }
    }
    along = group_sum(along, r.group);
    float rho = 1.0f / sqrtf(squares / (2 * r.half_dim) + RMS_EPS);
    float mean = along * rho * rho / (2 * r.half_dim);
    float factor = r.scale * rho;
#pragma unroll
    for (int i = 0; i < N; i++) {
        int channel = place.channel(r, i);
        if (!place.inside || channel >= r.half_dim) continue;
#pragma unroll
        for (int j = 0; j < V::lanes; j++) {
            first[i].values[j] = factor * (dy_first[i].values[j] - first[i].values[j] * mean);
            second[i].values[j] = factor * (dy_second[i].values[j] - second[i].values[j] * mean);
        }
        rotate(cos[i], sin[i], -1.0f, first[i], second[i]);
        first[i].store(dx + place.head + channel);
        second[i].store(dx + place.head + r.half_dim + channel);
    }
}

#define ROTATION                                                                                                  \
    const T *cos, const T *sin, const int *starts, int total, int time, int heads, int half_dim, int group, float scale
#define ROTATION_VALUE {cos, sin, starts, total, time, heads, half_dim, group, scale}

KERNEL(rotary_vectors, 256, (const T* x, T* y, ROTATION)) {
    Rotation rotation = ROTATION_VALUE;
    forward<VectorT, 1>(rotation, x, y);
}
KERNEL(rotary_elements, 256, (const T* x, T* y, ROTATION)) {
    Rotation rotation = ROTATION_VALUE;
    forward<Single<T>, 8>(rotation, x, y);
}
KERNEL(rotary_backward_vectors, 256, (const T* x, const T* dy, T* dx, ROTATION)) {
    Rotation rotation = ROTATION_VALUE;
    backward<VectorT, 1>(rotation, x, dy, dx);
}
KERNEL(rotary_backward_elements, 256, (const T* x, const T* dy, T* dx, ROTATION)) {
    Rotation rotation = ROTATION_VALUE;
    backward<Single<T>, 8>(rotation, x, dy, dx);
}
