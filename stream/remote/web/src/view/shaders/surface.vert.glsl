// A face's surface from its depth levels (docs/protocol.md): six vertices for each quad of neighbouring pixels, no
// attributes. Triangles that the protocol leaves out, and unused ones, lie outside the picture.
precision highp float;
precision highp int;
precision highp usampler2D;

uniform mat4 modelViewMatrix, projectionMatrix;
uniform mat3 normalMatrix;
uniform usampler2D levels;
uniform int size;
uniform vec3 depths; // low, step, jump; crop units
uniform vec4 lens; // fx, fy, cx, cy; pixels
uniform vec2 picture; // width, height; pixels
uniform vec4 crop; // x, y, half, angle
uniform float away; // of the plane of depth 0, millimetres

out vec2 uv;
out vec3 eyePosition, eyeNormal;
out vec2 grid; // column and row

const ivec2 A = ivec2(0, 0), B = ivec2(1, 0), C = ivec2(0, 1), D = ivec2(1, 1);

int level(ivec2 pixel) {
    return int(texelFetch(levels, pixel, 0).r);
}

float depthOf(int level) {
    return depths.x + float(level - 1) * depths.y;
}

bool joined(int one, int other) {
    return one > 0 && other > 0 && abs(depthOf(one) - depthOf(other)) < depths.z;
}

// Which corner of its quad vertex `place` of 6 is; `kept` tells whether its triangle is one.
ivec2 cornerOf(ivec2 pixel, int place, out bool kept) {
    int a = level(pixel + A), b = level(pixel + B), c = level(pixel + C), d = level(pixel + D);
    bool ab = joined(a, b), ac = joined(a, c), cd = joined(c, d), bd = joined(b, d), bc = joined(b, c), ad = joined(a, d);
    bool acb = ab && ac && bc, bcd = bd && cd && bc, acd = ac && cd && ad, adb = ab && bd && ad;
    bool turned = int(acd) + int(adb) > int(acb) + int(bcd);
    bool first = place < 3;
    int which = place % 3;
    if (turned) {
        kept = first ? acd : adb;
        return which == 0 ? A : first ? (which == 1 ? C : D) : (which == 1 ? D : B);
    }
    kept = first ? acb : bcd;
    return first ? (which == 0 ? A : which == 1 ? C : B) : (which == 0 ? B : which == 1 ? C : D);
}

// Change of depth per crop unit along one axis, from the neighbours that belong to the same surface.
float slope(ivec2 pixel, int own, ivec2 axis) {
    ivec2 before = pixel - axis, after = pixel + axis;
    int low = all(greaterThanEqual(before, ivec2(0))) ? level(before) : 0;
    int high = all(lessThan(after, ivec2(size))) ? level(after) : 0;
    float rise = 0.0, run = 0.0;
    if (joined(own, low)) {
        rise += depthOf(own) - depthOf(low);
        run += 1.0;
    }
    if (joined(own, high)) {
        rise += depthOf(high) - depthOf(own);
        run += 1.0;
    }
    return run > 0.0 ? rise / run * float(size) / 2.0 : 0.0;
}

// From the camera's axes, millimetres, to glTF's, metres.
vec3 gltf(vec3 camera) {
    return camera * vec3(1.0, -1.0, -1.0) / 1000.0;
}

void main() {
    int quads = size - 1;
    int quad = gl_VertexID / 6;
    bool kept;
    ivec2 pixel = ivec2(quad % quads, quad / quads);
    pixel += cornerOf(pixel, gl_VertexID % 6, kept);
    grid = vec2(pixel);
    if (!kept) {
        gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
        uv = vec2(0.0);
        eyePosition = eyeNormal = vec3(0.0);
        return;
    }
    int own = level(pixel);
    vec2 at = (2.0 * vec2(pixel) + 1.0) / float(size) - 1.0;
    vec2 right = crop.z * vec2(cos(crop.w), sin(crop.w)); // of the crop, pixels per crop unit
    vec2 down = vec2(-right.y, right.x);
    vec2 image = crop.xy + at.x * right + at.y * down;
    float unit = crop.z * away / lens.x; // millimetres per crop unit
    float z = away + depthOf(own) * unit;
    vec2 ray = (image - lens.zw) / lens.xy;
    float zRight = slope(pixel, own, ivec2(1, 0)) * unit, zDown = slope(pixel, own, ivec2(0, 1)) * unit;
    vec3 alongRight = vec3(right / lens.xy * z + ray * zRight, zRight);
    vec3 alongDown = vec3(down / lens.xy * z + ray * zDown, zDown);
    uv = (image + 0.5) / picture;
    vec4 eye = modelViewMatrix * vec4(gltf(vec3(ray * z, z)), 1.0);
    eyePosition = eye.xyz;
    eyeNormal = normalMatrix * gltf(cross(alongDown, alongRight));
    gl_Position = projectionMatrix * eye;
}
