// Frames (RGB, BGR or NV12) to normalised, antialiased crops, planes in the order R, G, B: many faces of many
// frames and sizes in one launch. stream/compute/crop_normalize.py defines the filter, plans each crop on the
// host and writes the table of CropRecords; here is one thread for each crop pixel.
//
// Bytes, N crops of S x S: 3 N S^2 x 4 written (x 2 as float16, x 1 as bytes), and what lies under the crops read once from
// DRAM: about 3 A for A frame pixels under a crop (1.5 A for NV12), A <= 4 S^2 without shrinking, s^2 S^2 at s
// frame pixels per crop pixel. FLOPs: 50 a pixel without shrinking (four taps, three channels), with it 20 a
// tap for (4 s / 3 + 1)^2 taps, at most 34^2. A tap of NV12 has 25 more.
// Floor: bytes / bandwidth. S = 192 out of a face of 300 x 300 pixels: 0.44 MB written + 0.27 MB read = 0.71 MB,
// 0.7 us at 1 TB/s, so that one crop costs its launch, and a batch of 64 about 45 us. When shrinking, whatever s is,
// each byte from DRAM takes some 12 FLOPs and each pixel is read 16 / 9 times through the caches.
#include "prosopon.cuh"

// Mirrors RECORD of stream/compute/crop_normalize.py. "Small" pixels are the boxes of frame pixels that are
// averaged first; without shrinking they are the frame's own.
struct CropRecord {
    const u8 *frame, *chroma;
    float matrix[6];  // crop pixel (x, y, 1) to small pixel
    float box[2];     // frame pixels in a small pixel, along x and y
    int origin[2];    // frame pixel at which the first box begins
    int side[2];      // small pixels along x and y
    int stride[2];    // frame pixels for which one is read
    int width, height;
    int pitch;        // bytes from row to row, of the chroma's too
    int frame_of;     // for the CPU
};

// What is written: planes of -1..1, or pixels of three bytes.
CONSTANT int HALVES = 1, BYTES = 2;

struct CropParams {
    const CropRecord *crops;
    void *out;
    int size, kind, red;  // 0, HALVES or BYTES; the place of the red byte in a packed pixel, 0 or 2
    float decoding[6];    // NV12: black's Y, the gain of Y, then Cr in R, Cb in G, Cr in G, Cb in B
};

constexpr int TILE_X = 32, TILE_Y = 8, THREADS = TILE_X * TILE_Y;

struct Colour {
    float r, g, b;
};

struct Packed {
    const u8 *pixels;
    int pitch, red;
};

struct Nv12 {
    const u8 *luma, *chroma;
    int width, height, pitch;
    const float *decoding;
};

DEVICE float unit(float value) { return min(max(value, 0.0f), 255.0f); }

DEVICE Colour fetch(const Packed &picture, int x, int y) {
    const u8 *pixel = picture.pixels + y * picture.pitch + x * 3;
    return {float(pixel[picture.red]), float(pixel[1]), float(pixel[2 - picture.red])};
}

// A chroma sample lies on an even column, midway between two rows.
DEVICE Colour fetch(const Nv12 &picture, int x, int y) {
    const int left = x & ~1, right = min((x + 1) & ~1, picture.width - 2);
    const int rows = picture.height / 2, near = y / 2;
    const int far = min(max(near + ((y & 1) ? 1 : -1), 0), rows - 1);
    const u8 *a = picture.chroma + near * picture.pitch, *b = picture.chroma + far * picture.pitch;
    const float *d = picture.decoding;
    const float u = 0.375f * float(a[left] + a[right]) + 0.125f * float(b[left] + b[right]) - 128.0f;
    const float v = 0.375f * float(a[left + 1] + a[right + 1]) + 0.125f * float(b[left + 1] + b[right + 1]) - 128.0f;
    const float luma = d[1] * (float(picture.luma[y * picture.pitch + x]) - d[0]);
    return {unit(luma + d[2] * v), unit(luma + d[3] * u + d[4] * v), unit(luma + d[5] * u)};
}

DEVICE float mix(float a, float b, float share) { return a + share * (b - a); }

DEVICE Colour mix(const Colour &a, const Colour &b, float share) {
    return {mix(a.r, b.r, share), mix(a.g, b.g, share), mix(a.b, b.b, share)};
}

template <class Picture> DEVICE Colour bilinear(const Picture &picture, const CropRecord &crop, float x, float y) {
    const int left = int(x), top = int(y);
    const int right = min(left + 1, crop.side[0] - 1), bottom = min(top + 1, crop.side[1] - 1);
    const float across = x - float(left), down = y - float(top);
    return mix(mix(fetch(picture, left, top), fetch(picture, right, top), across),
               mix(fetch(picture, left, bottom), fetch(picture, right, bottom), across), down);
}

// Along one axis: two neighbouring boxes with their shares, cut into cells of `stride` frame pixels.
struct Span {
    float start, middle, end, near, far;
    int first, last, stride, origin, limit;
};

DEVICE Span span_of(float place, float box, int side, int stride, int origin, int limit) {
    const int index = int(place);
    const float far = place - float(index);
    const float start = float(index) * box, middle = float(index + 1) * box;
    const float end = float(min(index + 2, side)) * box;
    const int last = (int(ceil(end)) + stride - 1) / stride;
    return {start, middle, end, 1.0f - far, far, int(start) / stride, last, stride, origin, limit};
}

DEVICE float weight(const Span &span, int cell) {
    const float low = float(cell * span.stride), high = low + float(span.stride);
    return span.near * max(min(high, span.middle) - max(low, span.start), 0.0f) +
           span.far * max(min(high, span.end) - max(low, span.middle), 0.0f);
}

DEVICE int pixel_of(const Span &span, int cell) {
    return min(span.origin + cell * span.stride + span.stride / 2, span.limit);
}

template <class Picture> DEVICE Colour averaged(const Picture &picture, const CropRecord &crop, float x, float y) {
    const Span across = span_of(x, crop.box[0], crop.side[0], crop.stride[0], crop.origin[0], crop.width - 1);
    const Span down = span_of(y, crop.box[1], crop.side[1], crop.stride[1], crop.origin[1], crop.height - 1);
    Colour sum = {0.0f, 0.0f, 0.0f};
    float total = 0.0f;
    for (int row = down.first; row < down.last; ++row) {
        const float share = weight(down, row);
        const int v = pixel_of(down, row);
        for (int column = across.first; column < across.last; ++column) {
            const float part = share * weight(across, column);
            const Colour colour = fetch(picture, pixel_of(across, column), v);
            sum.r += part * colour.r;
            sum.g += part * colour.g;
            sum.b += part * colour.b;
            total += part;
        }
    }
    return {sum.r / total, sum.g / total, sum.b / total};
}

DEVICE void store(const CropParams &p, u64 place, float grey) {
    const float value = grey * (2.0f / 255.0f) - 1.0f;
    if (p.kind == HALVES)
        ((u16 *)p.out)[place] = half_bits(value);
    else
        ((float *)p.out)[place] = value;
}

template <class Picture>
DEVICE void crop_pixel(const CropParams &p, const CropRecord &crop, const Picture &picture, int column, int row) {
    const float *m = crop.matrix;
    const float i = float(row), j = float(column);
    const float x = min(max(m[0] * j + m[1] * i + m[2], 0.0f), float(crop.side[0] - 1));
    const float y = min(max(m[3] * j + m[4] * i + m[5], 0.0f), float(crop.side[1] - 1));
    const bool shrunk = crop.box[0] > 1.0f || crop.box[1] > 1.0f;
    const Colour colour = shrunk ? averaged(picture, crop, x, y) : bilinear(picture, crop, x, y);
    const u64 plane = u64(p.size) * p.size, within = u64(row) * p.size + column;
    if (p.kind == BYTES) {
        u8 *pixel = (u8 *)p.out + 3 * (plane * blockIdx.z + within);
        pixel[0] = u8(colour.r + 0.5f), pixel[1] = u8(colour.g + 0.5f), pixel[2] = u8(colour.b + 0.5f);
        return;
    }
    const u64 place = 3 * plane * blockIdx.z + within;
    store(p, place, colour.r);
    store(p, place + plane, colour.g);
    store(p, place + 2 * plane, colour.b);
}

KERNEL(crop_packed, CropParams, THREADS) {
    each_thread([&](int t) {
        const int column = blockIdx.x * TILE_X + t % TILE_X, row = blockIdx.y * TILE_Y + t / TILE_X;
        if (column >= p.size || row >= p.size) return;
        const CropRecord crop = p.crops[blockIdx.z];
        crop_pixel(p, crop, Packed{crop.frame, crop.pitch, p.red}, column, row);
    });
}

KERNEL(crop_nv12, CropParams, THREADS) {
    each_thread([&](int t) {
        const int column = blockIdx.x * TILE_X + t % TILE_X, row = blockIdx.y * TILE_Y + t / TILE_X;
        if (column >= p.size || row >= p.size) return;
        const CropRecord crop = p.crops[blockIdx.z];
        const Nv12 picture = {crop.frame, crop.chroma, crop.width, crop.height, crop.pitch, p.decoding};
        crop_pixel(p, crop, picture, column, row);
    });
}
