// mend_surface: depth maps and masks become surfaces: small holes filled, threads and stray pieces cut, rims smooth.
// stream/compute/mend_surface.py says what is done; here is how, with one block for each map.
//
// A pass over the pixels is a phase, and a pixel writes only what is its own, so that nothing but the labels
// depends on the order of threads. Pieces are found by union-find over runs: one thread for each row gives the
// pixels of a run the label of its first, then each first contact of a run with one above unites two trees by
// atomicMin, which the smaller root wins (Oliveira and Lotufo, A Study on Connected Components Labeling
// Algorithms using GPUs, 2010): a root that was not one any more when it was to be hung elsewhere is followed, so
// no union is lost. Labels only ever fall, hence there is an end, and a piece's root is its first pixel whatever
// the order. Label 0 is the outside, to which all background hangs that touches the border: a hole is background
// with another root. Sums are of whole numbers, exact in any order.
//
// Bytes a pixel: reads depth 4 and mask 4 from DRAM, writes depth 4 and alpha 4: 16; confidence is read in holes
// only. The scratch, 27 a pixel, stays in the caches (0.44 MB at 128 x 128); a rim's pixel reads 49 neighbours. FLOPs:
// next to none, comparisons decide.
// Floor: N * S * S * 16 / bandwidth; e.g. N = 16, S = 128: 4.2 MB, 4 us at 1 TB/s. One map is far above it, since one
// block has one multiprocessor: 18 phases with a barrier behind each, of 16 pixels a thread.
#include "prosopon.cuh"

CONSTANT int THREADS = 1024;

// Kinds of pixels at the end: before a step, behind one.
CONSTANT u8 NEAR = 1, FAR = 2;

// Depth of what is not head, crop units.
CONSTANT float BEYOND = 1e3f;

struct MendParams {
    const float *depth, *mask;     // (N, S, S)
    const float *confidence;       // (N, S, S) or null: all is sure
    float *out_depth, *out_alpha;  // (N, S, S)
    u64 *scratch;                  // (N, words), see Scratch
    double max_hole, sure, min_piece, piece_reach;
    float threshold, farthest, jump, max_shift;
    int rim_reach, size, words;
};

/// A map's part of the scratch memory. Labels are 0, the outside, and 1 + a pixel's number.
struct Scratch {
    u64 *x, *y;          // of each label: sums of columns and rows; x of confidences, of holes
    u32 *parents, *areas; // of each label; a root is its own parent
    u8 *solid, *picture, *other;
};

DEVICE Scratch scratch_of(const MendParams &p, int map) {
    const int pixels = p.size * p.size, labels = pixels + 1;
    Scratch s;
    s.x = p.scratch + u64(map) * p.words, s.y = s.x + labels;
    s.parents = reinterpret_cast<u32 *>(s.y + labels), s.areas = s.parents + labels;
    s.solid = reinterpret_cast<u8 *>(s.areas + labels), s.picture = s.solid + pixels, s.other = s.picture + pixels;
    return s;
}

DEVICE u32 root_of(const volatile u32 *parents, u32 label) {
    for (u32 above = parents[label]; above != label; above = parents[label]) label = above;
    return label;
}

DEVICE void unite(u32 *parents, u32 a, u32 b) {
    for (;;) {
        a = root_of(parents, a), b = root_of(parents, b);
        if (a == b) return;
        const u32 low = min(a, b), high = max(a, b), before = atomicMin(parents + high, low);
        if (before == high) return;
        a = before, b = low; // it was hung elsewhere meanwhile: what it hung to belongs to both
    }
}

/// Calls work(q, i, j) for the block's share of the pixels, q = i size + j, and waits.
template <class Work> DEVICE void each_pixel(int size, Work work) {
    each_thread([&](int t) {
        for (int q = t; q < size * size; q += THREADS) work(q, q / size, q % size);
    });
}

/// Labels of the pieces of pixels with `value`. `outside`: those that touch the border get label 0.
DEVICE void label_pieces(const Scratch &s, const u8 *picture, u8 value, bool outside, int size) {
    each_thread([&](int t) {
        if (t == 0) s.parents[0] = 0;
        for (int i = t; i < size; i += THREADS) {
            const bool edge = outside && (i == 0 || i == size - 1);
            u32 first = 0;
            for (int j = 0; j < size; ++j) {
                const u32 label = u32(i * size + j) + 1;
                if (picture[label - 1] != value) continue;
                if (j == 0 || picture[label - 2] != value) first = edge || (outside && j == 0) ? 0 : label;
                s.parents[label] = first;
                if (outside && j == size - 1) s.parents[first] = 0;
            }
        }
    });
    each_pixel(size, [&](int q, int i, int j) {
        s.x[q + 1] = s.y[q + 1] = 0, s.areas[q + 1] = 0;
        if (i == 0 || picture[q] != value || picture[q - size] != value) return;
        if (j > 0 && picture[q - 1] == value && picture[q - size - 1] == value) return;
        unite(s.parents, u32(q) + 1, u32(q - size) + 1);
    });
}

/// `picture` becomes what is solid, and the small, sure holes.
DEVICE void fill_holes(const MendParams &p, const Scratch &s, u64 first, const u32 &solid) {
    const int size = p.size;
    label_pieces(s, s.solid, 0, true, size);
    each_pixel(size, [&](int q, int, int) {
        const u32 root = s.solid[q] ? 0 : root_of(s.parents, u32(q) + 1);
        if (root == 0) return;
        atomicAdd(s.areas + root, 1u);
        const float share = p.confidence ? p.confidence[first + q] : 1.0f;
        if (share > 0.0f) atomicAdd(s.x + root, u64(min(share, 1.0f) * 65536.0f + 0.5f));
    });
    each_pixel(size, [&](int q, int, int) {
        const u32 root = s.solid[q] ? 0 : root_of(s.parents, u32(q) + 1);
        const double area = s.areas[root];
        s.picture[q] =
            s.solid[q] || (root && area <= p.max_hole * double(solid) && double(s.x[root]) >= p.sure * 65536 * area);
    });
}

/// Opens `picture` by a cross and keeps what then has a majority of the 5 x 5 pixels around.
DEVICE void round_outline(const Scratch &s, int size) {
    const int last = size - 1;
    each_pixel(size, [&](int q, int i, int j) {
        const u8 *at = s.picture + q;
        s.other[q] = at[0] && (j == 0 || at[-1]) && (j == last || at[1]) && (i == 0 || at[-size]) &&
                     (i == last || at[size]);
    });
    each_pixel(size, [&](int q, int i, int j) {
        const u8 *at = s.other + q;
        s.picture[q] = at[0] || (j > 0 && at[-1]) || (j < last && at[1]) || (i > 0 && at[-size]) ||
                       (i < last && at[size]);
    });
    each_pixel(size, [&](int q, int, int j) {
        const u8 *row = s.picture + q - j;
        int sum = 0;
        for (int k = -2; k <= 2; ++k) sum += row[min(max(j + k, 0), last)];
        s.other[q] = u8(sum);
    });
    each_pixel(size, [&](int q, int i, int j) {
        int sum = 0;
        for (int k = -2; k <= 2; ++k) sum += s.other[min(max(i + k, 0), last) * size + j];
        s.picture[q] = s.picture[q] && sum >= 13;
    });
}

/// Which pieces of `picture` are kept: `areas` of their roots becomes 1, of the others' 0. `best` begins with all bits.
DEVICE void choose_pieces(const MendParams &p, const Scratch &s, u64 &best) {
    const int size = p.size;
    label_pieces(s, s.picture, 1, false, size);
    each_thread([&](int t) {
        for (int i = t; i < size; i += THREADS)
            for (int j = 0, begin = 0; j < size; ++j) {
                const int q = i * size + j;
                if (!s.picture[q]) continue;
                if (j == 0 || !s.picture[q - 1]) begin = j;
                if (j < size - 1 && s.picture[q + 1]) continue;
                const u32 root = root_of(s.parents, u32(q) + 1), count = u32(j + 1 - begin);
                atomicAdd(s.areas + root, count);
                atomicAdd(s.x + root, u64(begin + j) * count / 2);
                atomicAdd(s.y + root, u64(i) * count);
            }
    });
    // The largest has the least key; of two as large the first.
    each_pixel(size, [&](int q, int, int) {
        const u32 label = u32(q) + 1;
        if (s.picture[q] && s.parents[label] == label) atomicMin(&best, u64(~s.areas[label]) << 32 | label);
    });
    each_pixel(size, [&](int q, int, int) {
        const u32 label = u32(q) + 1;
        if (!s.picture[q] || s.parents[label] != label) return;
        const double area = s.areas[label], across = area * size;
        const double x = (2.0 * double(s.x[label]) + area - across) / across;
        const double y = (2.0 * double(s.y[label]) + area - across) / across;
        const bool part = area >= p.min_piece * double(~u32(best >> 32));
        s.areas[label] = label == u32(best) || (part && x * x + y * y < p.piece_reach * p.piece_reach);
    });
}

/// How pixel a lies to its neighbour b: 1 before it by a step, -1 behind it, 0 connected.
DEVICE int step(float a, float b, float jump) { return int(b >= a + jump) - int(a >= b + jump); }

/// Averages each rim along itself, and cuts what hangs between two edges.
DEVICE void smooth_rims(const MendParams &p, const float *depth, float *out, float *alpha, u8 *kinds, u8 *stays) {
    const int size = p.size, last = size - 1;
    const auto at = [&](int q) { return alpha[q] > 0.0f ? depth[q] : BEYOND; };
    each_pixel(size, [&](int q, int i, int j) {
        const float here = at(q);
        const int left = j > 0 ? step(here, at(q - 1), p.jump) : 0;
        const int right = j < last ? step(here, at(q + 1), p.jump) : 0;
        const int above = i > 0 ? step(here, at(q - size), p.jump) : 0;
        const int below = i < last ? step(here, at(q + size), p.jump) : 0;
        const bool near = left > 0 || right > 0 || above > 0 || below > 0;
        const bool far = left < 0 || right < 0 || above < 0 || below < 0;
        stays[q] = alpha[q] > 0.0f && left * right >= 0 && above * below >= 0;
        kinds[q] = !stays[q] ? 0 : near ? NEAR : far ? FAR : 0;
    });
    each_pixel(size, [&](int q, int i, int j) {
        const float here = depth[q];
        const u8 kind = kinds[q];
        float shift = 0.0f;
        if (kind) {
            int count = 0;
            for (int y = max(i - p.rim_reach, 0); y <= min(i + p.rim_reach, last); ++y)
                for (int x = max(j - p.rim_reach, 0); x <= min(j + p.rim_reach, last); ++x)
                    if (kinds[y * size + x] == kind) shift += depth[y * size + x] - here, ++count;
            shift /= float(count);
        }
        out[q] = kind && fabs(shift) < p.max_shift ? here + shift : here;
        if (!stays[q]) alpha[q] = 0.0f;
    });
}

KERNEL(mend_surface, MendParams, THREADS) {
    SHARED u32 solid;
    SHARED u64 best;
    const int size = p.size, map = blockIdx.x;
    const u64 first = u64(map) * size * size;
    const float *depth = p.depth + first, *mask = p.mask + first;
    float *alpha = p.out_alpha + first;
    const Scratch s = scratch_of(p, map);
    each_thread([&](int t) {
        if (t == 0) solid = 0, best = ~u64(0);
    });
    each_thread([&](int t) {
        u32 count = 0;
        for (int q = t; q < size * size; q += THREADS)
            count += s.solid[q] = mask[q] >= p.threshold && fabs(depth[q]) < p.farthest;
        if (count) atomicAdd(&solid, count);
    });
    fill_holes(p, s, first, solid);
    round_outline(s, size);
    choose_pieces(p, s, best);
    each_pixel(size, [&](int q, int, int) {
        const bool kept =
            s.picture[q] && s.areas[root_of(s.parents, u32(q) + 1)] && fabs(depth[q]) < p.farthest;
        alpha[q] = !kept ? 0.0f : s.solid[q] ? mask[q] : 1.0f;
    });
    smooth_rims(p, depth, p.out_depth + first, alpha, s.picture, s.other);
}
