// Light on a surface in linear colour: irradiance by spherical harmonics, two lights, one shadow.
uniform vec3 harmonics[9];      // irradiance over pi, camera frame (Ramamoorthi and Hanrahan 2001)
uniform vec4 light[2];          // xyz: direction to it (w = 0) or its place in mm (w = 1)
uniform vec3 light_colour[2];   // at the face
uniform float exposure;
uniform sampler2D shadow;       // depth seen from the first light
uniform mat4 shadow_view;       // camera mm to the shadow picture's clip space
uniform float softness;         // of the shadow's border, in its texels

vec3 irradiance(vec3 n) {
    return harmonics[0] * 0.282095
        + (harmonics[1] * n.y + harmonics[2] * n.z + harmonics[3] * n.x) * 0.488603
        + (harmonics[4] * n.x * n.y + harmonics[5] * n.y * n.z + harmonics[7] * n.x * n.z) * 1.092548
        + harmonics[6] * 0.315392 * (3.0 * n.z * n.z - 1.0)
        + harmonics[8] * 0.546274 * (n.x * n.x - n.y * n.y);
}

float lit(vec3 at, vec3 n) {
    vec4 place = shadow_view * vec4(at + n * 1.5, 1.0);
    vec3 p = place.xyz / place.w * 0.5 + 0.5;
    if (any(lessThan(p.xy, vec2(0.0))) || any(greaterThan(p.xy, vec2(1.0)))) return 1.0;
    vec2 texel = softness / vec2(textureSize(shadow, 0));
    float open = 0.0;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++)
            open += step(p.z - 0.004, texture(shadow, p.xy + vec2(i, j) * texel).r);
    return open / 9.0;
}

vec3 linear(vec3 colour) { return pow(colour, vec3(2.2)); }
vec3 display(vec3 colour) { return pow(clamp(colour * exposure, 0.0, 1.0), vec3(1.0 / 2.2)); }

// Linear albedo to linear radiance; open: share of the sky that reaches the place.
vec3 shade(vec3 albedo, vec3 n, vec3 at, float open, float gloss) {
    vec3 sum = max(irradiance(n), vec3(0.0)) * open;
    vec3 shine = vec3(0.0);
    for (int i = 0; i < 2; i++) {
        vec3 towards = light[i].w > 0.5 ? normalize(light[i].xyz - at) : light[i].xyz;
        float seen = i == 0 ? lit(at, n) : mix(1.0, open, 0.7);
        sum += light_colour[i] * max(dot(n, towards), 0.0) * seen;
        vec3 halfway = normalize(towards - normalize(at));
        shine += gloss * pow(max(dot(n, halfway), 0.0), 28.0) * light_colour[i] * seen;
    }
    return albedo * sum + shine;
}
