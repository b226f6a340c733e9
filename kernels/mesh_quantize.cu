// mesh_quantize: depth maps become the quantised planes that go over the wire (stream.compute.mesh_quantize).
//
// A thread takes one pixel, a block 256 in a row of one map. What is sent is the second difference, along x and y,
// of the levels, or in a delta frame of their change: each thread works out the step from the pixel above to its
// own (the level above is worked out again: its depth and mask are in the cache), and takes its left neighbour's
// through shared memory; the first one works that out too.
//
// Bytes a pixel: reads depth 4, mask 4; writes level 2, planes 2: 12; a delta frame also reads 2: 14. About 10
// FLOPs and 60 other instructions: the memory decides.
// Floor: N * S * S * 14 / bandwidth; e.g. N = 64, S = 256: 59 MB, 59 us at 1 TB/s of copy bandwidth.
#include "prosopon.cuh"

CONSTANT int THREADS = 256;

struct QuantizeParams {
    const float *depth, *mask; // (N, S, S)
    const u16 *previous;       // (N, S, S) or null: a key frame
    u8 *planes;                // (N, 2, S * S): low bytes, high bytes
    u16 *levels;               // (N, S, S)
    float low, scale, threshold;
    int top, size; // the highest level, 2^bits - 1
};

/// 0 where there is no surface, else 1 to top; rounded as the CPU does, step by step.
DEVICE int level_of(const QuantizeParams &p, u64 at) {
    const float depth = p.depth[at];
    if (!(p.mask[at] >= p.threshold) || !isfinite(depth)) return 0;
    const float step = __fmul_rn(depth - p.low, p.scale);
    return 1 + int(rintf(min(max(step, 0.0f), float(p.top - 1))));
}

/// How far the level, in a delta frame its change, is from that of the pixel above; 0 stands above the map.
DEVICE int step_down(const QuantizeParams &p, u64 map, int pixel, int level) {
    int step = level - (p.previous ? p.previous[map + pixel] : 0);
    if (pixel >= p.size) {
        const u64 above = map + pixel - p.size;
        step -= level_of(p, above) - (p.previous ? p.previous[above] : 0);
    }
    return step;
}

KERNEL(mesh_quantize, QuantizeParams, THREADS) {
    SHARED int steps[THREADS + 1];
    const int pixels = p.size * p.size, first = blockIdx.x * THREADS;
    const u64 map = u64(blockIdx.y) * pixels;
    each_thread([&](int t) {
        const int pixel = first + t;
        if (pixel >= pixels) return;
        const int level = level_of(p, map + pixel);
        p.levels[map + pixel] = u16(level);
        steps[t + 1] = step_down(p, map, pixel, level);
        if (t == 0 && pixel > 0) steps[0] = step_down(p, map, pixel - 1, level_of(p, map + pixel - 1));
    });
    each_thread([&](int t) {
        const int pixel = first + t;
        if (pixel >= pixels) return;
        const int left = pixel % p.size > 0 ? steps[t] : 0;
        // The difference modulo 2^bits, signed: -half to half - 1; then zigzag: 0, -1, 1, -2, ... as 0, 1, 2, 3.
        const int half = (p.top + 1) / 2;
        const int residual = ((steps[t + 1] - left + half) & p.top) - half;
        const int code = residual < 0 ? -2 * residual - 1 : 2 * residual;
        u8 *low = p.planes + 2 * map + pixel;
        low[0] = u8(code);
        low[pixels] = u8(code >> 8);
    });
}
