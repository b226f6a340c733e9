#version 330
//include train_light.glsl
uniform sampler2D picture; uniform sampler2D streaks; uniform vec3 tint;
uniform float contrast; uniform vec2 stretch; uniform float gloss;
in vec3 at; in vec3 facing; in vec2 v_uv;
out vec4 colour;
void main() {
    vec3 n = normalize(facing);
    n = dot(n, at) > 0.0 ? -n : n;
    vec3 base = linear(texture(picture, v_uv).rgb * tint);
    base *= max(1.0 + contrast * (texture(streaks, v_uv * stretch).r - 0.5) * 2.0, 0.05);
    colour = vec4(display(shade(base, n, at, 1.0, gloss)), 1.0);
}
