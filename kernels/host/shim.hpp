// The few CUDA words our kernels use, as host C++: blocks run one after another, and the threads of a block one
// after another within each phase, so barriers are the ends of loops. See ../prosopon.cuh for the rules.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

using std::abs;
using std::ceil;
using std::fabs;
using std::floor;
using std::isfinite;
using std::max;
using std::min;
using std::pow;
using std::sqrt;

struct Dim3 {
    int x, y, z;
};

inline thread_local Dim3 blockIdx, blockDim, gridDim;

constexpr int MAX_THREADS = 1024;

#define DEVICE static inline
#define SHARED static thread_local
#define CONSTANT static constexpr
#define __restrict__ __restrict

// `name` runs a whole launch, given the parameters, three grid sides and the threads of a block.
#define KERNEL(name, Params, threads)                                                                                \
    static void name##_block(const Params &p);                                                                       \
    extern "C" void name(const Params *p, int x, int y, int z, int block) {                                         \
        static_assert((threads) <= MAX_THREADS, "a block has at most 1024 threads");                                 \
        gridDim = {x, y, z};                                                                                         \
        blockDim = {block, 1, 1};                                                                                    \
        for (blockIdx.z = 0; blockIdx.z < z; ++blockIdx.z)                                                           \
            for (blockIdx.y = 0; blockIdx.y < y; ++blockIdx.y)                                                       \
                for (blockIdx.x = 0; blockIdx.x < x; ++blockIdx.x) name##_block(*p);                                 \
    }                                                                                                                \
    extern "C" unsigned name##_params() { return sizeof(Params); }                                                   \
    static void name##_block(const Params &p)

// The order of threads within a phase must not matter, so that a test may turn it round.
template <class Phase> inline void each_thread(Phase phase) {
#ifdef PROSOPON_BACKWARDS
    for (int t = blockDim.x; t-- > 0;) phase(t);
#else
    for (int t = 0; t < blockDim.x; ++t) phase(t);
#endif
}

template <class T> struct PerThread {
    T value[MAX_THREADS];
    T &operator[](int t) { return value[t]; }
};

template <class T> inline T atomicAdd(T *place, T value) {
    T before = *place;
    *place = before + value;
    return before;
}

template <class T> inline T atomicMin(T *place, T value) {
    T before = *place;
    *place = std::min(before, value);
    return before;
}

inline void __threadfence() {}

inline int __popc(u32 bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline float __fmul_rn(float a, float b) { return a * b; } // never fused with a sum
inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }

inline u32 load_acquire(const u32 *word) { return *word; }
inline void store_release(u32 *word, u32 value) { *word = value; }

inline u16 half_bits(float value) {
    u32 bits;
    std::memcpy(&bits, &value, 4);
    const u32 sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude >= 0x7f800000) return u16(sign | 0x7c00 | (magnitude > 0x7f800000 ? 0x200 : 0));
    if (magnitude >= 0x477ff000) return u16(sign | 0x7c00);
    if (magnitude < 0x33000001) return u16(sign);
    const int exponent = int(magnitude >> 23);
    const u32 fraction = (magnitude & 0x7fffff) | 0x800000;
    const int shift = exponent < 113 ? 126 - exponent : 13;
    const u32 kept = fraction >> shift, rest = fraction & ((1u << shift) - 1), tie = 1u << (shift - 1);
    const u32 rounded = kept + (rest > tie || (rest == tie && (kept & 1)));
    return u16(sign | (exponent < 113 ? rounded : rounded + (u32(exponent - 113) << 10)));
}
