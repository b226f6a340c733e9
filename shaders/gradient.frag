#version 330 core
// The backdrop: near black, a little lighter and bluer behind the head.

const vec3 MIDDLE = vec3(0.135, 0.150, 0.175);
const vec3 EDGE = vec3(0.043, 0.047, 0.059);

in vec2 uv;

out vec4 colour;

void main() {
    vec2 away = (uv - vec2(0.5, 0.42)) * vec2(1.25, 1.1);
    colour = vec4(mix(MIDDLE, EDGE, smoothstep(0.0, 0.55, dot(away, away) * 1.6)), 1.0);
}
