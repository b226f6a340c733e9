#version 330
//include train_light.glsl
uniform sampler2D picture; uniform vec3 tone; uniform vec3 iris; uniform float pupil; uniform vec3 sclera;
uniform float own_light; // 1: keep the light that the photo was taken in
in vec3 at; in vec3 facing; in vec4 v_photo; in vec4 v_mirror; in vec3 v_tint; in float v_open;
flat in float v_part;
out vec4 colour;

// One place of the photo as albedo: its gain takes the photo's own light away.
vec3 sampled(vec4 place) {
    vec3 found = linear(texture(picture, place.xy).rgb);
    return mix(found * place.w, found, own_light) * tone;
}

void main() {
    vec3 n = normalize(facing);
    n = dot(n, at) > 0.0 ? -n : n;
    vec3 base = linear(v_tint);
    float gloss = 0.04;
    if (abs(v_part - 6.0) < 0.5) {
        vec3 d = normalize(v_mirror.xyz);
        float angle = acos(clamp(-d.z, -1.0, 1.0));
        float spokes = 0.85 + 0.15 * sin(17.0 * atan(d.y, d.x));
        vec3 ring = iris * spokes * (1.0 - 0.5 * smoothstep(0.30, 0.40, angle));
        vec3 white = mix(sclera, sclera * vec3(1.0, 0.85, 0.82), smoothstep(0.5, 0.9, angle));
        base = linear(mix(mix(vec3(0.02), ring, smoothstep(pupil, pupil + 0.04, angle)), white,
                          smoothstep(0.39, 0.45, angle)));
        gloss = 0.5;
    } else if (v_part < 1.5 || abs(v_part - 8.0) < 0.5) {
        vec3 other = mix(base, sampled(v_mirror), v_mirror.z);
        base = mix(other, sampled(v_photo), v_photo.z);
    } else gloss = 0.12;
    colour = vec4(display(mix(shade(base, n, at, v_open, gloss), base * v_open, own_light)), 1.0);
}
