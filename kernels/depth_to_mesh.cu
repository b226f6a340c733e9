// depth_to_mesh: depth maps over crops become triangle meshes in one pass.
//
// A block takes a strip of whole rows of one map: 2048 pixels at most (4096 of maps wider than 512). It
//  1. reads them and the rows above and below; what is not usable becomes NaN, so that every comparison with it is
//     false;
//  2. decides which triangles of each quad are kept (four bits), counts them and publishes the count;
//  3. writes vertices, normals, uv and validity;
//  4. adds up the counts of the strips before it and writes its triangles behind theirs.
// Strips are taken by an atomic ticket, so that those a block waits for have begun, whatever the order of
// blocks, and a count is published before its block waits for anything: hence there is always progress.
//
// Merrill and Garland (Single-pass Parallel Prefix Scan with Decoupled Look-back, 2016) chain prefixes because
// a long scan has thousands of parts. A map has few strips (32 at 256x256), so each block reads all the counts
// before its own at once, one thread each: one round trip to the L2 cache in place of a chain of them.
//
// Bytes a pixel: reads depth 4, mask 4; writes vertex 12, normal 12, valid 1, two triangles of 12 each: 57.
// uv where wanted writes 8: 65. Two more rows a strip are read, but come from the L2 cache. FLOPs: about 140 a pixel,
// twice that at edges; instructions, mostly integer, are a few hundred a pixel, so that the memory decides.
// Floor: N * S * S * 57 / bandwidth; e.g. N = 64, S = 256 with uv: 273 MB, 273 us at 1 TB/s of copy bandwidth.
#include "prosopon.cuh"

CONSTANT int THREADS = 256, VIEW = 12;

// A quad's corners are a b / c d. Bits of the triangles that are kept:
CONSTANT u32 ACB = 1, BCD = 2, ACD = 4, ADB = 8;

// Those that touch a vertex, a byte for each quad around it: below right (where the vertex is a), below left (b),
// above right (c), above left (d).
CONSTANT u32 AROUND = (ACB | ACD | ADB) | (ACB | BCD | ADB) << 8 | (ACB | BCD | ACD) << 16 | (BCD | ACD | ADB) << 24;
CONSTANT u32 USUAL = (ACB | BCD) * 0x01010101u;

// Corners (a 0, b 1, c 2, d 3) of the four triangles in turn, two bits each, lowest first.
CONSTANT u32 CORNERS = 0x18 | 0x39 << 6 | 0x38 << 12 | 0x1c << 18;

struct MeshParams {
    const float *depth, *mask; // (N, S, S)
    const double *views;       // (N, VIEW): image_from_crop, fx, fy, cx, cy, distance, mm in a crop unit
    float *vertices, *normals; // (N, S * S, 3)
    float *uv;                 // (N, S * S, 2) or null
    int *triangles;            // (N, 2 * (S - 1)^2, 3)
    u8 *valid;                 // (N, S * S)
    int *counts;               // (N,)
    u32 *draw;                 // (N, 5) or null: commands of glDrawElementsIndirect
    u32 *scratch;              // zeros: the next ticket, then one plus the triangles of each strip
    double least_z, reach;     // mm
    float threshold, jump;
    int size, rows, strips; // rows of a strip, strips of a map
    u32 inverse;                       // 2^31 / size, rounded up
};

struct Vec {
    float x, y, z;
};

// A strip's depths; once they are not needed any more, its triangles as (quad << 2 | kind).
union Word {
    float depth;
    u16 codes[2];
};

/// Pixel (i, j) looks along (ax j + bx i + cx, ay j + by i + cy, 1); depth d lies at distance + d scale.
/// Between near and far a vertex is in reach whatever the rounding, on all axes.
struct View {
    float ax, bx, cx, ay, by, cy, distance, scale, near, far;
};

/// A map's view in single precision. `row` is that of MeshParams::views.
DEVICE View view_of(const double *row, const MeshParams &p) {
    View v;
    const float fx = float(row[6]), fy = float(row[7]);
    v.ax = float(row[0]) / fx, v.bx = float(row[1]) / fx, v.cx = float(row[2] - row[8]) / fx;
    v.ay = float(row[3]) / fy, v.by = float(row[4]) / fy, v.cy = float(row[5] - row[9]) / fy;
    v.distance = float(row[10]), v.scale = float(row[11]);
    const float aside = (fabs(v.ax) + fabs(v.bx) + fabs(v.ay) + fabs(v.by)) * p.size + fabs(v.cx) + fabs(v.cy);
    v.near = max(2 * float(p.least_z), v.distance / 64), v.far = float(p.reach) / 2 / (1 + aside);
    return v;
}

/// Which row pixel `q` of a strip is in; exact, since q size < 2^31.
DEVICE int row_of(int q, u32 inverse) { return int((u64(u32(q)) * inverse) >> 31); }

/// Where triangle `k` of a strip stands among the codes: one word is left out after 16 of them, so that
/// threads that write 16 each use different banks.
DEVICE int slot(u32 k) { return int(k + (k >> 4) * 2); }

DEVICE void add_cross(Vec &sum, const Vec &a, const Vec &b) {
    sum.x += a.y * b.z - a.z * b.y;
    sum.y += a.z * b.x - a.x * b.z;
    sum.z += a.x * b.y - a.y * b.x;
}

DEVICE Vec minus(const Vec &a, const Vec &b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }

/// The CPU's test of a vertex's range, for pixels near a limit.
DEVICE bool in_reach(const MeshParams &p, const double *view, float depth, int i, int j) {
    const double x = (view[0] * j + view[1] * i + view[2] - view[8]) / view[6];
    const double y = (view[3] * j + view[4] * i + view[5] - view[9]) / view[7];
    const double z = view[10] + depth * view[11];
    return p.least_z <= z && z <= p.reach && fabs(x * z) <= p.reach && fabs(y * z) <= p.reach;
}

/// Which triangles of the quad (a b / c d) are kept. Of two diagonals the other one only where it saves more.
DEVICE u32 kept_triangles(float a, float b, float c, float d, float jump) {
    const bool ab = fabs(a - b) < jump, ac = fabs(a - c) < jump, bc = fabs(b - c) < jump;
    const bool bd = fabs(b - d) < jump, cd = fabs(c - d) < jump, ad = fabs(a - d) < jump;
    const bool acb = ab && ac && bc, bcd = bd && cd && bc, acd = ac && cd && ad, adb = ab && bd && ad;
    if (int(acd) + int(adb) > int(acb) + int(bcd)) return (acd ? ACD : 0) | (adb ? ADB : 0);
    return (acb ? ACB : 0) | (bcd ? BCD : 0);
}

/// Adds the area vectors of a quad's triangles at one corner. `first`, `across` and `last` are its other corners
/// in the order of the triangles; `outer` is the bit of the triangle with first and last, `early` of that with
/// first and across, `late` of that with across and last.
DEVICE void add_corner(Vec &sum, u32 quad, u32 outer, u32 early, u32 late, const Vec &first, const Vec &across,
                       const Vec &last) {
    if (quad & outer) add_cross(sum, first, last);
    if (quad & early) add_cross(sum, first, across);
    if (quad & late) add_cross(sum, across, last);
}

/// Sum of the area vectors around the vertex at `at`, whose quads are as in AROUND.
DEVICE Vec area_vector(const Word *at, int size, const View &v, const Vec &ray, u32 quads) {
    const float here = at->depth, z = v.distance + v.scale * here;
    // The way to a neighbour whose ray differs by (dx, dy): differences of depth, since those of mm lose digits.
    const auto to = [&](int offset, float dx, float dy) {
        const float dz = v.scale * (at[offset].depth - here), there = z + dz;
        return Vec{ray.x * dz + dx * there, ray.y * dz + dy * there, dz};
    };
    const Vec right = to(1, v.ax, v.ay), left = to(-1, -v.ax, -v.ay);
    const Vec below = to(size, v.bx, v.by), above = to(-size, -v.bx, -v.by);
    const Vec above_right = to(1 - size, v.ax - v.bx, v.ay - v.by);
    const Vec below_left = to(size - 1, v.bx - v.ax, v.by - v.ay);
    Vec sum = {0.0f, 0.0f, 0.0f};
    if (quads == USUAL) {
        // A closed ring of six: p x q + q x r = (p - r) x q, so three products do.
        add_cross(sum, minus(below, above_right), right);
        add_cross(sum, minus(above_right, left), above);
        add_cross(sum, minus(left, below), below_left);
        return sum;
    }
    const Vec below_right = to(size + 1, v.ax + v.bx, v.ay + v.by);
    const Vec above_left = to(-size - 1, -v.ax - v.bx, -v.ay - v.by);
    add_corner(sum, quads, ACB, ACD, ADB, below, below_right, right);
    add_corner(sum, quads >> 8, ADB, ACB, BCD, left, below_left, below);
    add_corner(sum, quads >> 16, ACD, BCD, ACB, right, above_right, above);
    add_corner(sum, quads >> 24, BCD, ADB, ACD, above, above_left, left);
    return sum;
}

/// One strip. OWN: pixels of a strip at most; WIDEST: the widest map.
template <int OWN, int WIDEST> DEVICE void mesh_strip(const MeshParams &p) {
    constexpr int WORDS = OWN / 4 / THREADS; // of kept quads, for a thread
    constexpr int LEAD = WIDEST + 4;         // kept quads before the strip's own
    SHARED Word tile[OWN + 2 * WIDEST + 2];
    SHARED u32 kept_words[(LEAD + OWN) / 4];
    SHARED float stage[2][3 * THREADS];
    SHARED u32 sums[2][THREADS];
    SHARED View shared_view;
    SHARED u32 ticket, before;

    each_thread([&](int t) {
        if (t == 0) ticket = atomicAdd(p.scratch, 1u), before = 0;
    });
    const int size = p.size, map = int(ticket) / p.strips, strip = int(ticket) - map * p.strips;
    const int top = strip * p.rows, rows = min(p.rows, size - top), own = rows * size;
    const int first = top * size, pixels = size * size; // pixel q of the strip is first + q of the map
    const bool last_strip = strip == p.strips - 1;
    const u64 map_pixels = u64(map) * pixels;
    const float *depth = p.depth + map_pixels, *mask = p.mask + map_pixels;
    u32 *state = p.scratch + 1 + map * p.strips;
    Word *here = tile + 1 + size; // of pixel 0; the row above begins `size` before it
    u8 *kept = reinterpret_cast<u8 *>(kept_words) + LEAD;

    each_thread([&](int t) {
        if (t == 0) shared_view = view_of(p.views + map * VIEW, p);
    });
    // The depth where the vertex is usable, else NaN.
    const auto masked = [&](const View &v, int q, float value) {
        const int row = row_of(q + size, p.inverse), i = top - 1 + row, j = q + size - row * size;
        const float z = v.distance + v.scale * value;
        bool good = mask[first + q] >= p.threshold;
        if (good && !(z > v.near && z < v.far))
            good = isfinite(z) && in_reach(p, p.views + map * VIEW, value, i, j);
        return good ? value : nanf("");
    };
    const auto decide = [&](int q, int j) {
        const Word *at = here + q;
        if (j == size - 1) return u8(0);
        return u8(kept_triangles(at[0].depth, at[1].depth, at[size].depth, at[size + 1].depth, p.jump));
    };

    each_thread([&](int t) {
        const View v = shared_view;
        for (int q = t - size; q < own + size; q += THREADS) {
            const int pixel = first + q;
            if (pixel < 0 || pixel >= pixels) {
                here[q].depth = nanf("");
                continue;
            }
            here[q].depth = masked(v, q, depth[pixel]);
        }
    });
    each_thread([&](int t) {
        for (int q = t; q < OWN; q += THREADS)
            kept[q] = q < own ? decide(q, q - row_of(q, p.inverse) * size) : u8(0);
    });
    each_thread([&](int t) {
        int count = 0;
        for (int w = 0; w < WORDS; ++w) count += __popc(kept_words[LEAD / 4 + t * WORDS + w]);
        sums[0][t] = u32(count);
    });
    int side = 0;
    for (int step = 1; step < THREADS; step *= 2, side ^= 1)
        each_thread([&](int t) { sums[side ^ 1][t] = sums[side][t] + (t >= step ? sums[side][t - step] : 0); });
    const u32 *ends = sums[side];

    each_thread([&](int t) {
        if (t == 0) store_release(state + strip, ends[THREADS - 1] + 1);
    });
    each_thread([&](int t) {
        if (t == 0) kept[-size - 1] = 0;
        for (int j = t; j < size; j += THREADS) kept[j - size] = decide(j - size, j);
    });

    for (int start = 0; start < own; start += THREADS) {
        each_thread([&](int t) {
            const int q = start + t;
            if (q >= own) return;
            const View v = shared_view;
            const int row = row_of(q, p.inverse), i = top + row, j = q - row * size;
            const u8 *quad = kept + q;
            const u32 quads = quad[0] | quad[-1] << 8 | quad[-size] << 16 | u32(quad[-size - 1]) << 24;
            const bool valid = quads & AROUND;
            const Vec ray = {v.ax * j + v.bx * i + v.cx, v.ay * j + v.by * i + v.cy, 1.0f};
            const float value = here[q].depth, z = value == value ? v.distance + v.scale * value : v.distance;
            Vec normal = {0.0f, 0.0f, -1.0f};
            if (valid) {
                const Vec area = area_vector(here + q, size, v, ray, quads);
                const float squared = area.x * area.x + area.y * area.y + area.z * area.z;
                const float scale = rsqrtf(squared);
                if (squared > 0.0f) normal = {area.x * scale, area.y * scale, area.z * scale};
            }
            float *vertex_at = stage[0] + 3 * t, *normal_at = stage[1] + 3 * t;
            vertex_at[0] = ray.x * z, vertex_at[1] = ray.y * z, vertex_at[2] = z;
            normal_at[0] = normal.x, normal_at[1] = normal.y, normal_at[2] = normal.z;
            p.valid[map_pixels + first + q] = valid;
        });
        each_thread([&](int t) {
            const int count = min(THREADS, own - start);
            const u64 to = map_pixels + first + start;
#pragma unroll 3 // as often as it runs; more costs registers
            for (int f = t; f < 3 * count; f += THREADS) {
                p.vertices[3 * to + f] = stage[0][f];
                p.normals[3 * to + f] = stage[1][f];
            }
            for (int f = t; p.uv && f < 2 * count; f += THREADS) {
                const int q = start + f / 2, row = row_of(q, p.inverse);
                p.uv[2 * to + f] = ((f % 2 ? top + row : q - row * size) + 0.5f) / size;
            }
        });
    }

    each_thread([&](int t) {
        u32 sum = 0;
        for (int k = t; k < strip; k += THREADS) {
            u32 word;
            do word = load_acquire(state + k);
            while (word == 0);
            sum += word - 1;
        }
        if (t < strip) atomicAdd(&before, sum);
        // The depths are not needed any more: codes take their place, in the order of the quads.
        u32 next = t > 0 ? ends[t - 1] : 0;
#pragma unroll 1 // unrolled it costs registers that are then missing elsewhere
        for (int w = 0; w < WORDS; ++w) {
            const int q = (t * WORDS + w) * 4;
            for (u32 bits = kept_words[LEAD / 4 + q / 4]; bits; bits &= bits - 1) {
                const int bit = __ffs(int(bits)) - 1, at = slot(next++);
                tile[at / 2].codes[at % 2] = u16((q + bit / 8) * 4 + bit % 8);
            }
        }
    });
    each_thread([&](int t) {
        const u32 total = ends[THREADS - 1];
        int *triangles = p.triangles + (u64(map) * 2 * (size - 1) * (size - 1) + before) * 3;
        for (u32 f = t; f < 3 * total; f += THREADS) {
            const u32 triangle = f / 3, corner = f - 3 * triangle;
            const int at = slot(triangle), code = tile[at / 2].codes[at % 2];
            const int which = int(CORNERS >> (6 * (code & 3) + 2 * corner)) & 3;
            triangles[f] = first + (code >> 2) + (which & 1) + (which & 2 ? size : 0);
        }
        if (t > 0 || !last_strip) return;
        p.counts[map] = int(before + total);
        if (!p.draw) return;
        u32 *draw = p.draw + map * 5;
        draw[0] = 3 * (before + total), draw[1] = 1, draw[2] = draw[3] = draw[4] = 0;
    });
}

KERNEL(depth_to_mesh, MeshParams, THREADS) { mesh_strip<2048, 512>(p); }

KERNEL(depth_to_mesh_wide, MeshParams, THREADS) { mesh_strip<4096, 2048>(p); }
