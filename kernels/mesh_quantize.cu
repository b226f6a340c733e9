// mesh_quantize: depth maps become the quantised planes that go over the wire (stream.compute.mesh_quantize).
//
// A thread takes one pixel, a block 256 in a row of one map. A key frame is predicted from the left: levels pass
// through shared memory, and the two that a block does not have (left of its first pixel, above a first column)
// are worked out again. A delta frame is predicted from the level before, which may be replaced in place, since
// only the pixel's own thread reads it.
//
// Bytes a pixel: reads depth 4, mask 4; writes level 2, planes 2: 12; a delta frame also reads 2: 14. About 5
// FLOPs and 40 other instructions: the memory decides.
// Floor: N * S * S * 14 / bandwidth; e.g. N = 64, S = 256: 59 MB, 59 us at 1 TB/s of copy bandwidth.
#include "prosopon.cuh"

CONSTANT int THREADS = 256;

struct QuantizeParams {
    const float *depth, *mask; // (N, S, S)
    const u16 *previous;       // (N, S, S) or null: a key frame
    u8 *planes;                // (N, 2, S * S): low bytes, high bytes
    u16 *levels;               // (N, S, S); may be `previous`
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

KERNEL(mesh_quantize, QuantizeParams, THREADS) {
    SHARED u16 row[THREADS + 1];
    const int pixels = p.size * p.size, first = blockIdx.x * THREADS;
    const u64 map = u64(blockIdx.y) * pixels;
    PerThread<int> predicted;
    each_thread([&](int t) {
        const int pixel = first + t;
        if (pixel >= pixels) return;
        const int level = level_of(p, map + pixel);
        predicted[t] = p.previous ? p.previous[map + pixel] : 0;
        p.levels[map + pixel] = u16(level);
        row[t + 1] = u16(level);
        if (t == 0 && pixel > 0 && !p.previous) row[0] = u16(level_of(p, map + pixel - 1));
    });
    each_thread([&](int t) {
        const int pixel = first + t;
        if (pixel >= pixels) return;
        if (!p.previous && pixel > 0)
            predicted[t] = pixel % p.size > 0 ? row[t] : level_of(p, map + pixel - p.size);
        // The difference modulo 2^bits, signed: -half to half - 1; then zigzag: 0, -1, 1, -2, ... as 0, 1, 2, 3.
        const int half = (p.top + 1) / 2;
        const int change = ((row[t + 1] - predicted[t] + half) & p.top) - half;
        const int code = change < 0 ? -2 * change - 1 : 2 * change;
        u8 *low = p.planes + 2 * map + pixel;
        low[0] = u8(code);
        low[pixels] = u8(code >> 8);
    });
}
