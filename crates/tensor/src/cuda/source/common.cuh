// What all kernels share: element types, 16-byte vectors, sums with a fixed order. Prepended to every source.
//
// Nothing is included: NVRTC alone must be able to compile this. `T` is the compute type, ELEMENT_BF16 or ELEMENT_F32.
// Arguments of kernels are pointers, int, long long and float only. Tests compile the same files as C++ for the host
// (tests/card), which defines KERNEL and DYNAMIC_SHARED itself.

#ifndef KERNEL
// KERNEL(name, most threads of a block, (parameters)) { body }
#define KERNEL(name, threads, parameters) extern "C" __global__ void __launch_bounds__(threads) name parameters
// DYNAMIC_SHARED(float, tile): the block's dynamic shared memory, aligned to 16 bytes.
#define DYNAMIC_SHARED(type, name)                                        \
    extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[]; \
    type* name = reinterpret_cast<type*>(dynamic_shared_bytes)
#endif

// The upper half of a float.
struct bf16 {
    unsigned short bits;
};

#ifdef ELEMENT_BF16
typedef bf16 T;
#else
typedef float T;
#endif

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }

template <typename E> __device__ __forceinline__ E from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
// To the nearest, ties to even; NaN stays NaN.
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) {
    unsigned bits = __float_as_uint(x);
    bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    unsigned rounded = nan ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    bf16 result;
    result.bits = static_cast<unsigned short>(rounded);
    return result;
}

#define NOT_A_NUMBER __uint_as_float(0x7fffffffu)

// Elements of type E in 16 bytes, as floats. Addresses must be multiples of 16.
template <typename E> struct Vector;
template <> struct Vector<float> {
    static constexpr int lanes = 4;
    float values[4];
    __device__ __forceinline__ void load(const float* from) {
        float4 raw = *reinterpret_cast<const float4*>(from);
        values[0] = raw.x, values[1] = raw.y, values[2] = raw.z, values[3] = raw.w;
    }
    __device__ __forceinline__ void store(float* to) const {
        *reinterpret_cast<float4*>(to) = make_float4(values[0], values[1], values[2], values[3]);
    }
};
template <> struct Vector<bf16> {
    static constexpr int lanes = 8;
    float values[8];
    __device__ __forceinline__ void load(const bf16* from) {
        uint4 raw = *reinterpret_cast<const uint4*>(from);
        unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            values[2 * i] = __uint_as_float(words[i] << 16);
            values[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
        }
    }
    __device__ __forceinline__ void store(bf16* to) const {
        unsigned words[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned low = from_float<bf16>(values[2 * i]).bits;
            unsigned high = from_float<bf16>(values[2 * i + 1]).bits;
            words[i] = low | high << 16;
        }
        *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
    }
};
typedef Vector<T> VectorT;

// One element with the interface of a vector, for rows that are not whole vectors: a body is written once for both.
template <typename E> struct Single {
    static constexpr int lanes = 1;
    float values[1];
    __device__ __forceinline__ void load(const E* from) { values[0] = to_float(*from); }
    __device__ __forceinline__ void store(E* to) const { *to = from_float<E>(values[0]); }
};

// Master-type floats beside a `Vector` or `Single`: one float, or 16 bytes at a time.
template <int count> __device__ __forceinline__ void load_floats(const float* from, float (&to)[count]) {
    static_assert(count == 1 || count % 4 == 0, "one element or whole vectors");
    if constexpr (count == 1) to[0] = *from;
#pragma unroll
    for (int i = 0; i < count / 4; i++) {
        float4 raw = reinterpret_cast<const float4*>(from)[i];
        to[4 * i] = raw.x, to[4 * i + 1] = raw.y, to[4 * i + 2] = raw.z, to[4 * i + 3] = raw.w;
    }
}
template <int count> __device__ __forceinline__ void store_floats(const float (&from)[count], float* to) {
    static_assert(count == 1 || count % 4 == 0, "one element or whole vectors");
    if constexpr (count == 1) *to = from[0];
#pragma unroll
    for (int i = 0; i < count / 4; i++)
        reinterpret_cast<float4*>(to)[i] = make_float4(from[4 * i], from[4 * i + 1], from[4 * i + 2], from[4 * i + 3]);
}

// True for what 16-byte loads may read.
__device__ __forceinline__ bool is_aligned(const void* address) {
    return reinterpret_cast<unsigned long long>(address) % 16 == 0;
}

// True if rows of `cols` elements that begin at a multiple of 16 bytes all do.
template <typename E> __device__ __forceinline__ bool whole_vectors(long long cols) {
    return cols % Vector<E>::lanes == 0;
}

// A grid-stride loop: first index and step of this thread.
__device__ __forceinline__ long long grid_first() {
    return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ long long grid_step() { return static_cast<long long>(gridDim.x) * blockDim.x; }

// A grid-stride loop over `len` elements: calls f(Vector<E>(), index), where `aligned` says that vectors may be read,
// and f(Single<E>(), index) for what is left over. `f` is a lambda with a parameter of type auto.
template <typename E, typename F>
__device__ __forceinline__ void for_elements(long long len, bool aligned, F f) {
    const int lanes = Vector<E>::lanes;
    long long vectors = aligned ? len / lanes : 0;
    for (long long i = grid_first(); i < vectors; i += grid_step()) f(Vector<E>(), i * lanes);
    for (long long i = vectors * lanes + grid_first(); i < len; i += grid_step()) f(Single<E>(), i);
}

// The threads that share a row in blocks of 256 (`Grid::teams`): `threads` of a block, or all 256 of `blocks` blocks.
struct Team {
    long long row;
    int first, step;
};
__device__ __forceinline__ Team team_of(int threads, int blocks) {
    Team team;
    team.row = static_cast<long long>(blockIdx.x / blocks) * (256 / threads) + threadIdx.x / threads;
    team.first = blockIdx.x % blocks * threads + threadIdx.x % threads;
    team.step = blocks * threads;
    return team;
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}
// The sum over a group of neighbouring lanes, known to each; `lanes` is a power of two up to 32. The whole warp must
// come here.
__device__ __forceinline__ float group_sum(float x, int lanes) {
    for (int distance = lanes / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
    return x;
}

// The sum over a block whose size is a multiple of 32, known to every thread. All threads must come here. `shared`
// has room for 32 floats and may be used again at once.
__device__ __forceinline__ float block_sum(float x, float* shared) {
    x = warp_sum(x);
    int warps = blockDim.x / 32;
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0.0f;
    for (int warp = 0; warp < warps; warp++) x += shared[warp];
    __syncthreads();
    return x;
}
__device__ __forceinline__ float block_max(float x, float* shared) {
    x = warp_max(x);
    int warps = blockDim.x / 32;
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
    for (int warp = 1; warp < warps; warp++) x = fmaxf(x, shared[warp]);
    __syncthreads();
    return x;
}

// `+=` or `=`.
template <typename E> __device__ __forceinline__ void put(E* to, float value, int accumulate) {
    *to = from_float<E>(accumulate ? to_float(*to) + value : value);
}

// Tensor cores and copies that go on beside the arithmetic: one function per instruction.
#ifndef TENSOR_CORES
// c += a·b: a [16, 16], b [16, 8], c [16, 8]. With g = lane / 4 and t = lane % 4, a lane has of c the columns 2t, 2t + 1 of the rows
// g and g + 8; of a the columns 2t, 2t + 1 of the rows g, g + 8, then these rows' columns 2t + 8, 2t + 9; of b the rows 2t, 2t + 1,
// then 2t + 8, 2t + 9, of column g. Two bf16 in a word, the first one below.
__device__ __forceinline__ void tensor_product(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
    unsigned address;
    asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(address) : "l"(pointer));
    return address;
}
// Four matrices of 8 × 8 bf16 in shared memory. `row`: lane l says where row l % 8 of matrix l / 8 begins (16 bytes). It gets of
// each matrix the columns 2t, 2t + 1 of row g.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(row)) : "memory");
}
// Likewise, but the rows 2t, 2t + 1 of column g.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(row)) : "memory");
}
// Two floats as bf16 in a word.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    unsigned word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}
// 16 bytes from device to shared memory, zeros where nothing is there; done after the `async_wait` that admits as many
// later groups as were committed since, and a barrier for other threads to see it.
__device__ __forceinline__ void async_copy(void* to, const void* from, bool there) {
    int bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING> __device__ __forceinline__ void async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}
#endif
