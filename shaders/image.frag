#version 330 core
// A picture as it is; its alpha is for blending.

uniform sampler2D colours;
uniform vec2 uv_scale;  // the picture fills only this share of its allocated store
uniform vec2 uv_limit;  // half a texel: sampling never leaves the filled part

in vec2 uv;

out vec4 colour;

void main() {
    colour = texture(colours, clamp(uv, uv_limit, 1.0 - uv_limit) * uv_scale);
}
