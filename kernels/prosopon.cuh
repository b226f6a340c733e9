// What every kernel file includes.
//
// A kernel is written once and compiled twice: by NVRTC or nvcc for a GPU, and as host C++ (host/shim.hpp) so
// that its arithmetic is tested where there is no GPU. Hence the rules:
//  * one struct of parameters, passed by value; pointers in it are device pointers;
//  * blocks have one dimension, grids up to three;
//  * everything a thread does is inside `each_thread([&](int t) { ... })`, with a barrier behind it. What
//    lives from one phase to the next is in SHARED arrays or in a `PerThread`;
//  * nothing depends on warps, on the order of blocks, or on a standard header (NVRTC has none).
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef PROSOPON_HOST

#include "host/shim.hpp"

#else

#define DEVICE __device__ __forceinline__
#define SHARED __shared__
#define CONSTANT __device__ constexpr
#define KERNEL(name, Params, threads) extern "C" __global__ void __launch_bounds__(threads) name(const Params p)

/// Runs `phase` for this thread, then waits for the others of the block.
template <class Phase> DEVICE void each_thread(Phase phase) {
    phase(int(threadIdx.x));
    __syncthreads();
}

/// A value for each thread that lives from one phase to the next: a register here, an array on the host.
template <class T> struct PerThread {
    T value;
    DEVICE T &operator[](int) { return value; }
};

/// float to the bits of an IEEE half, rounded to nearest even.
DEVICE u16 half_bits(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

/// A word written by another block, ordered before what this thread reads next.
DEVICE u32 load_acquire(const u32 *word) {
    u32 value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(word) : "memory");
    return value;
}

/// Makes a word, and what this thread wrote before it, visible to other blocks.
DEVICE void store_release(u32 *word, u32 value) {
    asm volatile("st.release.gpu.global.u32 [%0], %1;" : : "l"(word), "r"(value) : "memory");
}

#endif
