// CUDA C++ as plain C++: what `src/cuda/source/*.cu` need to be compiled for the host.
//
// The threads of a block are fibres of one host thread. `__syncthreads` and shuffles are the only places where a fibre
// gives way, and between two of them the threads run in an order that changes from launch to launch, so that a missing
// barrier shows as a wrong result.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __align__(n) alignas(n)
// A block runs on one host thread.
#define __shared__ static thread_local
#define __launch_bounds__(...)

struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct dim3 { unsigned x, y, z; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

namespace shim {
// A copy of 16 bytes that is on its way, and the group that it was committed with.
struct Copy { void* to; const void* from; bool there; unsigned group; };
// What a running thread of a block knows of itself.
struct Thread { dim3 index; unsigned lane, warp; std::vector<Copy> copies; unsigned groups; };
struct Place { dim3 block, grid, threads; unsigned char* dynamic_shared; };
extern thread_local Thread* thread;
extern thread_local Place place;

void barrier();
void warp_barrier(unsigned mask);
// The 32 values that the lanes of this warp gave, from an exchange among the lanes of `mask`.
const uint64_t* exchange(unsigned mask, uint64_t value);
[[noreturn]] void fail(const char* what);

// A kernel: how to call it with cuLaunchKernel's parameters.
struct Kernel {
    const char *file, *element, *name;
    unsigned most_threads;
    std::vector<size_t> sizes;
    std::function<void(void**)> call;
};
std::vector<Kernel>& kernels();

struct Register {
    template <class... A>
    Register(const char* file, const char* element, const char* name, unsigned most_threads, void (*kernel)(A...)) {
        kernels().push_back({file, element, name, most_threads, {sizeof(A)...}, [kernel](void** parameters) {
            invoke(kernel, parameters, std::index_sequence_for<A...>());
        }});
    }
    template <class... A, size_t... I>
    static void invoke(void (*kernel)(A...), void** parameters, std::index_sequence<I...>) {
        (void)parameters;
        kernel(*static_cast<A*>(parameters[I])...);
    }
};

template <typename V> V shuffle(unsigned mask, V value, unsigned source) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = exchange(mask, bits)[source & 31];
    memcpy(&value, &bits, sizeof value);
    return value;
}
}  // namespace shim

#define threadIdx (shim::thread->index)
#define blockIdx (shim::place.block)
#define blockDim (shim::place.threads)
#define gridDim (shim::place.grid)

inline void __syncthreads() { shim::barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { shim::warp_barrier(mask); }
template <typename V> V __shfl_xor_sync(unsigned mask, V value, int distance) {
    return shim::shuffle(mask, value, shim::thread->lane ^ distance);
}
template <typename V> V __shfl_sync(unsigned mask, V value, int source) { return shim::shuffle(mask, value, source); }
template <typename V> V __shfl_down_sync(unsigned mask, V value, int distance) {
    unsigned source = shim::thread->lane + distance;
    return shim::shuffle(mask, value, source < 32 ? source : shim::thread->lane);
}
template <typename V> V __shfl_up_sync(unsigned mask, V value, int distance) {
    unsigned lane = shim::thread->lane;
    return shim::shuffle(mask, value, lane >= unsigned(distance) ? lane - distance : lane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    const uint64_t* votes = shim::exchange(mask, predicate != 0);
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; lane++) ballot |= unsigned(mask >> lane & 1 & votes[lane]) << lane;
    return ballot;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }

inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(unsigned x) { return __builtin_ffs(int(x)); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
template <typename V> V __ldg(const V* from) { return *from; }
// Blocks run one after the other and fibres give way at barriers only.
template <typename V> V atomicAdd(V* to, V value) { V old = *to; *to += value; return old; }
template <typename V> V atomicMax(V* to, V value) { V old = *to; if (value > old) *to = value; return old; }
template <typename V> V atomicMin(V* to, V value) { V old = *to; if (value < old) *to = value; return old; }
inline void __threadfence() {}
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }

// Tensor cores, by the fragment layouts of the PTX ISA ("Matrix Fragments for mma.m16n8k16 with floating point type", "ldmatrix").
// The lanes of a warp show each other where their operands lie. Not inlined: the stacks of fibres are small.
#define TENSOR_CORES
inline float shim_bf16(const unsigned* words, int half) { return __uint_as_float(words[half / 2] >> 16 * (half % 2) << 16); }
__attribute__((noinline)) inline void tensor_product(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    struct Operands { unsigned a[4], b[2]; } own = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    const Operands* of[32];
    const uint64_t* all = shim::exchange(0xffffffffu, reinterpret_cast<uint64_t>(&own));
    for (int lane = 0; lane < 32; lane++) of[lane] = reinterpret_cast<const Operands*>(all[lane]);
    int lane = shim::thread->lane;
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; k++) {
            float x = shim_bf16(&of[row % 8 * 4 + k % 8 / 2]->a[row / 8 + 2 * (k / 8)], k % 2);
            float y = shim_bf16(&of[column * 4 + k % 8 / 2]->b[k / 8], k % 2);
            c[i] += x * y;
        }
    }
    // Nobody goes on while others still read.
    shim::warp_barrier(0xffffffffu);
}
__attribute__((noinline)) inline void load_matrices(unsigned (&to)[4], const void* row) {
    const uint64_t* all = shim::exchange(0xffffffffu, reinterpret_cast<uint64_t>(row));
    int lane = shim::thread->lane;
    for (int i = 0; i < 4; i++) to[i] = reinterpret_cast<const unsigned*>(all[8 * i + lane / 4])[lane % 4];
    shim::warp_barrier(0xffffffffu);
}
__attribute__((noinline)) inline void load_matrices_transposed(unsigned (&to)[4], const void* row) {
    const uint64_t* all = shim::exchange(0xffffffffu, reinterpret_cast<uint64_t>(row));
    int lane = shim::thread->lane;
    for (int i = 0; i < 4; i++) {
        unsigned low = reinterpret_cast<const uint16_t*>(all[8 * i + lane % 4 * 2])[lane / 4];
        unsigned high = reinterpret_cast<const uint16_t*>(all[8 * i + lane % 4 * 2 + 1])[lane / 4];
        to[i] = low | high << 16;
    }
    shim::warp_barrier(0xffffffffu);
}
inline unsigned shim_rounded(float x) {
    unsigned bits = __float_as_uint(x);
    return (bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
inline unsigned pack_bf16(float low, float high) { return shim_rounded(low) | shim_rounded(high) << 16; }
// A copy is done by the wait that admits no more groups, and leaves NaN until then: a missing wait is seen.
inline void async_copy(void* to, const void* from, bool there) {
    memset(to, 0xff, 16);
    shim::thread->copies.push_back({to, from, there, shim::thread->groups});
}
inline void async_commit() { shim::thread->groups++; }
template <int PENDING> void async_wait() {
    auto& copies = shim::thread->copies;
    size_t kept = 0;
    for (auto& copy : copies) {
        // Copies that were not committed are in no group that is waited for.
        if (copy.group + PENDING >= shim::thread->groups) copies[kept++] = copy;
        else copy.there ? memcpy(copy.to, copy.from, 16) : memset(copy.to, 0, 16);
    }
    copies.resize(kept);
}

#ifdef ELEMENT_BF16
#define SHIM_ELEMENT "bf16"
#else
#define SHIM_ELEMENT "f32"
#endif
#define KERNEL(name, threads, parameters)                                                       \
    static void name parameters;                                                                \
    static shim::Register registered_##name(SHIM_FILE, SHIM_ELEMENT, #name, threads, &name);    \
    static void name parameters
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(shim::place.dynamic_shared)
