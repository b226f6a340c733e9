// What becomes of a depth network's maps before they are surfaces: read at another side, repaired
// (stream/compute/resize_maps.py), and drawn to their past where nothing moves (stream/compute/smooth_depth.py).
// One thread for each pixel of the result.
//
// resize_maps. Bytes a pixel of the result: writes 12 (depth, mask, confidence); reads those of the network once, 27 from 192 to
// 128 pixels a side. FLOPs: about 40 for 2 x 2 taps, 200 for 4 x 4. Floor: N * S * S * 39 / bandwidth; one map of
// 128 x 128: 0.6 MB, below the time of a launch.
//
// depth_change reads depth, mask and their past, 16, and writes 4. smooth_depth reads depth, mask, confidence, their past,
// drift and how still it is, 32, and the changes around each pixel, from the caches but for 4; writes depth, mask,
// confidence, drift, keep and level, 24. Together 80 bytes a pixel. FLOPs: a sum over the patch, 121 at 128 x 128, and
// about 60. Floor: N * S * S * 80 / bandwidth; one map of 128 x 128: 1.3 MB, 1.3 us at 1 TB/s.
#include "prosopon.cuh"

CONSTANT int THREADS = 256;

struct ResizeParams {
    const float *depth, *mask, *confidence;     // (N, S, S); confidence or null
    float *out_depth, *out_mask, *out_confidence; // (N, side, side)
    int size, side;
};

struct Pixel {
    float depth, mask, confidence;
};

DEVICE float unit(float value) { return min(max(value, 0.0f), 1.0f); }

/// A pixel of the network's; one that it does not know anywhere is nothing everywhere.
DEVICE Pixel pixel_of(const ResizeParams &p, u64 at) {
    const Pixel raw = {p.depth[at], p.mask[at], p.confidence ? p.confidence[at] : 1.0f};
    if (!(isfinite(raw.depth) && isfinite(raw.mask) && isfinite(raw.confidence))) return {0.0f, 0.0f, 0.0f};
    return {raw.depth, unit(raw.mask), unit(raw.confidence)};
}

DEVICE float far_weight(float x) { return ((-0.5f * x + 2.5f) * x - 4.0f) * x + 2.0f; }

DEVICE float near_weight(float x) { return (1.5f * x - 2.5f) * x * x + 1.0f; }

// What a pixel takes of TAPS pixels from `first` on: of a mask and of a depth.
template <int TAPS> struct Taps {
    int first;
    float linear[TAPS], cubic[TAPS];
};

template <int TAPS> DEVICE Taps<TAPS> taps_of(int index, int size, int side) {
    const double place = (index + 0.5) * size / side - 0.5, before = floor(place);
    const float x = float(place - before), y = 1.0f - x;
    if constexpr (TAPS == 2)
        return {int(before), {y, x}, {y, x}};
    else
        return {int(before) - 1,
                {0.0f, y, x, 0.0f},
                {far_weight(1.0f + x), near_weight(x), near_weight(y), far_weight(1.0f + y)}};
}

template <int TAPS> DEVICE void resize_pixel(const ResizeParams &p, int map, int q) {
    const Taps<TAPS> down = taps_of<TAPS>(q / p.side, p.size, p.side), across = taps_of<TAPS>(q % p.side, p.size, p.side);
    const u64 begin = u64(map) * p.size * p.size, at = u64(map) * p.side * p.side + q;
    const int last = p.size - 1;
    Pixel sum = {0.0f, 0.0f, 0.0f};
    for (int k = 0; k < TAPS; ++k) {
        const u64 row = begin + u64(min(max(down.first + k, 0), last)) * p.size;
        Pixel part = {0.0f, 0.0f, 0.0f};
        for (int l = 0; l < TAPS; ++l) {
            const Pixel one = pixel_of(p, row + min(max(across.first + l, 0), last));
            part.depth += across.cubic[l] * one.depth;
            part.mask += across.linear[l] * one.mask;
            part.confidence += across.linear[l] * one.confidence;
        }
        sum.depth += down.cubic[k] * part.depth;
        sum.mask += down.linear[k] * part.mask;
        sum.confidence += down.linear[k] * part.confidence;
    }
    p.out_depth[at] = sum.depth, p.out_mask[at] = sum.mask;
    if (p.out_confidence) p.out_confidence[at] = sum.confidence;
}

KERNEL(resize_maps, ResizeParams, THREADS) {
    each_thread([&](int t) {
        const int q = blockIdx.x * THREADS + t;
        if (q >= p.side * p.side) return;
        if (p.side > p.size)
            resize_pixel<4>(p, blockIdx.y, q);
        else
            resize_pixel<2>(p, blockIdx.y, q);
    });
}

struct SmoothParams {
    const float *depth, *mask, *confidence;                           // (N, S, S), confidence or null, like what follows
    const float *past_depth, *past_mask, *past_drift, *past_confidence; // NaN: no past; may be the results
    const float *still;                                               // (N, S, S) in 0..1
    const float *rates;                                               // (N, 3): of the drift, the depth and the mask
    const float *tilt;                                                // (N, 3) planes, or null: no level
    float *out_depth, *out_mask, *out_drift, *out_keep, *out_confidence, *level; // (N, S, S); the last two or null
    float *changes;                                                   // (N, S, S) for the kernels alone
    float limit, per_change, per_drift, per_mask;
    int size, patch;
};

/// Tukey's (1 - v^2)^2 of a value in units of its limit; 0 from there on and for NaN.
DEVICE float biweight(float value, float inverse) {
    const float part = value * inverse, rest = 1.0f - part * part;
    return rest > 0.0f ? rest * rest : 0.0f;
}

/// `now` drawn to `past`; `now` itself where one of them is not finite.
DEVICE float toward(float now, float past, float keep) {
    const float mixed = now + keep * (past - now);
    return isfinite(mixed) ? mixed : now;
}

/// An index mirrored at either end, without the pixel there coming twice.
DEVICE int mirrored(int index, int size) {
    if (size == 1) return 0;
    while (index < 0 || index >= size) index = index < 0 ? -index : 2 * (size - 1) - index;
    return index;
}

KERNEL(depth_change, SmoothParams, THREADS) {
    each_thread([&](int t) {
        const int q = blockIdx.x * THREADS + t;
        if (q >= p.size * p.size) return;
        const u64 at = u64(blockIdx.y) * p.size * p.size + q;
        const float change = p.depth[at] - p.past_depth[at], masks = p.mask[at] + p.past_mask[at];
        const bool known = isfinite(change) && isfinite(masks);
        const float least = min(p.mask[at], p.past_mask[at]);
        p.changes[at] = known ? min(max(change, -p.limit), p.limit) * least : 0.0f;
    });
}

KERNEL(smooth_depth, SmoothParams, THREADS) {
    each_thread([&](int t) {
        const int size = p.size, q = blockIdx.x * THREADS + t;
        if (q >= size * size) return;
        const u64 map = u64(blockIdx.y) * size * size, at = map + q;
        const int i = q / size, j = q % size, before = p.patch / 2;
        float sum = 0.0f;
        for (int k = 0; k < p.patch; ++k) {
            const float *row = p.changes + map + u64(mirrored(i + k - before, size)) * size;
            for (int l = 0; l < p.patch; ++l) sum += row[mirrored(j + l - before, size)];
        }
        const float *rate = p.rates + 3 * blockIdx.y;
        const float now = p.depth[at], past = p.past_depth[at], mask = p.mask[at], past_mask = p.past_mask[at];
        const float change = now - past, patch = sum / float(p.patch * p.patch);
        const float drift = p.past_drift[at] + rate[0] * (patch - p.past_drift[at]);
        const bool known = isfinite(change) && isfinite(mask + past_mask);
        const float calm = known ? p.still[at] * biweight(drift, p.per_drift) * biweight(change, p.per_change) : 0.0f;
        const float keep = calm * rate[1], depth = toward(now, past, keep);
        p.out_depth[at] = depth, p.out_keep[at] = keep;
        p.out_drift[at] = calm > 0.0f ? drift * calm : 0.0f;
        p.out_mask[at] = toward(mask, past_mask, biweight(mask - past_mask, p.per_mask) * rate[2]);
        if (p.out_confidence) p.out_confidence[at] = toward(p.confidence[at], p.past_confidence[at], keep);
        const float *tilt = p.tilt + 3 * blockIdx.y;
        if (p.level) p.level[at] = depth - (tilt[0] * float(j) + tilt[1] * float(i) + tilt[2]);
    });
}
