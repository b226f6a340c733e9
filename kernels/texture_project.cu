// A frame painted into a mesh's texture: each texel finds its surface point, sees whether the camera sees it, and
// blends what is there by confidence. stream/compute/texture_project.py defines the rules; here is one thread for
// each texel.
//
// Bytes, T x T texels of which E are used: 4 T^2 for the layout's triangles; for a used one 8 (weights) + 8
// (confidence, read and written) + 24 (colour as float32, read and written; 6 as uint8) = 40, and from vertices,
// normals, triangles, frame and depth map what the texels touch once, since neighbours share it in the caches:
// 24 V + 12 M + 3 A + 4 S^2. FLOPs: 120 a used texel.
// Floor: bytes / bandwidth. T = 256, E = 0.8 T^2, V = 5000, M = 10000, A = 300 x 300, S = 192: 0.26 + 2.10 + 0.24
// + 0.27 + 0.15 = 3.0 MB, 3 us at 1 TB/s; small enough for L2, where it stays from frame to frame.
#include "prosopon.cuh"

struct TextureParams {
    const u8 *image;           // (height, width, 3)
    const float *vertices;     // (vertex_count, 3), mm
    const float *normals;      // (vertex_count, 3)
    const int *triangles;      // (triangle_count, 3)
    const int *triangle;       // (size, size), -1: no surface
    const float *weights;      // (size, size, 2), of the triangle's first two corners
    const float *depth;        // (depth_size, depth_size), mm
    void *texture;             // (size, size, 3)
    float *confidence;         // (size, size)
    float crop_from_image[6];  // image pixel (x, y, 1) to depth map pixel
    float fx, fy, cx, cy, tolerance, power, keep, gain, least_z;
    int width, height, vertex_count, triangle_count, size, depth_size;
};

constexpr int THREADS = 256;

struct Vec {
    float x, y, z;
};

DEVICE float dot(const Vec &a, const Vec &b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

DEVICE void add(Vec &sum, const float *row, float weight) {
    sum.x += weight * row[0];
    sum.y += weight * row[1];
    sum.z += weight * row[2];
}

// Whether something of the depth map is nearer than z at image point (u, v).
DEVICE bool hidden(const TextureParams &p, float u, float v, float z) {
    const float *m = p.crop_from_image;
    const float x = m[0] * u + m[1] * v + m[2], y = m[3] * u + m[4] * v + m[5];
    const float last = float(p.depth_size) - 1.0f;
    if (!(x >= -0.5f && y >= -0.5f && x <= last + 0.5f && y <= last + 0.5f)) return false;
    const float column = floor(min(max(x, 0.0f), last)), row = floor(min(max(y, 0.0f), last));
    const int left = int(column), top = int(row);
    const int right = min(left + 1, p.depth_size - 1), bottom = min(top + 1, p.depth_size - 1);
    const int at[4] = {top * p.depth_size + left, top * p.depth_size + right, bottom * p.depth_size + left,
                       bottom * p.depth_size + right};
    for (int k = 0; k < 4; ++k) {
        const float there = p.depth[at[k]];
        if (isfinite(there) && z > there + p.tolerance) return true;
    }
    return false;
}

// The frame's colour at (u, v), which lies between its pixel centres.
DEVICE Vec colour_at(const TextureParams &p, float u, float v) {
    const int left = int(u), top = int(v);
    const int right = min(left + 1, p.width - 1), bottom = min(top + 1, p.height - 1);
    const float across = u - float(left), down = v - float(top);
    const u8 *a = p.image + (top * p.width + left) * 3, *b = p.image + (top * p.width + right) * 3;
    const u8 *c = p.image + (bottom * p.width + left) * 3, *d = p.image + (bottom * p.width + right) * 3;
    float mixed[3];
    for (int k = 0; k < 3; ++k) {
        const float upper = float(a[k]) + across * (float(b[k]) - float(a[k]));
        const float lower = float(c[k]) + across * (float(d[k]) - float(c[k]));
        mixed[k] = upper + down * (lower - upper);
    }
    return {mixed[0], mixed[1], mixed[2]};
}

// Confidence of what the frame shows of a texel, 0 where it does not show it; then with its colour.
DEVICE float look(const TextureParams &p, int texel, int triangle, Vec &colour) {
    if (triangle >= p.triangle_count) return 0.0f;
    const float first = p.weights[2 * texel], second = p.weights[2 * texel + 1];
    const float shares[3] = {first, second, 1.0f - first - second};
    Vec point = {0.0f, 0.0f, 0.0f}, normal = point;
    for (int k = 0; k < 3; ++k) {
        const int vertex = p.triangles[3 * triangle + k];
        if (vertex < 0 || vertex >= p.vertex_count) return 0.0f;
        add(point, p.vertices + 3 * vertex, shares[k]);
        add(normal, p.normals + 3 * vertex, shares[k]);
    }
    // Written so that NaN fails each test.
    if (!(point.z >= p.least_z)) return 0.0f;
    const float u = p.fx * (point.x / point.z) + p.cx, v = p.fy * (point.y / point.z) + p.cy;
    if (!(u >= 0.0f && v >= 0.0f && u <= float(p.width - 1) && v <= float(p.height - 1))) return 0.0f;
    const float facing = -dot(normal, point) / (sqrt(dot(normal, normal)) * sqrt(dot(point, point)));
    if (!(facing > 0.0f) || hidden(p, u, v, point.z)) return 0.0f;
    colour = colour_at(p, u, v);
    return p.gain * pow(min(facing, 1.0f), p.power);
}

DEVICE void put(float &place, float value) { place = value; }
DEVICE void put(u8 &place, float value) { place = u8(value + 0.5f); }

template <class Grey> DEVICE void blend(const TextureParams &p, int texel) {
    const int triangle = p.triangle[texel];
    if (triangle < 0) return;
    Vec seen = {0.0f, 0.0f, 0.0f};
    const float fresh = look(p, texel, triangle, seen);
    const float before = p.confidence[texel];
    const float kept = before > 0.0f ? p.keep * before : 0.0f;
    p.confidence[texel] = min(kept + fresh, 1.0f);
    if (!(fresh > 0.0f)) return;
    Grey *place = (Grey *)p.texture + 3 * texel;
    const float values[3] = {seen.x, seen.y, seen.z};
    const float share = fresh / (kept + fresh);
    for (int k = 0; k < 3; ++k) {
        const float old = float(place[k]);
        put(place[k], kept > 0.0f ? old + share * (values[k] - old) : values[k]);
    }
}

KERNEL(texture_floats, TextureParams, THREADS) {
    each_thread([&](int t) {
        const int texel = blockIdx.x * THREADS + t;
        if (texel < p.size * p.size) blend<float>(p, texel);
    });
}

KERNEL(texture_bytes, TextureParams, THREADS) {
    each_thread([&](int t) {
        const int texel = blockIdx.x * THREADS + t;
        if (texel < p.size * p.size) blend<u8>(p, texel);
    });
}
