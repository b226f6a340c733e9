#version 330 core
// The texture's own colours; the inside of the surface is darkened so that it reads as inside.

uniform sampler2D colours;

in vec2 uv;

out vec4 colour;

void main() {
    vec3 texel = texture(colours, uv).rgb;
    colour = vec4(gl_FrontFacing ? texel : texel * 0.25, 1.0);
}
