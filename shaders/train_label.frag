#version 330
// What lies at a pixel: normal and camera z, part, place in the head's texture.
uniform float prop; // the part of everything drawn, or below 0 to take the vertices' own
in vec3 at; in vec3 facing; in vec2 v_uv; flat in float v_part;
layout(location = 0) out vec4 geometry; layout(location = 1) out vec4 part;
void main() {
    vec3 n = normalize(facing);
    geometry = vec4(dot(n, at) > 0.0 ? -n : n, at.z);
    part = vec4((prop < 0.0 ? v_part : prop) / 255.0, v_uv, 1.0);
}
